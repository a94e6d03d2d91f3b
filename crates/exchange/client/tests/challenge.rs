//! Challenges for the proof beside a client attestation.

use marque_dpop::{NONCE_WINDOW, NoncePurpose, Nonces};
use marque_testkit::{START, ScratchProof, ScratchSigner};
use serde_json::json;

use super::{
    held::{Held, changed, request, sign},
    once,
};
use crate::{
    Endpoint, NoncePolicy, OAuthErrorCode, Offers, Presented, UnverifiedAttestationProof,
    UnverifiedWorkloadProof,
    fixture::{ISSUER, Rig, is_plain},
};

/// A rig with many uses and this policy.
fn rig(policy: NoncePolicy) -> Rig {
    Rig::with(|config| config.attestation_challenge = policy, |terms| terms.uses = 64)
}

/// A request of somebody with a fresh proof, with a challenge or without one.
fn attested(rig: &Rig, held: &Held, jti: &str, challenge: Option<&str>) -> Presented {
    let mut claims = changed(&held.attestation_claims(), "jti", json!(jti));
    claims["iat"] = json!(rig.now().as_second());
    if let Some(challenge) = challenge {
        claims["challenge"] = json!(challenge);
    }
    held.attested(&sign(Some(UnverifiedAttestationProof::TYPE), &claims, &held.key))
}

async fn code(rig: &Rig, presented: Presented) -> Option<OAuthErrorCode> {
    rig.exchange_with(&request(rig), presented).await.err().map(|error| error.code())
}

const USE: Option<OAuthErrorCode> = Some(OAuthErrorCode::UseAttestationChallenge);

#[test]
fn oauth_5_4_metadata_names_the_challenge_endpoint_where_attestations_authenticate() {
    let rig = Rig::new();
    let metadata = rig.service.metadata();
    assert_eq!(metadata["challenge_endpoint"], format!("{ISSUER}/oauth2/challenge"));
    for member in [
        "client_attestation_signing_alg_values_supported",
        "client_attestation_pop_signing_alg_values_supported",
    ] {
        assert!(metadata[member].as_array().unwrap().contains(&json!("ES256")), "{member}");
    }
    assert!(rig.service.attestation_challenge().is_some());
    let off = Offers { wit_client_authentication: false, ..Offers::ALL };
    let rig = Rig::with(|config| config.offers = off, |_| {});
    let metadata = rig.service.metadata().to_string();
    assert!(!metadata.contains("challenge_endpoint") && !metadata.contains("client_attestation"));
    assert_eq!(rig.service.attestation_challenge(), None);
    assert!(Endpoint::offered(&off).all(|endpoint| endpoint != Endpoint::AttestationChallenge));
}

#[tokio::test]
async fn oauth_5_4_where_challenges_are_required_a_proof_without_one_is_told_so() {
    let rig = rig(NoncePolicy::Required);
    let held = Held::agent(&rig);
    let lacking = attested(&rig, &held, "one", None);
    let error = rig.exchange_with(&request(&rig), lacking).await.unwrap_err();
    assert_eq!(Some(error.code()), USE);
    assert_eq!((error.http_status(), is_plain(&error)), (400, true));
    // It was no use of the proof's name: the same one comes again with the challenge.
    let challenge = rig.service.attestation_challenge().unwrap();
    assert_eq!(code(&rig, attested(&rig, &held, "one", Some(&challenge))).await, None);
    assert_eq!(code(&rig, attested(&rig, &held, "two", Some(&challenge))).await, None);
    // With the challenge it counts once, as ever.
    let again = code(&rig, attested(&rig, &held, "two", Some(&challenge))).await;
    assert_eq!(again, Some(OAuthErrorCode::InvalidClientAttestation));
}

#[tokio::test]
async fn oauth_5_4_where_challenges_are_optional_a_proof_without_one_is_taken() {
    let rig = rig(NoncePolicy::Optional);
    let held = Held::agent(&rig);
    assert_eq!(code(&rig, attested(&rig, &held, "one", None)).await, None);
    let challenge = rig.service.attestation_challenge().unwrap();
    assert_eq!(code(&rig, attested(&rig, &held, "two", Some(&challenge))).await, None);
}

#[tokio::test]
async fn oauth_5_4_a_challenge_is_good_for_its_window_and_the_next_and_no_second_longer() {
    let rig = rig(NoncePolicy::Required);
    let held = |rig: &Rig| {
        let key = marque_jose::HolderKey::generate().unwrap();
        let ends = rig.now() + std::time::Duration::from_secs(300);
        let wit = rig.own.wit_svid(&rig.agent, &key, ends);
        Held { key, wit: wit.expose_token().to_owned() }
    };
    let challenge = rig.service.attestation_challenge().unwrap();
    let window = i64::try_from(NONCE_WINDOW.as_secs()).unwrap();
    let ends = (START.as_second().div_euclid(window) + 2) * window;
    let left = std::time::Duration::from_secs(u64::try_from(ends - START.as_second()).unwrap());
    let second = std::time::Duration::from_secs(1);
    rig.clock.advance(left - second);
    // The intent of the rig is over by now: what counts is that the client is known.
    let last = code(&rig, attested(&rig, &held(&rig), "one", Some(&challenge))).await;
    assert_ne!(last, USE);
    rig.clock.advance(second);
    assert_ne!(rig.service.attestation_challenge().unwrap(), challenge);
    let late = code(&rig, attested(&rig, &held(&rig), "two", Some(&challenge))).await;
    assert_eq!(late, USE);
}

