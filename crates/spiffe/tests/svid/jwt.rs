use std::time::Duration;

use jiff::Timestamp;
use marque_jose::{JwsError, Signer as _, base64url};
use marque_spiffe::{Bundle, JwtSvid, JwtSvidError, SpiffeIdError, UnverifiedJwtSvid};
use marque_testkit::{START, ScratchSigner, ScratchTrustDomain};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://api.example.org";
const HEADER: &str = r#"{"alg":"ES256","kid":"scratch-jwt-1","typ":"JWT"}"#;

fn domain() -> ScratchTrustDomain {
    ScratchTrustDomain::new("example.org")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START.as_second() + seconds).unwrap()
}

fn claims() -> Value {
    let (iat, exp) = (START.as_second(), at(300).as_second());
    json!({ "sub": "spiffe://example.org/agent/a", "aud": [AUDIENCE], "iat": iat, "exp": exp })
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

/// Signs whatever header and claims a test wants.
fn sign(signer: &ScratchSigner, header: &str, claims: &str) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(claims));
    let signature = signer.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

fn verify_at(claims: &Value, now: Timestamp) -> Result<JwtSvid, JwtSvidError> {
    let domain = domain();
    let token = sign(domain.signer(), HEADER, &claims.to_string());
    UnverifiedJwtSvid::parse(&token)?.verify(&domain.bundle(), AUDIENCE, now)
}

fn verify(claims: &Value) -> Result<JwtSvid, JwtSvidError> {
    verify_at(claims, START)
}

fn parse_header(header: &str) -> Result<UnverifiedJwtSvid, JwtSvidError> {
    UnverifiedJwtSvid::parse(&sign(domain().signer(), header, &claims().to_string()))
}

#[test]
fn a_correct_token_verifies_with_all_its_claims() {
    let svid = verify(&with("extra", json!({ "a": 1 }))).unwrap();
    assert_eq!(svid.id().as_str(), "spiffe://example.org/agent/a");
    assert_eq!((svid.expires_at(), svid.issued_at()), (at(300), Some(START)));
    assert_eq!(svid.audiences().sole(), Some(AUDIENCE));
    assert_eq!(svid.claims()["extra"]["a"], 1);
}

#[test]
fn jw_10_claims_of_any_other_name_and_type_are_allowed() {
    for value in [json!(null), json!(1), json!("a"), json!([{}]), json!({ "b": [1.5, true] })] {
        let svid = verify(&with("https://example.org/claim", value.clone())).unwrap();
        assert_eq!(svid.claims()["https://example.org/claim"], value);
    }
    verify(&with("jti", json!("one"))).unwrap();
    verify(&without("iat")).unwrap();
}

#[test]
fn jw_1_json_serialisation_and_other_shapes_are_refused() {
    let token = sign(domain().signer(), HEADER, &claims().to_string());
    let parts: Vec<_> = token.split('.').collect();
    let json =
        json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    for token in
        [json, format!("{token}."), format!("{token}.{token}"), format!("{token}\n"), String::new()]
    {
        assert!(matches!(UnverifiedJwtSvid::parse(&token), Err(JwtSvidError::Jws(_))), "{token}");
    }
}

#[test]
fn jw_2_a_header_has_alg_kid_and_typ_alone() {
    for member in [r#""cty":"JWT""#, r#""x5t":"AA""#, r#""iss":"x""#, r#""KID":"x""#] {
        let header = format!(r#"{{"alg":"ES256","kid":"scratch-jwt-1",{member}}}"#);
        assert!(matches!(parse_header(&header), Err(JwtSvidError::HeaderMember)), "{member}");
    }
    for member in [
        r#""jku":"https://example.org""#,
        r#""jwk":{}"#,
        r#""x5c":[]"#,
        r#""crit":["exp"]"#,
        r#""b64":true"#,
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"scratch-jwt-1",{member}}}"#);
        assert!(
            matches!(parse_header(&header), Err(JwtSvidError::Jws(JwsError::ForbiddenMember(_)))),
            "{member}"
        );
    }
}

#[test]
fn jw_3_none_hmac_and_eddsa_are_refused() {
    for algorithm in ["none", "NoNe", "", "HS256", "EdDSA", "ES512"] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"scratch-jwt-1"}}"#);
        assert!(
            matches!(parse_header(&header), Err(JwtSvidError::Jws(JwsError::Algorithm(_)))),
            "{algorithm}"
        );
    }
    let domain = domain();
    for algorithm in ["RS256", "PS256", "ES384"] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"scratch-jwt-1"}}"#);
        let token =
            UnverifiedJwtSvid::parse(&sign(domain.signer(), &header, &claims().to_string()))
                .unwrap();
        let error = token.verify(&domain.bundle(), AUDIENCE, START).unwrap_err();
        assert!(
            matches!(error, JwtSvidError::Jws(JwsError::AlgorithmNotAllowed(_))),
            "{algorithm}"
        );
    }
}

