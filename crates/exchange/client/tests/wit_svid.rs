//! WIT-SVIDs with a proof of possession, in both forms. Every proof is signed by the key that it should be, unless its
//! case is another key.

use marque_intent::DenialCode;
use marque_jose::{Algorithm, HolderKey, Signer, base64url, sha256};
use marque_testkit::{START, ScratchSigner};
use serde_json::{Value, json};

use super::held::{Held, changed, request, sign, without};
use crate::{
    OAuthErrorCode::{self, AccessDenied, InvalidClient, InvalidClientAttestation},
    Presented, UnverifiedAttestationProof, UnverifiedWorkloadProof,
    fixture::{Fields, ISSUER, Rig},
};

/// Claims that both forms refuse, whatever else they ask for.
fn spoilt(good: &Value) -> Vec<(&'static str, Value)> {
    let now = START.as_second();
    vec![
        ("aud_missing", without(good, "aud")),
        ("aud_of_somebody_else", changed(good, "aud", json!("https://other.example.org"))),
        ("aud_empty_array", changed(good, "aud", json!([]))),
        ("aud_of_two", changed(good, "aud", json!([good["aud"], "https://other.example.org"]))),
        ("aud_prefix", changed(good, "aud", json!(format!("{}/", good["aud"].as_str().unwrap())))),
        ("jti_missing", without(good, "jti")),
        ("jti_empty", changed(good, "jti", json!(""))),
        ("jti_number", changed(good, "jti", json!(7))),
        ("jti_too_long", changed(good, "jti", json!("j".repeat(257)))),
        ("iat_in_the_future", changed(good, "iat", json!(now + 61))),
        ("iat_string", changed(good, "iat", json!(now.to_string()))),
        ("iat_null", changed(good, "iat", Value::Null)),
        ("nbf_in_the_future", changed(good, "nbf", json!(now + 61))),
        ("nbf_float", changed(good, "nbf", json!(1.5))),
        ("exp_over", changed(good, "exp", json!(now - 11))),
        ("exp_string", changed(good, "exp", json!((now + 60).to_string()))),
        ("exp_negative", changed(good, "exp", json!(-1))),
        ("exp_null", changed(good, "exp", Value::Null)),
    ]
}

