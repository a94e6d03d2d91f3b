//! Tokens that are bound to the X.509-SVID of the client (RFC 8705).

use marque_jose::{base64url, sha256};
use marque_testkit::{ScratchProof, ScratchSigner, ScratchX509Svid};
use serde_json::{Value, json};

use crate::{
    NoncePolicy, OAuthError, OneHeader, PeerCertificate, Presented, TokenResponse, fixture::Rig,
};

const URI: &str = "https://issuer.prod.example.org:8443/oauth2/token";

fn rig() -> Rig {
    Rig::with(|config| config.dpop_nonce = NoncePolicy::Optional, |terms| terms.uses = 3)
}

/// What comes over a connection of this SVID.
fn over(svid: &ScratchX509Svid) -> Presented {
    Presented { peer: PeerCertificate::from_chain(&svid.chain), ..Presented::default() }
}

async fn exchange(rig: &Rig, presented: Presented) -> Result<TokenResponse, OAuthError> {
    let fields = rig.fields().unauthenticated().set("client_id", rig.agent.as_str());
    rig.exchange_with(&fields, presented).await
}

fn claims(response: &TokenResponse) -> Value {
    let token = response.access_token().expose_token();
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn oauth_6_1_a_token_is_bound_to_the_certificate_that_its_client_authenticated_by() {
    let rig = rig();
    let svid = rig.own.x509_svid(&rig.agent);
    let response = exchange(&rig, over(&svid)).await.unwrap();
    // The digest of the DER, by another path than the service's own.
    let thumbprint = base64url::encode(sha256(&svid.chain[0]));
    assert_eq!(claims(&response)["cnf"], json!({ "x5t#S256": thumbprint }));
    assert_eq!(response.expose_json()["token_type"], "Bearer");
    let gateway = rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"));
    let answer = rig.introspect(&gateway, response.access_token().expose_token()).await.unwrap();
    assert_eq!(answer["cnf"], json!({ "x5t#S256": thumbprint }));
    assert_eq!(answer["token_type"], "Bearer");
}

#[tokio::test]
async fn oauth_6_2_after_a_rotation_tokens_are_bound_to_the_new_certificate() {
    let rig = rig();
    let (old, new) = (rig.own.x509_svid(&rig.agent), rig.own.x509_svid(&rig.agent));
    let first = exchange(&rig, over(&old)).await.unwrap();
    let second = exchange(&rig, over(&new)).await.unwrap();
    assert_ne!(claims(&first)["cnf"], claims(&second)["cnf"]);
}

#[tokio::test]
async fn oauth_6_4_a_certificate_beside_another_method_binds_nothing() {
    let rig = rig();
    let svid = rig.own.x509_svid(&rig.agent);
    let response = rig.exchange_with(&rig.fields(), over(&svid)).await.unwrap();
    assert_eq!(claims(&response).get("cnf"), None);
}

#[tokio::test]
async fn a_proof_beside_a_certificate_binds_to_the_key_of_the_proof() {
    let rig = rig();
    let (svid, key) = (rig.own.x509_svid(&rig.agent), ScratchSigner::generate("dpop-1"));
    let proof = ScratchProof::new(&key, "POST", URI, rig.now()).sign(&key);
    let dpop = OneHeader::of([Some(proof.as_str())].into_iter());
    let response = exchange(&rig, Presented { dpop, ..over(&svid) }).await.unwrap();
    assert_eq!(response.expose_json()["token_type"], "DPoP");
    assert!(claims(&response)["cnf"].get("jkt").is_some());
}
