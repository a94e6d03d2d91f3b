use std::{collections::BTreeSet, time::Duration};

use marque_audit::EventKind;
use marque_intent::{DenialCode, KillScope};
use marque_jose::{HolderKey, UnverifiedJws, VerifiedJws, base64url, sign_compact};
use marque_testkit::{START, ScratchSigner, ScratchTrustDomain};

use serde_json::{Value, json};

use super::*;
use crate::TOKEN_TYPE_ACCESS_TOKEN;
use crate::fixture::{AUDIENCE, Fields, ISSUER, Rig, SECOND_AUDIENCE, approved, open, terms};

fn verified(rig: &Rig, response: &TokenResponse) -> VerifiedJws {
    let jws = UnverifiedJws::parse(response.access_token().expose_token()).unwrap();
    jws.verify(rig.signer.public_key(), rig.signer.public_key().algorithms()).unwrap()
}

#[tokio::test]
async fn an_svid_and_an_approved_intent_become_a_token() {
    let rig = Rig::new();
    let response = rig.exchange(&rig.fields()).await.unwrap();
    let answer = response.expose_json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["issued_token_type"], TOKEN_TYPE_ACCESS_TOKEN);
    assert_eq!(answer["expires_in"], 240);
    assert_eq!(answer["scope"], "secrets.update secrets.read");
    assert_eq!(answer["authorization_details"][0]["type"], "marque_intent");
    assert_eq!(answer["authorization_details"][0]["intent_id"], rig.intent.as_str());
    assert_eq!(answer["authorization_details"][1]["identifier"], "ns/ingress/secret/web-tls");
    assert!(answer.get("refresh_token").is_none());

    let token = verified(&rig, &response);
    assert_eq!(token.header().typ(), Some("at+jwt"));
    let claims = token.claims();
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], rig.agent.as_str());
    assert_eq!(claims["client_id"], rig.agent.as_str());
    assert_eq!(claims["aud"], json!([AUDIENCE, SECOND_AUDIENCE]));
    assert_eq!(claims["iat"], START.as_second());
    assert_eq!(claims["exp"], START.as_second() + 240);
    assert_eq!(claims["scope"], answer["scope"]);
    assert_eq!(claims["authorization_details"], answer["authorization_details"]);
    let kept = rig.store.kept();
    let grant = kept.intents[&rig.intent].grant();
    let intent = json!({"id": rig.intent, "digest": grant.digest(), "playbook": "ingress-cert-rotation", "version": 7});
    assert_eq!(claims["intent"], intent);
    let (id, record) = kept.tokens.first_key_value().unwrap();
    assert_eq!(claims["jti"], id.as_str());
    assert_eq!((&record.client, record.expires_at), (&rig.agent, START + Duration::from_secs(240)));
    assert_eq!(kept.events.len(), 1);
    assert_eq!(kept.events[0].kind, EventKind::TokenIssued);
}

#[tokio::test]
async fn one_audience_is_written_as_a_string() {
    let rig = Rig::new();
    let response = rig.exchange(&rig.fields().set("audience", AUDIENCE)).await.unwrap();
    assert_eq!(verified(&rig, &response).claims()["aud"], AUDIENCE);
    assert_eq!(rig.store.kept().tokens.values().next().unwrap().audiences, [AUDIENCE]);
}

#[tokio::test]
async fn one_use_gives_one_token() {
    let rig = Rig::new();
    rig.exchange(&rig.fields()).await.unwrap();
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.denial()),
        (OAuthErrorCode::AccessDenied, Some(DenialCode::GrantConsumed))
    );
    assert_eq!(rig.store.kept().tokens.len(), 1);
    assert_eq!(rig.codes(), [None, Some("grant_consumed".to_owned())]);
}

#[tokio::test]
async fn the_same_svid_may_be_used_again_for_another_use() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
    let fields = rig.fields();
    let one = rig.exchange(&fields).await.unwrap();
    let two = rig.exchange(&fields).await.unwrap();
    assert_ne!(verified(&rig, &one).claims()["jti"], verified(&rig, &two).claims()["jti"]);
}

