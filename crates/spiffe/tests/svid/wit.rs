use std::time::Duration;

use jiff::Timestamp;
use marque_jose::{
    Algorithm, HolderKey, JwkError, JwsError, KeyError, Signer as _, UnverifiedJws, base64url,
    sign_compact,
};
use marque_spiffe::{
    Bundle, JwtSvidError, SpiffeIdError, UnverifiedJwtSvid, UnverifiedWitSvid, WitSvid,
    WitSvidError,
};
use marque_testkit::{START, ScratchSigner, ScratchTrustDomain};
use serde_json::{Value, json};

const HEADER: &str = r#"{"alg":"ES256","kid":"scratch-wit-1","typ":"wit+jwt"}"#;

/// The example of the WIT-SVID specification, appendix A; the key that signed it is not published.
const PUBLISHED: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImxRU2kzaFpGbmRhMkQtWEprajF6bDdmb0pvdWl3STRuckF5aHk0alppSmciLCJ0eXAiOiJ3aXQrand0In0.eyJjbmYiOnsiandrIjp7ImFsZyI6IkVTMjU2IiwiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngiOiJyelA3bUxDS0FIV21zTTZYMEV3VklTQ19oSTN1amN1OTVmZlVreWVER0dvIiwieSI6InVPcmZEbGp0WDltM2pZLWhzeWhMSllheHRHa3pEdjVlNWttQ2U1OFo5N2cifX0sImV4cCI6MTc2NTQ1NjUwMywiaWF0IjoxNzY1NDUyOTAzLCJqdGkiOiIxeWoxOVY0TWNPQXpNY0ZpN3F2c2dfQWdDeGxyWTVFX3g1MDl3bEtLUXRjIiwic3ViIjoic3BpZmZlOi8vZXhhbXBsZS5jb20vbXktd29ya2xvYWQifQ.sfhEvZNdY_kWrICF08lX0u__rn39YnTavnW-VPBS20zgowDh6-X43v5eOUKZbjZf06yLBQM-Mry5w1g1QFsCkg";

fn domain() -> ScratchTrustDomain {
    ScratchTrustDomain::new("example.org")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START.as_second() + seconds).unwrap()
}

/// A public key with its algorithm.
fn holder() -> Value {
    HolderKey::generate().unwrap().to_confirmation_jwk().to_value()
}

fn claims() -> Value {
    let exp = at(300).as_second();
    json!({ "sub": "spiffe://example.org/agent/a", "cnf": { "jwk": holder() }, "exp": exp })
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

fn with_holder(member: &str, value: Value) -> Value {
    let mut jwk = holder();
    jwk[member] = value;
    with("cnf", json!({ "jwk": jwk }))
}

/// Signs whatever header and claims a test wants.
fn sign(signer: &ScratchSigner, header: &str, claims: &Value) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims.to_string()));
    let signature = signer.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

fn verify_at(claims: &Value, now: Timestamp) -> Result<WitSvid, WitSvidError> {
    let domain = domain();
    let token = sign(domain.wit_signer(), HEADER, claims);
    UnverifiedWitSvid::parse(&token)?.verify(&domain.bundle(), now)
}

fn verify(claims: &Value) -> Result<WitSvid, WitSvidError> {
    verify_at(claims, START)
}

fn parse_header(header: &str) -> Result<UnverifiedWitSvid, WitSvidError> {
    UnverifiedWitSvid::parse(&sign(domain().wit_signer(), header, &claims()))
}

#[test]
fn a_correct_token_verifies_with_all_its_claims() {
    let now = START.as_second();
    let mut claims = with("extra", json!({ "a": 1 }));
    claims["nbf"] = json!(now - 10);
    claims["iat"] = json!(now);
    claims["jti"] = json!("1yj19V4McOAzMcFi7qvsg");
    let svid = verify(&claims).unwrap();
    assert_eq!(svid.subject().as_str(), "spiffe://example.org/agent/a");
    assert_eq!(
        (svid.expires_at(), svid.not_before(), svid.issued_at()),
        (at(300), Some(at(-10)), Some(START))
    );
    assert_eq!(Value::Object(svid.holder_key().to_jwk())["x"], claims["cnf"]["jwk"]["x"]);
    assert_eq!(svid.holder_algorithm(), Algorithm::Es256);
    assert_eq!(svid.claims()["extra"]["a"], 1);
}

#[test]
fn the_published_example_reads() {
    let svid = UnverifiedWitSvid::parse(PUBLISHED).unwrap();
    assert_eq!(svid.id().as_str(), "spiffe://example.com/my-workload");
    assert_eq!(svid.key_id().as_str(), "lQSi3hZFnda2D-XJkj1zl7foJouiwI4nrAyhy4jZiJg");
}

