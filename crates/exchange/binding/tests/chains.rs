//! Bindings through exchanges: narrowed, handed on, deferred.

use std::time::Duration;

use marque_intent::{
    DenialCode,
    Dimension::{AuthorizationDetails, DataClasses, Resources},
    OnBehalf,
};
use marque_jose::{HolderKey, Signer, base64url, sign_compact};
use marque_testkit::{START, ScratchProof, ScratchSigner, ScratchX509Svid};
use serde_json::{Value, json};

use crate::{
    NoncePolicy, OAuthError,
    OAuthErrorCode::{AuthorizationPending, InvalidDpopProof, InvalidGrant, InvalidRequest},
    OneHeader, PeerCertificate, Presented, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT, TokenResponse,
    fixture::{AUDIENCE, Fields, ISSUER, Rig},
};

const URI: &str = "https://issuer.prod.example.org:8443/oauth2/token";

/// A rig whose intent may be handed on to `/agent/helper`.
fn rig() -> Rig {
    Rig::with(
        |config| config.dpop_nonce = NoncePolicy::Optional,
        |terms| {
            terms.uses = 3;
            terms.on_behalf = Some(OnBehalf {
                max_depth: 2,
                agents: vec!["spiffe://prod.example.org/agent/helper".parse().unwrap()],
                equal: [AuthorizationDetails, Resources, DataClasses].into_iter().collect(),
            });
        },
    )
}

fn key() -> ScratchSigner {
    ScratchSigner::generate("dpop-1")
}

/// A request with a new proof by this key.
fn with(rig: &Rig, key: &dyn Signer) -> Presented {
    let proof = ScratchProof::new(key, "POST", URI, rig.now()).sign(key);
    Presented { dpop: OneHeader::of([Some(proof.as_str())].into_iter()), ..Presented::default() }
}

fn over(svid: &ScratchX509Svid) -> Presented {
    Presented { peer: PeerCertificate::from_chain(&svid.chain), ..Presented::default() }
}

fn cnf(response: &TokenResponse) -> Value {
    let payload = response.access_token().expose_token().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&base64url::decode(payload).unwrap()).unwrap();
    claims["cnf"].clone()
}

fn jkt(key: &dyn Signer) -> Value {
    json!({ "jkt": key.public_key().jkt().to_string() })
}

/// The fields of an exchange of a token of this service for a narrower one.
fn narrower(rig: &Rig, subject: &TokenResponse) -> Fields {
    rig.fields()
        .without("authorization_details")
        .set("subject_token", subject.access_token().expose_token())
        .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
        .set("audience", AUDIENCE)
        .set("scope", "secrets.read")
}

fn refused(answer: Result<TokenResponse, OAuthError>) {
    let error = answer.unwrap_err();
    let told = (error.code(), error.denial());
    assert_eq!(told, (InvalidRequest, Some(DenialCode::SenderConstraintFailed)), "{error}");
}

#[tokio::test]
async fn oauth_2_16_a_bound_token_is_narrowed_by_the_holder_of_its_key_alone() {
    let (rig, holder, thief) = (rig(), key(), key());
    let bound = rig.exchange_with(&rig.fields(), with(&rig, &holder)).await.unwrap();
    let fields = narrower(&rig, &bound);
    // Without a proof, and with one by another key: whoever has the token and even the SVID has nothing.
    refused(rig.exchange(&fields).await);
    refused(rig.exchange_with(&fields, with(&rig, &thief)).await);
    let narrow = rig.exchange_with(&fields, with(&rig, &holder)).await.unwrap();
    assert_eq!(cnf(&narrow), jkt(&holder));
    assert_eq!(narrow.expose_json()["token_type"], "DPoP");
    // And so down the chain.
    refused(rig.exchange(&narrower(&rig, &narrow)).await);
}

#[tokio::test]
async fn oauth_7_11_a_bound_token_shown_as_a_bearer_token_is_refused() {
    let (rig, holder) = (rig(), key());
    let bound = rig.exchange_with(&rig.fields(), with(&rig, &holder)).await.unwrap();
    refused(rig.exchange(&narrower(&rig, &bound)).await);
    let recorded = rig.codes();
    assert_eq!(recorded.last(), Some(&Some("sender_constraint_failed".to_owned())));
}

#[tokio::test]
async fn oauth_6_2_another_certificate_of_the_same_id_does_not_open_a_token() {
    let rig = rig();
    let (svid, renewed) = (rig.own.x509_svid(&rig.agent), rig.own.x509_svid(&rig.agent));
    let client = |fields: Fields| fields.unauthenticated().set("client_id", rig.agent.as_str());
    let bound = rig.exchange_with(&client(rig.fields()), over(&svid)).await.unwrap();
    let fields = client(narrower(&rig, &bound));
    refused(rig.exchange_with(&fields, over(&renewed)).await);
    refused(rig.exchange(&narrower(&rig, &bound)).await);
    // Nor does it help to show the right certificate beside another method.
    refused(rig.exchange_with(&narrower(&rig, &bound), over(&svid)).await);
    let narrow = rig.exchange_with(&fields, over(&svid)).await.unwrap();
    assert_eq!(cnf(&narrow), cnf(&bound));
}