#[test]
fn jw_4_a_key_id_is_demanded() {
    assert!(matches!(parse_header(r#"{"alg":"ES256","typ":"JWT"}"#), Err(JwtSvidError::NoKeyId)));
}

#[test]
fn jw_5_the_type_is_jwt_or_jose_if_it_is_there() {
    for typ in ["at+jwt", "wit+jwt", "jwt", "Jwt", "application/jwt", "", "JWT "] {
        let header = format!(r#"{{"alg":"ES256","kid":"scratch-jwt-1","typ":"{typ}"}}"#);
        assert!(matches!(parse_header(&header), Err(JwtSvidError::Type)), "{typ}");
    }
    for member in ["", r#","typ":"JWT""#, r#","typ":"JOSE""#] {
        assert!(
            parse_header(&format!(r#"{{"alg":"ES256","kid":"scratch-jwt-1"{member}}}"#)).is_ok(),
            "{member}"
        );
    }
}

#[test]
fn jw_6_the_subject_is_the_spiffe_id_of_a_workload() {
    assert!(matches!(verify(&without("sub")), Err(JwtSvidError::NoSubject)));
    for wrong in [json!(null), json!(1), json!(["spiffe://example.org/agent/a"])] {
        assert!(
            matches!(verify(&with("sub", wrong.clone())), Err(JwtSvidError::NoSubject)),
            "{wrong}"
        );
    }
    for (wrong, rule) in [
        ("agent", SpiffeIdError::Scheme),
        ("", SpiffeIdError::Scheme),
        ("https://example.org/agent/a", SpiffeIdError::Scheme),
        ("SPIFFE://example.org/agent/a", SpiffeIdError::SchemeCase),
        ("spiffe://example.org/agent/../a", SpiffeIdError::DotSegment),
        ("spiffe://example.org/agent/a/", SpiffeIdError::TrailingSlash),
    ] {
        let error = verify(&with("sub", json!(wrong))).unwrap_err();
        assert!(
            matches!(error, JwtSvidError::Subject(found) if found == rule),
            "{wrong}: {error:?}"
        );
    }
    assert!(matches!(
        verify(&with("sub", json!("spiffe://example.org"))),
        Err(JwtSvidError::SubjectWithoutPath)
    ));
}

#[test]
fn jw_7_an_audience_is_demanded_and_must_be_ours_to_the_byte() {
    assert!(matches!(verify(&without("aud")), Err(JwtSvidError::NoAudience)));
    assert!(matches!(verify(&with("aud", json!([]))), Err(JwtSvidError::NoAudience)));
    for mistyped in [
        json!(null),
        json!(1),
        json!(""),
        json!([""]),
        json!([AUDIENCE, 1]),
        json!({}),
        json!([[AUDIENCE]]),
    ] {
        assert!(
            matches!(verify(&with("aud", mistyped.clone())), Err(JwtSvidError::Claims(_))),
            "{mistyped}"
        );
    }
    for wrong in [
        "https://api.example.org/",
        "https://api.example.or",
        "https://API.example.org",
        "https://api.example.org.example.net",
        " https://api.example.org",
        "https://api.example.org https://other.example.org",
    ] {
        assert!(
            matches!(verify(&with("aud", json!(wrong))), Err(JwtSvidError::Audience)),
            "{wrong}"
        );
        assert!(
            matches!(verify(&with("aud", json!([wrong, "x"]))), Err(JwtSvidError::Audience)),
            "{wrong}"
        );
    }
    for right in [json!(AUDIENCE), json!([AUDIENCE]), json!(["x", AUDIENCE])] {
        assert!(verify(&with("aud", right)).is_ok());
    }
}

#[test]
fn jw_7_a_sole_audience_shares_the_token_with_nobody() {
    let domain = domain();
    let check = |audiences: &[&str]| {
        let token = domain.jwt_svid(&domain.id("/agent/a"), audiences, at(300));
        let token = UnverifiedJwtSvid::parse(token.expose_token()).unwrap();
        token.verify_sole_audience(&domain.bundle(), AUDIENCE, START)
    };
    assert!(check(&[AUDIENCE]).is_ok());
    for wrong in [&[AUDIENCE, "x"][..], &["x", AUDIENCE], &["x"], &[AUDIENCE, AUDIENCE]] {
        assert!(matches!(check(wrong), Err(JwtSvidError::Audience)), "{wrong:?}");
    }
}

#[test]
fn jw_8_an_expiry_is_demanded_and_ends_without_leeway() {
    assert!(matches!(verify(&without("exp")), Err(JwtSvidError::NoExpiry)));
    assert!(verify_at(&claims(), at(299)).is_ok());
    assert!(
        matches!(verify_at(&claims(), at(300)), Err(JwtSvidError::Expired(end)) if end == at(300))
    );
    assert!(matches!(verify_at(&claims(), at(301)), Err(JwtSvidError::Expired(_))));
}

#[test]
fn a_mistyped_claim_is_an_error_and_never_absent() {
    let now = START.as_second();
    for member in ["exp", "nbf", "iat"] {
        let dates = [
            json!(null),
            json!(now.to_string()),
            json!(now as f64),
            json!(-1),
            json!([now]),
            json!(true),
            json!({}),
            json!(u64::MAX),
            json!(1e300),
        ];
        for mistyped in dates {
            let error = verify(&with(member, mistyped.clone())).unwrap_err();
            assert!(matches!(error, JwtSvidError::Claims(_)), "{member} {mistyped}: {error:?}");
        }
    }
    for member in ["iss", "jti"] {
        for mistyped in [json!(null), json!(1), json!(["x"])] {
            assert!(
                matches!(verify(&with(member, mistyped)), Err(JwtSvidError::Claims(_))),
                "{member}"
            );
        }
    }
}

#[test]
fn an_exp_of_1e400_and_a_duplicate_claim_are_refused() {
    let good = claims().to_string();
    for (from, to) in [
        (format!("\"exp\":{}", at(300).as_second()), "\"exp\":1e400".to_owned()),
        ("\"exp\":".to_owned(), "\"exp\":1,\"exp\":".to_owned()),
        ("\"sub\":".to_owned(), "\"sub\":\"spiffe://example.org/admin\",\"sub\":".to_owned()),
    ] {
        let changed = good.replace(&from, &to);
        assert_ne!(changed, good);
        let error =
            UnverifiedJwtSvid::parse(&sign(domain().signer(), HEADER, &changed)).unwrap_err();
        assert!(matches!(error, JwtSvidError::Jws(JwsError::ClaimsJson(_))), "{to}: {error:?}");
    }
}

#[test]
fn a_token_is_not_used_before_its_time() {
    assert!(verify(&with("nbf", json!(START.as_second()))).is_ok());
    let early = with("nbf", json!(at(1).as_second()));
    assert!(matches!(verify(&early), Err(JwtSvidError::NotYetValid(start)) if start == at(1)));
}

#[test]
fn a_token_issued_more_than_a_minute_ahead_is_refused() {
    assert!(verify(&with("iat", json!(at(60).as_second()))).is_ok());
    let ahead = with("iat", json!(at(61).as_second()));
    assert!(matches!(verify(&ahead), Err(JwtSvidError::IssuedInTheFuture(_))));
    assert!(verify(&with("iat", json!(0))).is_ok());
    assert!(verify(&without("iat")).unwrap().issued_at().is_none());
}

#[test]
fn jw_9_keys_of_another_use_do_not_verify() {
    let domain = domain();
    let (kid, key) = (domain.signer().key_id().clone(), domain.signer().public_key().clone());
    let wit_only =
        Bundle::builder(domain.trust_domain().clone()).wit_authority(kid, key).unwrap().build();
    let x509_only = Bundle::builder(domain.trust_domain().clone())
        .x509_authority(domain.root().certificate().clone())
        .unwrap()
        .build();
    for bundle in [wit_only, x509_only, Bundle::builder(domain.trust_domain().clone()).build()] {
        let token = domain.jwt_svid(&domain.id("/agent/a"), &[AUDIENCE], at(300));
        let token = UnverifiedJwtSvid::parse(token.expose_token()).unwrap();
        assert!(matches!(token.verify(&bundle, AUDIENCE, START), Err(JwtSvidError::UnknownKey(_))));
    }
}

#[test]
fn a_key_id_that_is_not_in_the_bundle_is_refused() {
    for kid in ["../../dev/null", "' OR 1=1 --", "scratch-jwt-2", "SCRATCH-JWT-1"] {
        let domain = domain();
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        let token =
            UnverifiedJwtSvid::parse(&sign(domain.signer(), &header, &claims().to_string()))
                .unwrap();
        assert!(
            matches!(
                token.verify(&domain.bundle(), AUDIENCE, START),
                Err(JwtSvidError::UnknownKey(_))
            ),
            "{kid}"
        );
    }
}

#[test]
fn only_the_bundle_of_the_subjects_own_trust_domain_verifies() {
    let (ours, foreign) = (domain(), ScratchTrustDomain::new("other.example.org"));
    // The foreign authority signs a subject of ours: neither bundle takes it.
    let forged = || {
        UnverifiedJwtSvid::parse(&sign(foreign.signer(), HEADER, &claims().to_string())).unwrap()
    };
    assert!(
        matches!(forged().verify(&foreign.bundle(), AUDIENCE, START), Err(JwtSvidError::OtherTrustDomain(td)) if td == *ours.trust_domain())
    );
    assert!(matches!(
        forged().verify(&ours.bundle(), AUDIENCE, START),
        Err(JwtSvidError::Jws(JwsError::Signature))
    ));
}

#[test]
fn an_expired_token_with_a_bad_signature_is_refused_for_its_signature() {
    let impostor = ScratchSigner::generate("scratch-jwt-1");
    let token = UnverifiedJwtSvid::parse(&sign(&impostor, HEADER, &claims().to_string())).unwrap();
    let later = START.checked_add(Duration::from_secs(900)).unwrap();
    assert!(matches!(
        token.verify(&domain().bundle(), "x", later),
        Err(JwtSvidError::Jws(JwsError::Signature))
    ));
}

#[test]
fn nothing_of_the_token_is_printed_but_who_and_until_when() {
    let svid = verify(&with("secret", json!("hush"))).unwrap();
    let printed = format!("{svid:?}");
    assert!(printed.contains("agent/a") && !printed.contains("hush"), "{printed}");
}
