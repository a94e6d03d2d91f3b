use std::time::Duration;

use marque_dpop::{MAX_JTI_BYTES, MAX_PROOF_AGE, NONCE_WINDOW};
use marque_jose::{Signer as _, base64url};
use marque_testkit::{START, ScratchProof, ScratchSigner};
use serde_json::Value;

use super::*;
use crate::{
    OAuthErrorCode::{InvalidDpopProof, InvalidRequest, TemporarilyUnavailable, UseDpopNonce},
    TokenResponse,
    fixture::{AUDIENCE, Fields, ISSUER, Rig, is_plain},
};

const URI: &str = "https://issuer.prod.example.org:8443/oauth2/token";

fn key() -> ScratchSigner {
    ScratchSigner::generate("dpop-1")
}

/// A rig that takes proofs without a nonce, with two uses.
fn rig() -> Rig {
    Rig::with(|config| config.dpop_nonce = NoncePolicy::Optional, |terms| terms.uses = 2)
}

fn proof(rig: &Rig, key: &ScratchSigner) -> ScratchProof {
    ScratchProof::new(key, "POST", URI, rig.now())
}

fn presented(proofs: &[&str]) -> Presented {
    Presented {
        dpop: OneHeader::of(proofs.iter().map(|proof| Some(*proof))),
        ..Presented::default()
    }
}

async fn exchange(rig: &Rig, proof: &str) -> Result<TokenResponse, OAuthError> {
    rig.exchange_with(&rig.fields(), presented(&[proof])).await
}

fn claims(response: &TokenResponse) -> Value {
    let token = response.access_token().expose_token();
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn oauth_7_8_a_token_asked_for_with_a_proof_is_bound_to_its_key() {
    let (rig, key) = (rig(), key());
    let response = exchange(&rig, &proof(&rig, &key).sign(&key)).await.unwrap();
    assert_eq!(response.expose_json()["token_type"], "DPoP");
    let jkt = key.public_key().jkt().to_string();
    assert_eq!(claims(&response)["cnf"], serde_json::json!({ "jkt": jkt }));
    let gateway = rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"));
    let token = response.access_token().expose_token();
    let answer = rig.introspect(&gateway, token).await.unwrap();
    assert_eq!((&answer["token_type"], &answer["cnf"]["jkt"]), (&"DPoP".into(), &jkt.into()));
}

#[tokio::test]
async fn a_token_asked_for_without_a_proof_is_a_bearer_token() {
    let rig = rig();
    let response = rig.exchange(&rig.fields()).await.unwrap();
    assert_eq!(response.expose_json()["token_type"], "Bearer");
    assert_eq!(claims(&response).get("cnf"), None);
    let gateway = rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"));
    let answer = rig.introspect(&gateway, response.access_token().expose_token()).await.unwrap();
    assert_eq!((&answer["token_type"], answer.get("cnf")), (&"Bearer".into(), None));
}

/// Section 7's negative list at the token endpoint. What a proof itself may be is the table of crate `dpop`; here is one of
/// each kind, and what only an endpoint sees.
#[tokio::test]
async fn oauth_21_dpop_a_proof_that_is_not_for_this_request_is_refused() {
    let (rig, key, other) = (rig(), key(), key());
    let good = || proof(&rig, &key);
    let iat = rig.now().as_second();
    let elsewhere = "https://issuer.dev.example.org:8443/oauth2/token";
    let spoiled = [
        ("a private key", good().jwk("d", "AAAA").sign(&key)),
        ("no algorithm", good().header("alg", "none").sign(&key)),
        ("a symmetric algorithm", good().header("alg", "HS256").sign(&key)),
        ("another type", good().header("typ", "jwt").sign(&key)),
        ("a critical extension", good().header("crit", serde_json::json!(["x"])).sign(&key)),
        ("a certificate", good().jwk("x5c", serde_json::json!(["x"])).sign(&key)),
        ("another method", good().claim("htm", "GET").sign(&key)),
        ("another server", good().claim("htu", elsewhere).sign(&key)),
        (
            "another endpoint",
            good().claim("htu", Endpoint::Introspection.url(&ISSUER.parse().unwrap())).sign(&key),
        ),
        ("too old", good().claim("iat", iat - 61).sign(&key)),
        ("from the future", good().claim("iat", iat + 11).sign(&key)),
        ("no name", good().claim("jti", Value::Null).sign(&key)),
        ("a name too long", good().claim("jti", "x".repeat(MAX_JTI_BYTES + 1)).sign(&key)),
        ("signed by another key", good().sign(&other)),
        ("nothing", String::new()),
    ];
    for (name, value) in spoiled {
        let error = exchange(&rig, &value).await.unwrap_err();
        assert_eq!(error.code(), InvalidDpopProof, "{name}");
        assert_eq!((error.http_status(), is_plain(&error)), (400, true), "{name}");
    }
    let (one, two) = (good().sign(&key), good().sign(&key));
    let list = format!("{one}, {two}");
    for (name, headers) in [
        ("two headers", vec![one.as_str(), &two]),
        ("one twice", vec![&one, &one]),
        ("a list", vec![&list]),
    ] {
        let refused = rig.exchange_with(&rig.fields(), presented(&headers)).await;
        assert_eq!(refused.unwrap_err().code(), InvalidDpopProof, "{name}");
    }
    // Nothing of all that was a use, and none of those proofs counts as shown.
    assert!(exchange(&rig, &one).await.is_ok());
    assert!(exchange(&rig, &two).await.is_ok());
}

#[tokio::test]
async fn oauth_21_replay_in_sequence_of_a_proof_is_refused_and_spends_nothing() {
    let (rig, key) = (rig(), key());
    let value = proof(&rig, &key).sign(&key);
    exchange(&rig, &value).await.unwrap();
    let error = exchange(&rig, &value).await.unwrap_err();
    assert_eq!(error.code(), InvalidDpopProof);
    // To the end of its window, and past it, it stays refused.
    rig.clock.advance(MAX_PROOF_AGE);
    assert_eq!(exchange(&rig, &value).await.unwrap_err().code(), InvalidDpopProof);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(exchange(&rig, &value).await.unwrap_err().code(), InvalidDpopProof);
    assert!(exchange(&rig, &proof(&rig, &key).sign(&key)).await.is_ok());
}

#[tokio::test]
async fn oauth_7_5_a_name_is_used_up_for_its_own_key_alone() {
    let (rig, key, other) = (rig(), key(), key());
    let of = |key| proof(&rig, key).claim("jti", "one").sign(key);
    assert!(exchange(&rig, &of(&key)).await.is_ok());
    assert!(exchange(&rig, &of(&other)).await.is_ok());
    assert_eq!(exchange(&rig, &of(&key)).await.unwrap_err().code(), InvalidDpopProof);
}

#[tokio::test]
async fn oauth_7_5_a_proof_shown_with_a_refused_request_counts_no_more() {
    let (rig, key) = (rig(), key());
    let value = proof(&rig, &key).sign(&key);
    let greedy = rig.fields().set("scope", "secrets.delete");
    let error = rig.exchange_with(&greedy, presented(&[&value])).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidScope);
    assert_eq!(exchange(&rig, &value).await.unwrap_err().code(), InvalidDpopProof);
    // Nor can the refusal itself be had twice with one proof.
    let again = rig.exchange_with(&greedy, presented(&[&value])).await.unwrap_err();
    assert_eq!(again.code(), InvalidDpopProof);
    assert_eq!(rig.codes().len(), 1);
}

