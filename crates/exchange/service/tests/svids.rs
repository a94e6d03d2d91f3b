//! Clients and subjects by their SVIDs: which of them count, and which only look like one.

use std::time::Duration;

use marque_intent::DenialCode;
use marque_jose::{HolderKey, base64url, sign_compact};
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::{Value, json};

use crate::{
    OAuthErrorCode,
    fixture::{ISSUER, Rig},
};

#[tokio::test]
async fn oauth_4_2_client_id_may_be_absent_and_is_the_svids_own_otherwise() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
    for other in [
        "rotator",
        "spiffe://prod.example.org/agent/other",
        "spiffe://prod.example.org/agent/rotator/",
    ] {
        let error = rig.exchange(&rig.fields().set("client_id", other)).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidClient, "{other}");
    }
    let absent = rig.fields().without("client_id");
    for fields in [absent, rig.fields().set("client_id", rig.agent.as_str())] {
        rig.exchange(&fields).await.unwrap();
    }
}

#[tokio::test]
async fn wi_10_a_wit_svid_of_the_agent_is_no_client_assertion_and_no_subject_token() {
    let rig = Rig::new();
    let holder = HolderKey::generate().unwrap();
    let wit = rig.own.wit_svid(&rig.agent, &holder, START + Duration::from_secs(300));
    let wit = wit.expose_token();
    let error = rig.exchange(&rig.fields().set("client_assertion", wit)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidClient);
    let error = rig.exchange(&rig.fields().set("subject_token", wit)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
    assert!(rig.introspect(wit, "x").await.is_err());
    assert!(rig.store.kept().tokens.is_empty());
    rig.exchange(&rig.fields()).await.unwrap();
}

/// JWTs that look like an SVID of the agent and are not one, by the name of what is wrong.
fn forgeries(rig: &Rig) -> Vec<(&'static str, String)> {
    let later = START + Duration::from_secs(300);
    let own = &rig.own;
    let claims = |change: fn(&mut Value)| {
        let mut claims = json!({"sub": rig.agent, "aud": ISSUER, "iat": START.as_second(), "exp": later.as_second()});
        change(&mut claims);
        sign_compact(Some("JWT"), &claims, &**own.signer()).unwrap().expose_token().to_owned()
    };
    let typ = |typ| {
        let claims = json!({"sub": rig.agent, "aud": ISSUER, "exp": later.as_second()});
        sign_compact(Some(typ), &claims, &**own.signer()).unwrap().expose_token().to_owned()
    };
    let unsigned = |header: Value| {
        let payload = json!({"sub": rig.agent, "aud": ISSUER, "exp": later.as_second()});
        let signature = rig.svid().rsplit('.').next().unwrap().to_owned();
        format!(
            "{}.{}.{signature}",
            base64url::encode(header.to_string()),
            base64url::encode(payload.to_string())
        )
    };
    let with_header = |extra: Value| {
        let mut header = json!({"alg": "ES256", "kid": "scratch-jwt-1", "typ": "JWT"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        unsigned(header)
    };
    let alg = |name: &str| unsigned(json!({"alg": name, "kid": "scratch-jwt-1"}));
    let good = rig.svid();
    let tampered = good.replacen("ey", "ez", 2);
    vec![
        ("empty", " ".to_owned()),
        ("not_a_jwt", "x".to_owned()),
        ("alg_none", format!("{}.", alg("none").rsplit_once('.').unwrap().0)),
        ("alg_none_mixed_case", alg("NoNe")),
        ("alg_hs256", alg("HS256")),
        ("alg_rs256_for_an_ec_key", alg("RS256")),
        ("alg_empty", alg("")),
        ("kid_missing", unsigned(json!({"alg": "ES256"}))),
        ("kid_path", unsigned(json!({"alg": "ES256", "kid": "../../dev/null"}))),
        ("kid_sql", unsigned(json!({"alg": "ES256", "kid": "' or 1=1 --"}))),
        ("jku", with_header(json!({"jku": "https://evil.example.org/jwks"}))),
        ("jwk", with_header(json!({"jwk": {"kty": "EC"}}))),
        ("x5u", with_header(json!({"x5u": "https://evil.example.org/x5u"}))),
        ("crit", with_header(json!({"crit": ["x"]}))),
        ("b64_false", with_header(json!({"b64": false}))),
        ("typ_access_token", typ("at+jwt")),
        ("typ_dpop", typ("dpop+jwt")),
        ("tampered", tampered),
        ("signature_missing", format!("{}.", good.rsplit_once('.').unwrap().0)),
        ("trailing_newline", format!("{good}\n")),
        ("five_parts", format!("{good}.a.b")),
        ("ten_thousand_dots", ".".repeat(10_000)),
        ("json_serialisation", "{\"payload\":\"\",\"signatures\":[]}".to_owned()),
        (
            "wrong_key",
            ScratchTrustDomain::new("prod.example.org")
                .jwt_svid(&rig.agent, &[ISSUER], later)
                .expose_token()
                .to_owned(),
        ),
        ("our_id_signed_by_a_federated_key", rig.svid_of(&rig.federated, &rig.agent)),
        ("our_id_signed_by_the_other_environment", rig.svid_of(&rig.other_environment, &rig.agent)),
        ("federated_id_signed_by_our_key", rig.svid_of(own, &rig.federated.id("/agent/rotator"))),
        (
            "unknown_trust_domain",
            rig.svid_of(own, &"spiffe://nowhere.example.org/agent/rotator".parse().unwrap()),
        ),
        (
            "undeclared_environment",
            rig.svid_of(&rig.undeclared, &rig.undeclared.id("/agent/rotator")),
        ),
        ("expired", own.jwt_svid(&rig.agent, &[ISSUER], START).expose_token().to_owned()),
        (
            "lives_too_long",
            own.jwt_svid(&rig.agent, &[ISSUER], START + Duration::from_secs(3611))
                .expose_token()
                .to_owned(),
        ),
        (
            "aud_token_endpoint",
            own.jwt_svid(&rig.agent, &[&format!("{ISSUER}/oauth2/token")], later)
                .expose_token()
                .to_owned(),
        ),
        (
            "aud_trailing_slash",
            own.jwt_svid(&rig.agent, &[&format!("{ISSUER}/")], later).expose_token().to_owned(),
        ),
        (
            "aud_prefix",
            own.jwt_svid(&rig.agent, &["https://issuer.prod.example.org"], later)
                .expose_token()
                .to_owned(),
        ),
        (
            "aud_case",
            own.jwt_svid(&rig.agent, &[&ISSUER.to_uppercase()], later).expose_token().to_owned(),
        ),
        (
            "aud_other",
            own.jwt_svid(&rig.agent, &["https://dev.example.org"], later).expose_token().to_owned(),
        ),
        ("aud_missing", claims(|claims| drop(claims.as_object_mut().unwrap().remove("aud")))),
        ("aud_empty_array", claims(|claims| claims["aud"] = json!([]))),
        ("exp_missing", claims(|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
        ("exp_string", claims(|claims| claims["exp"] = json!("9999999999"))),
        ("exp_float", claims(|claims| claims["exp"] = json!(1_893_456_300.5))),
        ("exp_negative", claims(|claims| claims["exp"] = json!(-1))),
        ("nbf_in_the_future", claims(|claims| claims["nbf"] = json!(1_893_456_100))),
        ("nbf_null", claims(|claims| claims["nbf"] = Value::Null)),
        ("iat_in_the_future", claims(|claims| claims["iat"] = json!(1_893_456_061))),
        ("sub_not_a_spiffe_id", claims(|claims| claims["sub"] = json!("rotator"))),
        (
            "sub_trailing_slash",
            claims(|claims| claims["sub"] = json!("spiffe://prod.example.org/agent/rotator/")),
        ),
        (
            "sub_percent_encoded",
            claims(|claims| claims["sub"] = json!("spiffe://prod.example.org/agent/%72otator")),
        ),
        (
            "sub_upper_case_trust_domain",
            claims(|claims| claims["sub"] = json!("spiffe://PROD.example.org/agent/rotator")),
        ),
        ("sub_without_path", claims(|claims| claims["sub"] = json!("spiffe://prod.example.org"))),
        ("sub_missing", claims(|claims| drop(claims.as_object_mut().unwrap().remove("sub")))),
    ]
}

#[tokio::test]
async fn oauth_4_1_no_forged_jwt_svid_authenticates_a_client() {
    let rig = Rig::new();
    for (name, forged) in forgeries(&rig) {
        let error = rig.exchange(&rig.fields().authenticated(&forged)).await.expect_err(name);
        assert_eq!((error.code(), error.denial()), (OAuthErrorCode::InvalidClient, None), "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
    rig.exchange(&rig.fields()).await.unwrap();
}

#[tokio::test]
async fn oauth_2_7_no_forged_svid_is_a_subject() {
    let rig = Rig::new();
    for (name, forged) in forgeries(&rig) {
        let error =
            rig.exchange(&rig.fields().set("subject_token", &forged)).await.expect_err(name);
        assert_eq!(
            (error.code(), error.denial()),
            (OAuthErrorCode::InvalidRequest, None),
            "{name}"
        );
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_3_1_an_assertion_is_for_the_issuer_alone_and_a_subject_may_be_for_others_too() {
    let rig = Rig::new();
    let later = START + Duration::from_secs(300);
    let two = rig
        .own
        .jwt_svid(&rig.agent, &[ISSUER, "https://gw.prod.example.org"], later)
        .expose_token()
        .to_owned();
    let error = rig.exchange(&rig.fields().authenticated(&two)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidClient);
    rig.exchange(&rig.fields().set("subject_token", &two)).await.unwrap();
}

#[tokio::test]
async fn oauth_3_4_the_longest_assertion_that_is_allowed_passes() {
    let rig = Rig::new();
    let svid = rig
        .own
        .jwt_svid(&rig.agent, &[ISSUER], START + Duration::from_secs(3610))
        .expose_token()
        .to_owned();
    rig.exchange(&rig.fields().authenticated(&svid)).await.unwrap();
}

#[tokio::test]
async fn the_other_environment_is_refused_even_when_it_is_federated_by_hand() {
    let rig = Rig::new();
    let foreign = rig.svid_of(&rig.other_environment, &rig.other_environment.id("/agent/rotator"));
    for fields in
        [rig.fields().authenticated(&foreign), rig.fields().set("subject_token", &foreign)]
    {
        let error = rig.exchange(&fields).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::AccessDenied);
        assert_eq!(error.denial(), Some(DenialCode::EnvironmentBoundary));
    }
}

#[tokio::test]
async fn a_federated_client_is_a_stranger_to_every_intent_here() {
    let rig = Rig::new();
    let federated = rig.svid_of(&rig.federated, &rig.federated.id("/agent/rotator"));
    let fields = rig.fields().authenticated(&federated).set("subject_token", &federated);
    let error = rig.exchange(&fields).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::GrantNotBoundToSession));
}

#[tokio::test]
async fn oauth_2_11_another_agents_svid_is_no_subject() {
    let rig = Rig::new();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let error = rig.exchange(&rig.fields().set("subject_token", &other)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
}