#[tokio::test]
async fn a_client_id_must_be_the_svids_own() {
    let rig = Rig::new();
    for other in [
        "rotator",
        "spiffe://prod.example.org/agent/other",
        "spiffe://prod.example.org/agent/rotator/",
    ] {
        let error = rig.exchange(&rig.fields().set("client_id", other)).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidClient, "{other}");
    }
    rig.exchange(&rig.fields().set("client_id", rig.agent.as_str())).await.unwrap();
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
async fn no_forged_svid_authenticates_a_client() {
    let rig = Rig::new();
    for (name, forged) in forgeries(&rig) {
        let error = rig.exchange(&rig.fields().authenticated(&forged)).await.expect_err(name);
        assert_eq!((error.code(), error.denial()), (OAuthErrorCode::InvalidClient, None), "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
    rig.exchange(&rig.fields()).await.unwrap();
}

#[tokio::test]
async fn no_forged_svid_is_a_subject() {
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
async fn an_assertion_is_for_the_issuer_alone_and_a_subject_may_be_for_others_too() {
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
async fn the_longest_assertion_that_is_allowed_passes() {
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
async fn another_agents_svid_is_no_subject() {
    let rig = Rig::new();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let error = rig.exchange(&rig.fields().set("subject_token", &other)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_stranger_reads_the_same_about_foreign_consumed_and_unknown_intents() {
    let rig = Rig::new();
    let stranger = rig.svid_of(&rig.own, &rig.own.id("/agent/stranger"));
    let as_stranger =
        |fields: Fields| fields.authenticated(&stranger).set("subject_token", &stranger);
    let foreign = rig.exchange(&as_stranger(rig.fields())).await.unwrap_err();
    rig.exchange(&rig.fields()).await.unwrap();
    let consumed = rig.exchange(&as_stranger(rig.fields())).await.unwrap_err();
    let unknown_id = "int_00000000000000000000000099".parse().unwrap();
    let unknown = rig.exchange(&as_stranger(rig.fields().intent(&unknown_id))).await.unwrap_err();
    assert_eq!(foreign.to_json(), consumed.to_json());
    assert_eq!(foreign.to_json(), unknown.to_json());
    assert_eq!(foreign.denial(), Some(DenialCode::GrantNotBoundToSession));
    let refused = Some("grant_not_bound_to_session".to_owned());
    assert_eq!(rig.codes(), [refused.clone(), None, refused.clone(), refused]);
}

#[tokio::test]
async fn a_refusal_about_an_intent_is_in_the_log_with_what_operators_need() {
    let rig = Rig::new();
    let error = rig.exchange(&rig.fields().set("scope", "admin")).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidScope);
    let kept = rig.store.kept();
    let event = &kept.events[0];
    assert_eq!(event.kind, EventKind::TokenRefused);
    assert_eq!(event.agent.as_ref(), Some(&rig.agent));
    assert_eq!(event.intent.as_deref(), Some(rig.intent.as_str()));
    assert_eq!(event.code.as_deref(), Some("exceeds_playbook_ceiling"));
    assert_eq!(event.playbook.as_ref().map(|playbook| playbook.version), Some(7));
}

#[tokio::test]
async fn nothing_is_answered_about_an_intent_that_could_not_be_recorded() {
    let rig = Rig::new();
    rig.store.kept().log_down = true;
    let error = rig.exchange(&rig.fields().set("scope", "admin")).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
    assert_eq!((error.denial(), error.http_status()), (Some(DenialCode::AuditUnavailable), 503));
}

#[tokio::test]
async fn no_token_is_issued_while_the_store_is_down() {
    let rig = Rig::new();
    rig.store.kept().down = true;
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
}

#[tokio::test]
async fn a_kill_between_decision_and_redemption_still_stops_the_token() {
    let rig = Rig::new();
    rig.store.kept().late_kill = Some(KillScope::Agent(rig.agent.clone()));
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::KillSwitchAgent));
    assert!(rig.store.kept().tokens.is_empty());
    assert_eq!(rig.codes(), [Some("kill_switch_agent".to_owned())]);
}

#[tokio::test]
async fn a_kill_while_the_use_is_written_leaves_no_token() {
    let rig = Rig::new();
    rig.store.kept().later_kill = Some(KillScope::Agent(rig.agent.clone()));
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::KillSwitchAgent));
    assert_eq!(rig.codes(), [None, Some("kill_switch_agent".to_owned())]);
}

#[tokio::test]
async fn a_pending_intent_says_that_it_waits() {
    let rig = Rig::new();
    let mut terms = terms(&rig.agent, 0);
    let approve = std::num::NonZeroU32::MIN;
    terms.approval = Some(marque_intent::ApprovalRule { approve, groups: BTreeSet::new() });
    let grant = marque_intent::Grant::seal(terms).unwrap();
    rig.put(open(grant, marque_intent::Ruling::AskApproval { rules: vec![] }));
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.denial()),
        (OAuthErrorCode::AccessDenied, Some(DenialCode::ApprovalPending))
    );
    let body = error.to_json();
    assert_eq!(body["retry"], json!({"allowed": true, "after_s": 5}));
}

#[tokio::test]
async fn another_agents_intent_gives_no_token_though_it_is_approved() {
    let rig = Rig::new();
    let foreign = open(
        marque_intent::Grant::seal(terms(&rig.own.id("/agent/other"), 5)).unwrap(),
        approved(),
    );
    let id = foreign.id().clone();
    rig.put(foreign);
    let error = rig.exchange(&rig.fields().intent(&id)).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::GrantNotBoundToSession));
}

#[tokio::test]
async fn the_keys_and_documents_name_what_is_there() {
    let rig = Rig::new();
    let metadata = rig.service.metadata();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["token_endpoint"], format!("{ISSUER}/oauth2/token"));
    let openid = rig.service.openid_configuration();
    assert_eq!(
        (&openid["issuer"], &openid["jwks_uri"]),
        (&metadata["issuer"], &metadata["jwks_uri"])
    );
    let jwks = rig.service.jwks();
    assert_eq!(jwks["keys"][0]["use"], "sig");
    assert_eq!(jwks["keys"][0]["kid"], "access-token-a-1");
    assert!(jwks["keys"][0].get("d").is_none());
}

#[tokio::test]
async fn a_token_response_prints_no_token() {
    let rig = Rig::new();
    let response = rig.exchange(&rig.fields()).await.unwrap();
    assert!(!format!("{response:?}").contains(response.access_token().expose_token()));
}

#[test]
fn a_scratch_signer_is_not_the_services() {
    // Guards the forgeries above: two signers of one name do not share a key.
    let (one, two) = (ScratchSigner::generate("a"), ScratchSigner::generate("a"));
    assert_ne!(one.public_key(), two.public_key());
}