#[test]
fn wi_1_a_key_id_is_demanded_and_is_compared_with_its_case() {
    let missing = parse_header(r#"{"alg":"ES256","typ":"wit+jwt"}"#);
    assert!(matches!(missing, Err(WitSvidError::NoKeyId)));
    for kid in ["SCRATCH-WIT-1", "scratch-wit-2", "scratch-wit-1 ", "../../dev/null"] {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"wit+jwt"}}"#);
        let domain = domain();
        let token =
            UnverifiedWitSvid::parse(&sign(domain.wit_signer(), &header, &claims())).unwrap();
        let refused = token.verify(&domain.bundle(), START);
        assert!(matches!(refused, Err(WitSvidError::UnknownKey(_))), "{kid}");
    }
}

#[test]
fn wi_2_the_type_is_wit_jwt_and_nothing_else() {
    for typ in ["JWT", "JOSE", "at+jwt", "wpt+jwt", "WIT+JWT", "application/wit+jwt", "", "wit"] {
        let header = format!(r#"{{"alg":"ES256","kid":"scratch-wit-1","typ":"{typ}"}}"#);
        assert!(matches!(parse_header(&header), Err(WitSvidError::Type)), "{typ}");
    }
    let missing = parse_header(r#"{"alg":"ES256","kid":"scratch-wit-1"}"#);
    assert!(matches!(missing, Err(WitSvidError::Type)));
    assert!(parse_header(HEADER).is_ok());
}

#[test]
fn wi_3_an_algorithm_outside_the_list_or_of_another_key_is_refused() {
    for algorithm in ["none", "NoNe", "", "HS256", "EdDSA", "ES256K"] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"scratch-wit-1","typ":"wit+jwt"}}"#);
        let refused = parse_header(&header);
        assert!(matches!(refused, Err(WitSvidError::Jws(JwsError::Algorithm(_)))), "{algorithm}");
    }
    let domain = domain();
    for algorithm in Algorithm::ALL.iter().filter(|algorithm| **algorithm != Algorithm::Es256) {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"scratch-wit-1","typ":"wit+jwt"}}"#);
        let token =
            UnverifiedWitSvid::parse(&sign(domain.wit_signer(), &header, &claims())).unwrap();
        let refused = token.verify(&domain.bundle(), START);
        assert!(
            matches!(refused, Err(WitSvidError::Jws(JwsError::AlgorithmNotAllowed(_)))),
            "{algorithm}"
        );
    }
}