#[tokio::test]
async fn oauth_5_4_a_challenge_that_is_not_ours_is_refused_under_either_policy() {
    for policy in [NoncePolicy::Required, NoncePolicy::Optional] {
        let rig = rig(policy);
        let held = Held::agent(&rig);
        let good = rig.service.attestation_challenge().unwrap();
        let purpose = NoncePurpose::AttestationProof;
        let of = |secret: u8, issuer: &str| {
            let nonces = Nonces::for_purpose(&[secret; 32], purpose, issuer);
            format!("c{}", nonces.current(START))
        };
        assert_eq!(of(7, ISSUER), good, "how the others are made");
        let bare = good.strip_prefix('c').unwrap();
        let dpop = rig.service.dpop_nonce().unwrap();
        for (name, challenge) in [
            ("empty", String::new()),
            ("anything", "anything".to_owned()),
            ("without_its_letter", bare.to_owned()),
            ("another_letter", format!("d{bare}")),
            ("in_upper_case", good.to_uppercase()),
            ("cut", good.chars().take(43).collect()),
            ("with_a_line_break", format!("{good}\n")),
            ("a_nonce_for_dpop", dpop.clone()),
            ("a_nonce_for_dpop_in_its_form", format!("c{dpop}")),
            ("of_another_issuer", of(7, "https://issuer.dev.example.org:8443")),
            ("of_another_secret", of(8, ISSUER)),
        ] {
            let presented = attested(&rig, &held, "one", Some(&challenge));
            assert_eq!(code(&rig, presented).await, USE, "{name}");
        }
        // Another replica with the same secret hands out the same one.
        let replica = Rig::new().service.attestation_challenge();
        assert_eq!(replica.as_ref(), Some(&good));
        let presented = attested(&rig, &held, "one", replica.as_deref());
        assert_eq!(code(&rig, presented).await, None);
    }
}

#[tokio::test]
async fn oauth_5_4_a_challenge_is_no_nonce_of_a_dpop_proof() {
    let rig = rig(NoncePolicy::Required);
    let (held, key) = (Held::agent(&rig), ScratchSigner::generate("dpop-1"));
    let challenge = rig.service.attestation_challenge().unwrap();
    let uri = Endpoint::Token.url(&ISSUER.parse().unwrap());
    for nonce in [challenge.as_str(), challenge.strip_prefix('c').unwrap()] {
        let proof = ScratchProof::new(&key, "POST", &uri, rig.now()).claim("nonce", nonce);
        let presented = Presented {
            dpop: once(&proof.sign(&key)),
            ..attested(&rig, &held, nonce, Some(&challenge))
        };
        assert_eq!(code(&rig, presented).await, Some(OAuthErrorCode::UseDpopNonce), "{nonce}");
    }
}

#[tokio::test]
async fn oauth_5_4_only_who_holds_the_key_and_means_us_is_told_that_a_challenge_is_missing() {
    let rig = rig(NoncePolicy::Required);
    let (held, other) = (Held::agent(&rig), Held::agent(&rig));
    let typ = Some(UnverifiedAttestationProof::TYPE);
    let claims = held.attestation_claims();
    let elsewhere = changed(&claims, "aud", json!("https://other.example.org"));
    for (name, proof) in [
        ("key_of_somebody_else", sign(typ, &claims, &other.key)),
        ("for_somebody_else", sign(typ, &elsewhere, &held.key)),
        ("of_another_type", sign(Some("wpt+jwt"), &claims, &held.key)),
        ("mistyped", sign(typ, &changed(&claims, "challenge", json!(["x"])), &held.key)),
    ] {
        let refused = code(&rig, held.attested(&proof)).await;
        assert_eq!(refused, Some(OAuthErrorCode::InvalidClientAttestation), "{name}");
    }
}

#[tokio::test]
async fn a_workload_proof_needs_no_challenge_because_its_draft_has_none() {
    let rig = rig(NoncePolicy::Required);
    let held = Held::agent(&rig);
    let typ = Some(UnverifiedWorkloadProof::TYPE);
    let proof = sign(typ, &held.workload_claims(), &held.key);
    assert_eq!(code(&rig, held.working(&proof)).await, None);
}

#[test]
fn a_challenge_is_a_token_that_a_structured_field_can_have() {
    let rig = Rig::new();
    for _window in 0..64 {
        let challenge = rig.service.attestation_challenge().unwrap();
        assert!(challenge.starts_with(|c: char| c.is_ascii_alphabetic()), "{challenge}");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(challenge.len() == 44 && challenge.chars().all(plain), "{challenge}");
        rig.clock.advance(NONCE_WINDOW);
    }
}