#[tokio::test]
async fn oauth_6_3_an_exchange_keeps_the_binding_to_a_certificate() {
    let rig = rig();
    let svid = rig.own.x509_svid(&rig.agent);
    let client = |fields: Fields| fields.unauthenticated().set("client_id", rig.agent.as_str());
    let bound = rig.exchange_with(&client(rig.fields()), over(&svid)).await.unwrap();
    let narrow = rig.exchange_with(&client(narrower(&rig, &bound)), over(&svid)).await.unwrap();
    assert_eq!(cnf(&narrow), cnf(&bound));
    assert!(cnf(&narrow)["x5t#S256"].is_string());
}

#[tokio::test]
async fn what_is_handed_on_is_bound_to_the_key_in_the_wit_svid_of_the_next_agent() {
    let (rig, holder) = (rig(), key());
    let helper = rig.own.id("/agent/helper");
    let their_key = HolderKey::generate().unwrap();
    let wit = rig.own.wit_svid(&helper, &their_key, START + Duration::from_secs(300));
    let bound = rig.exchange_with(&rig.fields(), with(&rig, &holder)).await.unwrap();
    let handed_on = narrower(&rig, &bound)
        .set("actor_token", wit.expose_token())
        .set("actor_token_type", TOKEN_TYPE_JWT);
    refused(rig.exchange(&handed_on).await);
    // The key of the next agent does not stand in for that of the holder.
    refused(rig.exchange_with(&handed_on, with(&rig, &their_key)).await);
    let given = rig.exchange_with(&handed_on, with(&rig, &holder)).await.unwrap();
    assert_eq!(cnf(&given), jkt(&their_key));
    // By a JWT-SVID, which shows no key, nothing passes on.
    let jwt = rig.svid_of(&rig.own, &helper);
    let nameless = handed_on.set("actor_token", &jwt);
    let error = rig.exchange_with(&nameless, with(&rig, &holder)).await.unwrap_err();
    assert_eq!(error.code(), InvalidRequest);
}

#[tokio::test]
async fn oauth_18_5_a_deferred_request_is_collected_with_the_key_that_it_proved() {
    let (rig, holder, thief) = (rig(), key(), key());
    let error = rig.exchange_with(&rig.deferred(), with(&rig, &holder)).await.unwrap_err();
    assert_eq!(error.code(), AuthorizationPending);
    let code = error.deferred().unwrap().code.expose_code().to_owned();
    rig.approve_asked();
    let poll = rig.poll(&code);
    for presented in [Presented::default(), with(&rig, &thief)] {
        let error = rig.exchange_with(&poll, presented).await.unwrap_err();
        let told = (error.code(), error.denial());
        assert_eq!(told, (InvalidGrant, Some(DenialCode::SenderConstraintFailed)), "{error}");
    }
    let once = with(&rig, &holder);
    let token = rig.exchange_with(&poll, once.clone()).await.unwrap();
    assert_eq!(cnf(&token), jkt(&holder));
    let again = rig.exchange_with(&poll, once).await.unwrap_err();
    assert_eq!(again.code(), InvalidDpopProof);
}

#[tokio::test]
async fn oauth_7_5_a_replayed_proof_asks_for_no_second_intent() {
    let (rig, holder) = (rig(), key());
    let presented = with(&rig, &holder);
    let first = rig.exchange_with(&rig.deferred(), presented.clone()).await.unwrap_err();
    assert_eq!(first.code(), AuthorizationPending);
    let intents = rig.store.kept().intents.len();
    let again = rig.exchange_with(&rig.deferred(), presented).await.unwrap_err();
    assert_eq!(again.code(), InvalidDpopProof);
    assert_eq!(rig.store.kept().intents.len(), intents);
}

/// What the holder of a WIT-SVID sends to authenticate by it.
fn attested(rig: &Rig, holder: &HolderKey, jti: &str) -> Presented {
    let wit = rig.own.wit_svid(&rig.agent, holder, START + Duration::from_secs(300));
    let claims = json!({ "aud": ISSUER, "jti": jti, "iat": START.as_second() });
    let typ = Some("oauth-client-attestation-pop+jwt");
    let pop = sign_compact(typ, &claims, holder).unwrap();
    let once = |value: &str| OneHeader::of([Some(value)].into_iter());
    Presented {
        client_attestation: once(wit.expose_token()),
        client_attestation_pop: once(pop.expose_token()),
        ..Presented::default()
    }
}

#[tokio::test]
async fn oauth_5_3_beside_a_wit_svid_a_dpop_proof_is_by_its_key() {
    let (rig, own, other) = (rig(), HolderKey::generate().unwrap(), key());
    let fields = rig.fields().unauthenticated();
    let both = |jti, key: &dyn Signer| Presented {
        dpop: with(&rig, key).dpop,
        ..attested(&rig, &own, jti)
    };
    let bound = rig.exchange_with(&fields, both("one", &own)).await.unwrap();
    assert_eq!(cnf(&bound), jkt(&own));
    let error = rig.exchange_with(&fields, both("two", &other)).await.unwrap_err();
    assert_eq!(error.code(), InvalidDpopProof);
    // The proof of the WIT-SVID proves the key of the token as well.
    let narrow = narrower(&rig, &bound).unauthenticated();
    let kept = rig.exchange_with(&narrow, attested(&rig, &own, "three")).await.unwrap();
    assert_eq!(cnf(&kept), jkt(&own));
}