#[test]
fn wi_3_a_header_has_alg_kid_and_typ_alone() {
    for member in [r#""cty":"JWT""#, r#""x5t":"AA""#, r#""iss":"x""#, r#""KID":"x""#] {
        let header = format!(r#"{{"alg":"ES256","kid":"scratch-wit-1","typ":"wit+jwt",{member}}}"#);
        assert!(matches!(parse_header(&header), Err(WitSvidError::HeaderMember)), "{member}");
    }
    for member in [r#""jwk":{}"#, r#""jku":"https://example.org""#, r#""crit":["exp"]"#] {
        let header = format!(r#"{{"alg":"ES256","kid":"scratch-wit-1","typ":"wit+jwt",{member}}}"#);
        let refused = parse_header(&header);
        assert!(
            matches!(refused, Err(WitSvidError::Jws(JwsError::ForbiddenMember(_)))),
            "{member}"
        );
    }
}

#[test]
fn wi_4_the_subject_is_the_spiffe_id_of_a_workload() {
    assert!(matches!(verify(&without("sub")), Err(WitSvidError::NoSubject)));
    for wrong in [json!(null), json!(1), json!(["spiffe://example.org/agent/a"])] {
        let refused = verify(&with("sub", wrong.clone()));
        assert!(matches!(refused, Err(WitSvidError::NoSubject)), "{wrong}");
    }
    for (wrong, rule) in [
        ("agent", SpiffeIdError::Scheme),
        ("wimse://example.org/agent/a", SpiffeIdError::Scheme),
        ("spiffe://example.org/agent/../a", SpiffeIdError::DotSegment),
    ] {
        let error = verify(&with("sub", json!(wrong))).unwrap_err();
        assert!(matches!(error, WitSvidError::Subject(found) if found == rule), "{wrong}");
    }
    let bare = verify(&with("sub", json!("spiffe://example.org")));
    assert!(matches!(bare, Err(WitSvidError::SubjectWithoutPath)));
}

#[test]
fn wi_5_a_wit_svid_without_cnf_is_refused() {
    assert!(matches!(verify(&without("cnf")), Err(WitSvidError::NoHolderKey)));
    for wrong in [
        json!(null),
        json!("x"),
        json!([]),
        json!({}),
        json!({ "jkt": "AA" }),
        json!({ "kid": "k" }),
        json!({ "x5t#S256": "AA" }),
    ] {
        let refused = verify(&with("cnf", wrong.clone()));
        assert!(matches!(refused, Err(WitSvidError::NoHolderKey)), "{wrong}: {refused:?}");
    }
    for other in ["jwe", "jku"] {
        let refused = verify(&with("cnf", json!({ "jwk": holder(), other: "x" })));
        assert!(matches!(refused, Err(WitSvidError::SeveralHolderKeys)), "{other}");
    }
    // What is not understood is ignored (RFC 7800 section 3.1).
    assert!(verify(&with("cnf", json!({ "jwk": holder(), "kid": "k", "other": 1 }))).is_ok());
}

#[test]
fn wi_5_the_holders_key_names_an_algorithm_that_fits_it() {
    let mut silent = holder();
    silent.as_object_mut().unwrap().remove("alg");
    let refused = verify(&with("cnf", json!({ "jwk": silent })));
    assert!(matches!(refused, Err(WitSvidError::NoHolderAlgorithm)), "{refused:?}");
    for algorithm in ["none", "HS256", "EdDSA", "es256", ""] {
        let refused = verify(&with_holder("alg", json!(algorithm)));
        assert!(
            matches!(refused, Err(WitSvidError::HolderKey(JwkError::Algorithm(_)))),
            "{algorithm}: {refused:?}"
        );
    }
    for algorithm in ["ES384", "RS256", "PS512"] {
        let refused = verify(&with_holder("alg", json!(algorithm)));
        assert!(
            matches!(refused, Err(WitSvidError::HolderKey(JwkError::AlgorithmMismatch(_)))),
            "{algorithm}: {refused:?}"
        );
    }
    let mistyped = verify(&with_holder("alg", json!(1)));
    assert!(matches!(mistyped, Err(WitSvidError::HolderKey(JwkError::Type("alg")))));
}

#[test]
fn wi_5_a_holders_key_that_is_private_symmetric_or_no_key_is_refused() {
    for (member, value) in
        [("d", json!("AA")), ("k", json!("AA")), ("x", json!("AA")), ("crv", json!("P-521"))]
    {
        let refused = verify(&with_holder(member, value));
        assert!(
            matches!(refused, Err(WitSvidError::HolderKey(JwkError::Key(_)))),
            "{member}: {refused:?}"
        );
    }
    let symmetric = json!({ "kty": "oct", "k": "AA", "alg": "HS256" });
    for wrong in [symmetric, json!({}), json!("x"), json!(null)] {
        let refused = verify(&with("cnf", json!({ "jwk": wrong })));
        assert!(matches!(refused, Err(WitSvidError::HolderKey(_))), "{wrong}: {refused:?}");
    }
    let private = verify(&with_holder("d", json!("AA"))).unwrap_err();
    assert!(matches!(private, WitSvidError::HolderKey(JwkError::Key(KeyError::Private("d")))));
}

#[test]
fn wi_6_an_expiry_is_demanded_and_ends_after_five_seconds_of_leeway() {
    assert!(matches!(verify(&without("exp")), Err(WitSvidError::NoExpiry)));
    assert_eq!(WitSvid::LEEWAY, Duration::from_secs(5));
    let last = at(305).checked_sub(Duration::from_millis(1)).unwrap();
    assert!(verify_at(&claims(), last).is_ok());
    for late in [at(305), at(1_000_000)] {
        let refused = verify_at(&claims(), late);
        assert!(matches!(refused, Err(WitSvidError::Expired(end)) if end == at(300)), "{late}");
    }
    // The last date that there is does not overflow.
    assert!(verify(&with("exp", json!(253_402_207_200_i64))).is_ok());
}

#[test]
fn wi_6_a_token_is_not_used_before_its_nbf_whatever_its_iat_says() {
    assert!(verify(&with("nbf", json!(START.as_second()))).is_ok());
    let early = verify(&with("nbf", json!(at(1).as_second())));
    assert!(matches!(early, Err(WitSvidError::NotYetValid(start)) if start == at(1)));
    for iat in [0, at(1).as_second(), at(1_000_000).as_second()] {
        assert!(verify(&with("iat", json!(iat))).is_ok(), "{iat}");
    }
}

#[test]
fn wi_6_a_mistyped_claim_is_an_error_and_never_absent() {
    let now = START.as_second();
    for member in ["exp", "nbf", "iat"] {
        for mistyped in
            [json!(null), json!(now.to_string()), json!(now as f64), json!(-1), json!([now])]
        {
            let error = verify(&with(member, mistyped.clone())).unwrap_err();
            assert!(matches!(error, WitSvidError::Claims(_)), "{member} {mistyped}: {error:?}");
        }
    }
    for member in ["iss", "jti"] {
        for mistyped in [json!(null), json!(1), json!(["x"])] {
            let refused = verify(&with(member, mistyped));
            assert!(matches!(refused, Err(WitSvidError::Claims(_))), "{member}");
        }
    }
}

#[test]
fn wi_7_a_token_id_does_not_make_a_token_usable_once() {
    let domain = domain();
    let token = sign(domain.wit_signer(), HEADER, &with("jti", json!("one")));
    for _instance in 0..3 {
        let svid = UnverifiedWitSvid::parse(&token).unwrap();
        assert_eq!(svid.verify(&domain.bundle(), START).unwrap().claims()["jti"], "one");
    }
}

#[test]
fn wi_8_an_issuer_may_be_there_and_finds_no_key() {
    let svid = verify(&with("iss", json!("https://issuer.example.net"))).unwrap();
    assert_eq!(svid.subject().trust_domain().as_str(), "example.org");
}

#[test]
fn wi_9_an_audience_of_any_kind_is_refused() {
    for audience in [json!("x"), json!(["x"]), json!([]), json!(null), json!("")] {
        let refused = verify(&with("aud", audience.clone()));
        assert!(matches!(refused, Err(WitSvidError::HasAudience)), "{audience}");
    }
}

#[test]
fn wi_10_a_wit_svid_is_no_jwt_svid_and_the_other_way_round() {
    let domain = domain();
    let wit = sign(domain.wit_signer(), HEADER, &claims());
    assert!(matches!(UnverifiedJwtSvid::parse(&wit), Err(JwtSvidError::Type)));
    let jwt = domain.jwt_svid(&domain.id("/agent/a"), &["x"], at(300));
    assert!(matches!(UnverifiedWitSvid::parse(jwt.expose_token()), Err(WitSvidError::Type)));
}

#[test]
fn wi_10_only_the_holders_key_proves_possession() {
    let domain = domain();
    let (holder, thief) = (HolderKey::generate().unwrap(), HolderKey::generate().unwrap());
    let token = domain.wit_svid(&domain.id("/agent/a"), &holder, at(300));
    let svid = UnverifiedWitSvid::parse(token.expose_token()).unwrap();
    let svid = svid.verify(&domain.bundle(), START).unwrap();
    let proof_by = |key: &HolderKey| {
        let proof = sign_compact(Some("wpt+jwt"), &json!({ "aud": "x" }), key).unwrap();
        let proof = UnverifiedJws::parse(proof.expose_token()).unwrap();
        proof.verify(svid.holder_key(), &[svid.holder_algorithm()])
    };
    assert!(proof_by(&holder).is_ok());
    assert!(matches!(proof_by(&thief), Err(JwsError::Signature)));
}

#[test]
fn wi_11_keys_of_another_use_do_not_verify() {
    let domain = domain();
    let (kid, key) = (domain.wit_signer().key_id().clone(), domain.wit_signer().public_key());
    let empty = Bundle::builder(domain.trust_domain().clone());
    let jwt_only = empty.clone().jwt_authority(kid, key.clone()).unwrap();
    let x509_only = empty.clone().x509_authority(domain.root().certificate().clone()).unwrap();
    for bundle in [jwt_only, x509_only, empty] {
        let token = sign(domain.wit_signer(), HEADER, &claims());
        let token = UnverifiedWitSvid::parse(&token).unwrap();
        let refused = token.verify(&bundle.build(), START);
        assert!(matches!(refused, Err(WitSvidError::UnknownKey(_))));
    }
}

#[test]
fn only_the_bundle_of_the_subjects_own_trust_domain_verifies() {
    let (ours, foreign) = (domain(), ScratchTrustDomain::new("other.example.org"));
    // The foreign authority signs a subject of ours: neither bundle takes it.
    let forged =
        || UnverifiedWitSvid::parse(&sign(foreign.wit_signer(), HEADER, &claims())).unwrap();
    assert!(
        matches!(forged().verify(&foreign.bundle(), START), Err(WitSvidError::OtherTrustDomain(td)) if td == *ours.trust_domain())
    );
    assert!(matches!(
        forged().verify(&ours.bundle(), START),
        Err(WitSvidError::Jws(JwsError::Signature))
    ));
}

#[test]
fn nothing_of_the_token_is_printed_but_who_and_until_when() {
    let svid = verify(&with("secret", json!("hush"))).unwrap();
    let printed = format!("{svid:?}");
    assert!(printed.contains("agent/a") && !printed.contains("hush"), "{printed}");
}