#[tokio::test]
async fn oauth_7_5_a_proof_counts_no_more_after_a_refusal_before_anything_was_decided() {
    let (rig, key) = (rig(), key());
    let jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    for (name, fields) in [
        ("a subject that is no token", rig.fields().set("subject_token", "x")),
        ("a subject of somebody else", rig.fields().set("subject_token", &other)),
        ("an unknown kind of token", rig.fields().set("requested_token_type", "urn:x")),
        (
            "an actor that is no token",
            rig.fields()
                .set("actor_token", "x")
                .set("actor_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ),
        (
            "a grant that is no token",
            Fields::default()
                .authenticated(&rig.svid())
                .set("grant_type", jwt_bearer)
                .set("assertion", "x"),
        ),
        (
            "a code that is unknown",
            Fields::default()
                .authenticated(&rig.svid())
                .set("grant_type", "urn:ietf:params:oauth:grant-type:deferred")
                .set("deferral_code", "x"),
        ),
    ] {
        let value = proof(&rig, &key).sign(&key);
        let Err(error) = rig.exchange_with(&fields, presented(&[&value])).await else {
            panic!("{name} is accepted")
        };
        // A form that cannot be read was never a request, and nothing of it was looked at.
        if crate::TokenRequest::parse(fields.encode().as_bytes(), &Presented::default()).is_err() {
            continue;
        }
        assert_ne!(error.code(), InvalidDpopProof, "{name}");
        assert_eq!(exchange(&rig, &value).await.unwrap_err().code(), InvalidDpopProof, "{name}");
    }
    // Where nobody can remember it, the refusal is not given either.
    let value = proof(&rig, &key).sign(&key);
    rig.store.kept().down = true;
    let fields = rig.fields().set("subject_token", "x");
    let error = rig.exchange_with(&fields, presented(&[&value])).await.unwrap_err();
    assert_eq!(error.code(), TemporarilyUnavailable);
}

#[tokio::test]
async fn oauth_7_6_without_the_memory_of_proofs_nothing_is_issued() {
    let (rig, key) = (rig(), key());
    rig.store.kept().down = true;
    let error = exchange(&rig, &proof(&rig, &key).sign(&key)).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), (TemporarilyUnavailable, 503));
    let mut proofs = Proofs::default();
    proofs.shown.push(SingleUse { key: ReplayKey::from_bytes([1; 32]), until: START });
    assert_eq!(rig.service.remember(&proofs).await.unwrap_err().code(), TemporarilyUnavailable);
    rig.store.kept().down = false;
    assert!(rig.service.remember(&proofs).await.is_ok());
    assert_eq!(rig.service.remember(&proofs).await.unwrap_err().code(), InvalidDpopProof);
    assert!(rig.service.remember(&Proofs::default()).await.is_ok());
}