/// Proofs that both forms refuse: of another key, another type, or no JWS.
fn forged(held: &Held, typ: &'static str, good: &Value) -> Vec<(&'static str, String)> {
    let other = HolderKey::generate().unwrap();
    let valid = sign(Some(typ), good, &held.key);
    let (signed, signature) = valid.rsplit_once('.').unwrap();
    let mut flipped = base64url::decode(signature).unwrap();
    flipped[7] ^= 1;
    let (_, payload) = signed.split_once('.').unwrap();
    let raw = |header: &str| {
        let input = format!("{}.{payload}", base64url::encode(header));
        let signature = base64url::encode(held.key.sign(input.as_bytes()).unwrap());
        format!("{input}.{signature}")
    };
    vec![
        ("key_of_somebody_else", sign(Some(typ), good, &other)),
        (
            "key_of_the_trust_domain",
            sign(Some(typ), good, &ScratchSigner::generate("scratch-wit-1")),
        ),
        ("signature_flipped", format!("{signed}.{}", base64url::encode(&flipped))),
        ("signature_missing", format!("{signed}.")),
        ("typ_missing", sign(None, good, &held.key)),
        ("typ_jwt", sign(Some("JWT"), good, &held.key)),
        ("typ_of_a_wit", sign(Some("wit+jwt"), good, &held.key)),
        ("typ_of_a_dpop_proof", sign(Some("dpop+jwt"), good, &held.key)),
        ("alg_none", raw(&format!(r#"{{"alg":"none","typ":"{typ}"}}"#))),
        ("alg_of_another_kind_of_key", raw(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#))),
        ("alg_of_another_curve", raw(&format!(r#"{{"alg":"ES384","typ":"{typ}"}}"#))),
        ("jwk_in_the_header", raw(&format!(r#"{{"alg":"ES256","typ":"{typ}","jwk":{{}}}}"#))),
        ("crit", raw(&format!(r#"{{"alg":"ES256","typ":"{typ}","crit":["x"],"x":1}}"#))),
        ("five_parts", format!("{valid}.a.b")),
        ("trailing_newline", format!("{valid}\n")),
        ("two_in_one_header", format!("{valid}, {valid}")),
        ("the_wit_itself", held.wit.clone()),
        ("empty", String::new()),
        ("json_serialisation", json!({ "payload": payload }).to_string()),
        (
            "larger_than_a_token_may_be",
            raw(&format!(r#"{{"alg":"ES256","typ":"{typ}","x":"{}"}}"#, "x".repeat(17_000))),
        ),
    ]
}

#[tokio::test]
async fn oauth_5_1_a_wit_svid_with_an_attestation_proof_authenticates_its_holder() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let proof = sign(Some(UnverifiedAttestationProof::TYPE), &held.attestation_claims(), &held.key);
    rig.exchange_with(&request(&rig), held.attested(&proof)).await.unwrap();
}

#[tokio::test]
async fn oauth_5_5_a_wit_svid_with_a_workload_proof_authenticates_its_holder() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let proof = sign(Some(UnverifiedWorkloadProof::TYPE), &held.workload_claims(), &held.key);
    let fields = request(&rig).set("client_id", rig.agent.as_str());
    rig.exchange_with(&fields, held.working(&proof)).await.unwrap();
}

#[tokio::test]
async fn oauth_5_1_the_type_of_a_proof_may_be_written_with_application() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
    let held = Held::agent(&rig);
    let pop = sign(
        Some("application/oauth-client-attestation-pop+jwt"),
        &held.attestation_claims(),
        &held.key,
    );
    rig.exchange_with(&request(&rig), held.attested(&pop)).await.unwrap();
    let wpt = sign(Some("application/wpt+jwt"), &held.workload_claims(), &held.key);
    rig.exchange_with(&request(&rig), held.working(&wpt)).await.unwrap();
}

#[tokio::test]
async fn oauth_5_1_no_other_attestation_proof_is_one() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let good = held.attestation_claims();
    let now = START.as_second();
    let typ = UnverifiedAttestationProof::TYPE;
    let mut claims = spoilt(&good);
    claims.extend([
        ("iat_missing", without(&good, "iat")),
        ("iat_too_old", changed(&good, "iat", json!(now - 71))),
        (
            "aud_of_the_token_endpoint",
            changed(&good, "aud", json!(format!("{ISSUER}/oauth2/token"))),
        ),
        ("challenge_number", changed(&good, "challenge", json!(7))),
    ]);
    let mut proofs: Vec<_> = claims
        .into_iter()
        .map(|(name, claims)| (name, sign(Some(typ), &claims, &held.key)))
        .collect();
    proofs.extend(forged(&held, typ, &good));
    proofs.push(("a_workload_proof", sign(Some("wpt+jwt"), &held.workload_claims(), &held.key)));
    for (name, proof) in proofs {
        let Err(error) = rig.exchange_with(&request(&rig), held.attested(&proof)).await else {
            panic!("{name} is accepted")
        };
        assert_eq!(error.code(), InvalidClientAttestation, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_5_5_no_other_workload_proof_is_one() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let good = held.workload_claims();
    let now = START.as_second();
    let typ = UnverifiedWorkloadProof::TYPE;
    let other = Held::agent(&rig);
    let hash = |text: &str| json!(base64url::encode(sha256(text.as_bytes())));
    let mut claims = spoilt(&good);
    claims.extend([
        ("exp_missing", without(&good, "exp")),
        ("exp_too_far", changed(&good, "exp", json!(now + 311))),
        ("exp_of_the_year_9999", changed(&good, "exp", json!(253_402_207_200_u64))),
        ("wth_missing", without(&good, "wth")),
        ("wth_of_another_wit", changed(&good, "wth", hash(&other.wit))),
        ("wth_padded", changed(&good, "wth", json!(format!("{}=", good["wth"].as_str().unwrap())))),
        ("wth_in_hexadecimal", changed(&good, "wth", json!("ab".repeat(32)))),
        ("ath_without_an_access_token", changed(&good, "ath", hash("x"))),
        ("tth_without_a_transaction_token", changed(&good, "tth", hash("x"))),
        (
            "oth_of_a_header_that_is_not_understood",
            changed(&good, "oth", json!({"x-token": hash("x")})),
        ),
        ("oth_list", changed(&good, "oth", json!([]))),
        ("aud_of_the_issuer", changed(&good, "aud", json!(ISSUER))),
        (
            "aud_of_another_endpoint",
            changed(&good, "aud", json!(format!("{ISSUER}/oauth2/introspect"))),
        ),
        ("aud_with_a_query", changed(&good, "aud", json!(format!("{ISSUER}/oauth2/token?x=1")))),
        (
            "aud_of_another_port",
            changed(&good, "aud", json!("https://issuer.prod.example.org/oauth2/token")),
        ),
    ]);
    let mut proofs: Vec<_> = claims
        .into_iter()
        .map(|(name, claims)| (name, sign(Some(typ), &claims, &held.key)))
        .collect();
    proofs.extend(forged(&held, typ, &good));
    let pop = UnverifiedAttestationProof::TYPE;
    proofs.push(("an_attestation_proof", sign(Some(pop), &held.attestation_claims(), &held.key)));
    for (name, proof) in proofs {
        let Err(error) = rig.exchange_with(&request(&rig), held.working(&proof)).await else {
            panic!("{name} is accepted")
        };
        assert_eq!(error.code(), InvalidClient, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_5_1_proofs_are_taken_up_to_their_limits_and_no_second_longer() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 64);
    let held = Held::agent(&rig);
    let now = START.as_second();
    let pop = |name: &str, iat: i64| {
        let claims = changed(&held.attestation_claims(), "iat", json!(iat));
        let claims = changed(&claims, "jti", json!(name));
        held.attested(&sign(Some(UnverifiedAttestationProof::TYPE), &claims, &held.key))
    };
    let wpt = |name: &str, exp: i64| {
        let claims = changed(&held.workload_claims(), "exp", json!(exp));
        let claims = changed(&claims, "jti", json!(name));
        held.working(&sign(Some(UnverifiedWorkloadProof::TYPE), &claims, &held.key))
    };
    let longest = |name: &str, bytes: usize| pop(&name.repeat(bytes), now);
    for (name, presented, accepted) in [
        ("oldest", pop("a", now - 70), true),
        ("too_old", pop("b", now - 71), false),
        ("ahead", pop("c", now + 10), true),
        ("too_far_ahead", pop("d", now + 11), false),
        ("longest_life", wpt("a", now + 310), true),
        ("too_long_a_life", wpt("b", now + 311), false),
        ("just_over", wpt("c", now - 10), true),
        ("over", wpt("d", now - 11), false),
        ("longest_name", longest("e", 256), true),
        ("too_long_a_name", longest("f", 257), false),
    ] {
        let answer = rig.exchange_with(&request(&rig), presented).await;
        assert_eq!(answer.is_ok(), accepted, "{name}: {:?}", answer.err());
    }
}

#[tokio::test]
async fn oauth_5_5_the_proof_is_for_the_endpoint_that_it_is_shown_to() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let aud = json!(format!("{ISSUER}/oauth2/introspect"));
    let proof = |claims: &Value| {
        held.working(&sign(Some(UnverifiedWorkloadProof::TYPE), claims, &held.key))
    };
    let fields = Fields::default().set("token", "x");
    let introspect = async |presented: Presented| {
        let request = crate::IntrospectionRequest::parse(fields.encode().as_bytes(), &presented)?;
        rig.service.introspect(request, presented).await
    };
    let for_token = proof(&held.workload_claims());
    assert_eq!(introspect(for_token).await.unwrap_err().code(), InvalidClient);
    introspect(proof(&changed(&held.workload_claims(), "aud", aud))).await.unwrap();
}

/// The two forms of a proof for the token endpoint, by the name that it is to have.
fn proofs(held: &Held, jti: &str) -> [(Presented, OAuthErrorCode); 2] {
    let named = |claims: &Value| changed(claims, "jti", json!(jti));
    let pop =
        sign(Some(UnverifiedAttestationProof::TYPE), &named(&held.attestation_claims()), &held.key);
    let wpt = sign(Some(UnverifiedWorkloadProof::TYPE), &named(&held.workload_claims()), &held.key);
    [(held.attested(&pop), InvalidClientAttestation), (held.working(&wpt), InvalidClient)]
}

#[tokio::test]
async fn oauth_5_6_a_proof_authenticates_once_and_the_wit_svid_again_and_again() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 64);
    let held = Held::agent(&rig);
    for (presented, code) in proofs(&held, "one") {
        rig.exchange_with(&request(&rig), presented.clone()).await.unwrap();
        let again = rig.exchange_with(&request(&rig), presented).await.unwrap_err();
        assert_eq!(again.code(), code);
    }
    for (presented, _) in proofs(&held, "two") {
        rig.exchange_with(&request(&rig), presented).await.unwrap();
    }
}

#[tokio::test]
async fn oauth_21_replay_in_sequence_of_a_proof_whatever_became_of_the_request() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let wider = request(&rig).set("scope", "admin");
    for (presented, code) in proofs(&held, "one") {
        let first = rig.exchange_with(&wider, presented.clone()).await.unwrap_err();
        assert_eq!(first.code(), OAuthErrorCode::InvalidScope);
        let again = rig.exchange_with(&request(&rig), presented).await.unwrap_err();
        assert_eq!(again.code(), code);
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_5_6_a_proof_counts_no_more_after_any_refusal_and_at_any_endpoint() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 64);
    let held = Held::agent(&rig);
    let other_name = request(&rig).set("client_id", "spiffe://prod.example.org/agent/other");
    let no_subject = request(&rig).set("subject_token", "x");
    for (at, fields) in [other_name, no_subject].into_iter().enumerate() {
        for (presented, code) in proofs(&held, &format!("refused-{at}")) {
            assert!(rig.exchange_with(&fields, presented.clone()).await.is_err());
            let again = rig.exchange_with(&request(&rig), presented).await.unwrap_err();
            assert_eq!(again.code(), code);
        }
    }
    // A DPoP proof that is refused takes the proof beside it along.
    for (presented, code) in proofs(&held, "beside-dpop") {
        let with_dpop = Presented { dpop: super::once("x"), ..presented.clone() };
        let first = rig.exchange_with(&request(&rig), with_dpop).await.unwrap_err();
        assert_eq!(first.code(), OAuthErrorCode::InvalidDpopProof);
        let again = rig.exchange_with(&request(&rig), presented).await.unwrap_err();
        assert_eq!(again.code(), code);
    }
    // Introspection and revocation write nothing else, and remember it as well.
    let [(attested, code), _] = proofs(&held, "elsewhere");
    let fields = Fields::default().set("token", "x");
    let introspect = async |presented: Presented| {
        let request = crate::IntrospectionRequest::parse(fields.encode().as_bytes(), &presented)?;
        rig.service.introspect(request, presented).await
    };
    introspect(attested.clone()).await.unwrap();
    assert_eq!(introspect(attested.clone()).await.unwrap_err().code(), code);
    let again = rig.exchange_with(&request(&rig), attested).await.unwrap_err();
    assert_eq!(again.code(), code);
}

#[tokio::test]
async fn oauth_5_6_one_holder_cannot_use_up_the_proofs_of_another() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 64);
    let (mine, yours) = (Held::agent(&rig), Held::agent(&rig));
    for held in [&mine, &yours] {
        for (presented, _) in proofs(held, "the same name") {
            rig.exchange_with(&request(&rig), presented).await.unwrap();
        }
    }
}

#[tokio::test]
async fn oauth_5_6_a_proof_counts_for_nothing_where_nobody_knows_whether_it_is_new() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    rig.store.kept().down = true;
    for (presented, _) in proofs(&held, "one") {
        let error = rig.exchange_with(&request(&rig), presented).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
    }
}

#[tokio::test]
async fn oauth_4_5_no_forged_wit_svid_authenticates_a_client() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let id = rig.agent.clone();
    let cnf = json!({ "jwk": held.key.to_confirmation_jwk().to_value() });
    let exp = START.as_second() + 300;
    let good = json!({ "sub": id, "cnf": cnf, "exp": exp });
    let by = |typ: &str, claims: &Value, signer: &dyn Signer| sign(Some(typ), claims, signer);
    let own = &rig.own;
    let mut private = cnf.clone();
    private["jwk"]["d"] = json!("x".repeat(43));
    let mut symmetric = cnf.clone();
    symmetric["jwk"] = json!({"kty": "oct", "k": "eA", "alg": "HS256"});
    let cases = [
        ("signed_by_its_own_holder", by("wit+jwt", &good, &held.key)),
        ("signed_by_the_key_of_jwt_svids", by("wit+jwt", &good, &**own.signer())),
        ("signed_by_a_federated_key", by("wit+jwt", &good, &**rig.federated.wit_signer())),
        (
            "typ_of_the_attestation_draft",
            by("oauth-client-attestation+jwt", &good, &**own.wit_signer()),
        ),
        ("typ_jwt", by("JWT", &good, &**own.wit_signer())),
        ("no_holder", by("wit+jwt", &without(&good, "cnf"), &**own.wit_signer())),
        (
            "holder_of_a_private_key",
            by("wit+jwt", &changed(&good, "cnf", private), &**own.wit_signer()),
        ),
        (
            "holder_of_a_secret",
            by("wit+jwt", &changed(&good, "cnf", symmetric), &**own.wit_signer()),
        ),
        ("an_audience", by("wit+jwt", &changed(&good, "aud", json!(ISSUER)), &**own.wit_signer())),
        (
            "expired",
            by(
                "wit+jwt",
                &changed(&good, "exp", json!(START.as_second() - 6)),
                &**own.wit_signer(),
            ),
        ),
        (
            "lives_too_long",
            by(
                "wit+jwt",
                &changed(&good, "exp", json!(START.as_second() + 3611)),
                &**own.wit_signer(),
            ),
        ),
        ("no_expiry", by("wit+jwt", &without(&good, "exp"), &**own.wit_signer())),
        ("a_jwt_svid", rig.svid()),
        ("nothing", String::new()),
    ];
    for (name, wit) in cases {
        let held =
            Held { key: HolderKey::from_private_jwk(&held.key.to_private_jwk()).unwrap(), wit };
        let pop =
            sign(Some(UnverifiedAttestationProof::TYPE), &held.attestation_claims(), &held.key);
        let wpt = sign(Some(UnverifiedWorkloadProof::TYPE), &held.workload_claims(), &held.key);
        for (presented, code) in
            [(held.attested(&pop), InvalidClientAttestation), (held.working(&wpt), InvalidClient)]
        {
            let Err(error) = rig.exchange_with(&request(&rig), presented).await else {
                panic!("{name} authenticates")
            };
            assert_eq!(error.code(), code, "{name}");
        }
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_4_5_client_id_is_the_subject_of_the_wit_svid() {
    let rig = Rig::new();
    let held = Held::agent(&rig);
    let pop = sign(Some(UnverifiedAttestationProof::TYPE), &held.attestation_claims(), &held.key);
    let fields = request(&rig).set("client_id", "spiffe://prod.example.org/agent/other");
    let error = rig.exchange_with(&fields, held.attested(&pop)).await.unwrap_err();
    assert_eq!(error.code(), InvalidClient);
}

#[tokio::test]
async fn oauth_4_6_a_wit_svid_does_not_cross_the_environment_boundary() {
    let rig = Rig::new();
    for (domain, code, denial) in [
        (&rig.other_environment, AccessDenied, Some(DenialCode::EnvironmentBoundary)),
        (&rig.undeclared, InvalidClientAttestation, None),
    ] {
        let held = Held::of(domain, "/agent/rotator");
        let pop =
            sign(Some(UnverifiedAttestationProof::TYPE), &held.attestation_claims(), &held.key);
        let error = rig.exchange_with(&request(&rig), held.attested(&pop)).await.unwrap_err();
        assert_eq!((error.code(), error.denial()), (code, denial));
    }
}

#[test]
fn the_algorithm_of_a_scratch_holder_is_the_one_that_its_cases_assume() {
    assert_eq!(HolderKey::generate().unwrap().algorithm(), Algorithm::Es256);
}