#[tokio::test]
async fn oauth_7_9_where_nonces_are_required_a_proof_without_one_is_told_so() {
    let (rig, key) = (Rig::with(|_| {}, |terms| terms.uses = 3), key());
    let error = exchange(&rig, &proof(&rig, &key).sign(&key)).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), (UseDpopNonce, 400));
    let nonce = rig.service.dpop_nonce().unwrap();
    let with = |nonce: &str| proof(&rig, &key).claim("nonce", nonce).sign(&key);
    assert!(exchange(&rig, &with(&nonce)).await.is_ok());
    // One nonce is good for many proofs, in its window and the next.
    rig.clock.advance(NONCE_WINDOW);
    assert_ne!(rig.service.dpop_nonce().unwrap(), nonce);
    let late = ScratchProof::new(&key, "POST", URI, rig.now()).claim("nonce", nonce.as_str());
    let fields = rig.fields().authenticated(&fresh(&rig)).set("subject_token", &fresh(&rig));
    let answered = rig.exchange_with(&fields, presented(&[&late.sign(&key)])).await;
    assert_ne!(answered.err().map(|error| error.code()), Some(UseDpopNonce));
    rig.clock.advance(NONCE_WINDOW);
    let late = ScratchProof::new(&key, "POST", URI, rig.now()).claim("nonce", nonce);
    let fields = rig.fields().authenticated(&fresh(&rig)).set("subject_token", &fresh(&rig));
    let error = rig.exchange_with(&fields, presented(&[&late.sign(&key)])).await.unwrap_err();
    assert_eq!(error.code(), UseDpopNonce);
}

/// An SVID that is good now, however far the clock has gone.
fn fresh(rig: &Rig) -> String {
    rig.own
        .jwt_svid(&rig.agent, &[ISSUER], rig.now() + Duration::from_secs(300))
        .expose_token()
        .to_owned()
}

#[tokio::test]
async fn oauth_7_10_a_nonce_that_is_not_ours_is_refused_under_either_policy() {
    let theirs = Nonces::new(&[7; 32], "https://issuer.dev.example.org:8443").current(START);
    for policy in [NoncePolicy::Required, NoncePolicy::Optional] {
        let (rig, key) = (Rig::with(|config| config.dpop_nonce = policy, |_| {}), key());
        for nonce in [theirs.as_str(), "", "anything"] {
            let value = proof(&rig, &key).claim("nonce", nonce).sign(&key);
            let error = exchange(&rig, &value).await.unwrap_err();
            assert_eq!(error.code(), UseDpopNonce, "{nonce:?}");
        }
        // Another replica with the same secret hands out the same nonce.
        let replica = Rig::new();
        let value = proof(&rig, &key).claim("nonce", replica.service.dpop_nonce()).sign(&key);
        assert!(exchange(&rig, &value).await.is_ok());
    }
}

#[tokio::test]
async fn where_dpop_is_not_offered_a_proof_is_refused_and_not_ignored() {
    let (rig, key) = (Rig::with(|config| config.offers.dpop = false, |_| {}), key());
    let error = exchange(&rig, &proof(&rig, &key).sign(&key)).await.unwrap_err();
    assert_eq!(error.code(), InvalidDpopProof);
    assert_eq!(rig.service.dpop_nonce(), None);
    assert_eq!(rig.service.metadata().get("dpop_signing_alg_values_supported"), None);
    assert!(rig.exchange(&rig.fields()).await.is_ok());
}

#[tokio::test]
async fn where_a_target_takes_bound_tokens_alone_an_unbound_one_is_refused() {
    let required = |config: &mut crate::TokenServiceConfig| {
        config.dpop_nonce = NoncePolicy::Optional;
        config.resource_servers[0].binding_required = true;
    };
    let (rig, key) = (Rig::with(required, |terms| terms.uses = 2), key());
    let at = |audience| rig.fields().set("audience", audience);
    let error = rig.exchange(&at(AUDIENCE)).await.unwrap_err();
    assert_eq!(error.code(), InvalidRequest);
    assert_eq!(error.denial().unwrap().as_str(), "sender_constraint_failed");
    assert_eq!(rig.codes(), [Some("sender_constraint_failed".to_owned())]);
    let value = proof(&rig, &key).sign(&key);
    let bound = rig.exchange_with(&at(AUDIENCE), presented(&[&value])).await.unwrap();
    assert_eq!(bound.expose_json()["token_type"], "DPoP");
    // The other target does not mind.
    assert!(rig.exchange(&at(crate::fixture::SECOND_AUDIENCE)).await.is_ok());
}

#[test]
fn the_secret_is_not_printed() {
    assert_eq!(format!("{:?}", NonceSecret::new([65; 32])), "NonceSecret { .. }");
}
