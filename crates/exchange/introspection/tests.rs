use std::time::Duration;

use marque_intent::KillScope;
use marque_jose::{Signer as _, UnverifiedJws, VerifiedJws, base64url, sign_compact};
use marque_testkit::{START, ScratchSigner};
use proptest::prelude::*;

use super::*;
use crate::{
    Confirmation, OAuthErrorCode, Offers, Thumbprint,
    fixture::{AUDIENCE, ISSUER, Rig, SECOND_AUDIENCE},
};

async fn issued(rig: &Rig) -> String {
    rig.exchange(&rig.fields()).await.unwrap().access_token().expose_token().to_owned()
}

fn gateway(rig: &Rig) -> String {
    rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"))
}

#[tokio::test]
async fn a_resource_server_learns_what_the_token_permits() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let answer = rig.introspect(&gateway(&rig), &token).await.unwrap();
    assert_eq!(answer["active"], true);
    assert_eq!(answer["sub"], rig.agent.as_str());
    assert_eq!(answer["scope"], "secrets.update secrets.read");
    assert_eq!(answer["authorization_details"][1]["type"], "k8s_object");
    assert_eq!(answer["intent"]["id"], rig.intent.as_str());
    assert_eq!(answer["exp"], START.as_second() + 240);
}

#[tokio::test]
async fn oauth_11_3_a_client_may_ask_about_its_own_token() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    assert_eq!(rig.introspect(&rig.svid(), &token).await.unwrap()["active"], true);
}

#[tokio::test]
async fn cve_2026_37979_strangers_and_servers_of_another_audience_learn_nothing() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let stranger = rig.svid_of(&rig.own, &rig.own.id("/agent/stranger"));
    assert_eq!(rig.introspect(&stranger, &token).await.unwrap(), inactive());

    let rig = Rig::new();
    let narrowed = rig.exchange(&rig.fields().set("audience", SECOND_AUDIENCE)).await.unwrap();
    let answer =
        rig.introspect(&gateway(&rig), narrowed.access_token().expose_token()).await.unwrap();
    assert_eq!(
        answer,
        inactive(),
        "the gateway answers to {AUDIENCE}, which this token is not for"
    );
}

#[tokio::test]
async fn oauth_11_1_a_caller_must_be_authenticated() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let error = rig.introspect("x", &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidClient);
    let foreign =
        rig.svid_of(&rig.other_environment, &rig.other_environment.id("/service/k8s-gateway"));
    let error = rig.introspect(&foreign, &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::AccessDenied);
}

#[tokio::test]
async fn cve_2026_8922_every_end_makes_a_token_inactive() {
    type End = fn(&Rig);
    let ends: [(&str, End); 8] = [
        ("expired", |rig| rig.clock.advance(Duration::from_secs(240))),
        ("completed", Rig::complete),
        ("intent_revoked", Rig::revoke),
        ("token_revoked", |rig| {
            for record in rig.store.kept().tokens.values_mut() {
                record.revoked_at = Some(START);
            }
        }),
        ("token_used", |rig| {
            for record in rig.store.kept().tokens.values_mut() {
                record.used_at = Some(START);
            }
        }),
        ("agent_killed", |rig| rig.kill(KillScope::Agent(rig.agent.clone()))),
        ("playbook_killed", |rig| {
            rig.kill(KillScope::Playbook("ingress-cert-rotation".parse().unwrap()))
        }),
        ("all_killed", |rig| rig.kill(KillScope::All)),
    ];
    for (name, end) in ends {
        let rig = Rig::new();
        let token = issued(&rig).await;
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap()["active"], true, "{name}");
        end(&rig);
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive(), "{name}");
    }
}

#[tokio::test]
async fn a_killed_caller_learns_nothing() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.kill(KillScope::Agent(rig.own.id("/service/k8s-gateway")));
    assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive());
}

#[tokio::test]
async fn oauth_11_2_what_is_no_access_token_of_ours_is_inactive() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let mut claims = UnverifiedJws::parse(&token).unwrap().dangerous_unverified_claims().clone();
    let sign =
        |typ: Option<&str>, claims: &serde_json::Map<String, Value>, signer: &ScratchSigner| {
            sign_compact(typ, claims, signer).unwrap().expose_token().to_owned()
        };
    let imposter = ScratchSigner::generate(rig.signer.key_id().as_str());
    let unknown_key = ScratchSigner::generate("access-token-b-1");
    let none = format!(
        "{}.{}.",
        base64url::encode("{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"access-token-a-1\"}"),
        token.split('.').nth(1).unwrap()
    );
    let mut cases = vec![
        ("an_svid_as_a_bearer", rig.svid()),
        ("signed_by_another_key_of_the_same_name", sign(Some("at+jwt"), &claims, &imposter)),
        ("signed_by_an_unknown_key", sign(Some("at+jwt"), &claims, &unknown_key)),
        ("signed_by_the_svid_key", sign(Some("at+jwt"), &claims, rig.own.signer())),
        ("typ_missing", sign(None, &claims, &rig.signer)),
        ("typ_jwt", sign(Some("JWT"), &claims, &rig.signer)),
        ("alg_none", none),
        ("garbage", "x".to_owned()),
        ("dots", ".".repeat(10_000)),
        ("truncated", token.get(..token.len() - 4).unwrap().to_owned()),
    ];
    claims.insert("iss".to_owned(), format!("{ISSUER}/").into());
    cases.push(("other_issuer", sign(Some("at+jwt"), &claims, &rig.signer)));
    claims.insert("iss".to_owned(), ISSUER.into());
    claims.insert("jti".to_owned(), "tok_00000000000000000000000000000000".into());
    cases.push(("never_issued", sign(Some("at+jwt"), &claims, &rig.signer)));
    for (name, token) in cases {
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive(), "{name}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_not_an_answer() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.store.kept().down = true;
    let error = rig.introspect(&gateway(&rig), &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
}

/// Signs what the service would sign, with more members.
fn with_members(rig: &Rig, token: &str, members: &Value) -> String {
    let mut claims = UnverifiedJws::parse(token).unwrap().dangerous_unverified_claims().clone();
    claims.extend(members.as_object().unwrap().clone());
    sign_compact(Some("at+jwt"), &claims, &*rig.signer).unwrap().expose_token().to_owned()
}

#[tokio::test]
async fn oauth_11_4_an_answer_says_everything_that_the_token_says() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let members = json!({
        "act": {"sub": "spiffe://prod.example.org/agent/b", "iss": ISSUER},
        "may_act": {"sub": "spiffe://prod.example.org/agent/c", "iss": ISSUER},
        "cnf": {"x5t#S256": Thumbprint::new([7; 32]).to_string()},
        "session_id": "ses-1",
        "allowed_tools": ["k8s.patch"],
    });
    let token = with_members(&rig, &token, &members);
    let answer = rig.introspect(&gateway(&rig), &token).await.unwrap();
    let said = UnverifiedJws::parse(&token).unwrap().dangerous_unverified_claims().clone();
    for (name, value) in &said {
        assert_eq!(answer[name], *value, "{name}");
    }
    for name in ["act", "may_act", "cnf", "authorization_details", "intent", "status", "session_id"]
    {
        assert!(answer.get(name).is_some(), "{name}");
    }
    assert_eq!((&answer["active"], &answer["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!(answer.as_object().unwrap().len(), said.len() + 2);
}

#[tokio::test]
async fn oauth_11_4_a_token_that_is_bound_to_a_dpop_key_is_said_to_be() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let cnf = Confirmation::Jkt(Thumbprint::new([7; 32]));
    let token = with_members(&rig, &token, &json!({ "cnf": cnf }));
    let answer = rig.introspect(&gateway(&rig), &token).await.unwrap();
    assert_eq!(answer["token_type"], "DPoP");
    assert_eq!(answer["cnf"], json!(cnf));
}

#[tokio::test]
async fn oauth_11_2_a_token_of_another_kind_is_inactive() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    for kind in [TokenKind::TransactionToken, TokenKind::AuthorizationGrant] {
        rig.store.kept().tokens.values_mut().for_each(|token| token.kind = kind);
        assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive());
    }
}

#[tokio::test]
async fn oauth_11_the_hint_is_ignored_whatever_it_says() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    for hint in ["access_token", "refresh_token", "urn:x", "no such kind"] {
        let fields = crate::fixture::Fields::default()
            .authenticated(&gateway(&rig))
            .set("token", &token)
            .set("token_type_hint", hint);
        let request =
            IntrospectionRequest::parse(fields.encode().as_bytes(), &Presented::default()).unwrap();
        let answer = rig.service.introspect(request, Presented::default()).await.unwrap();
        let Introspection::Json(answer) = answer else { panic!("JSON") };
        assert_eq!(answer["active"], true, "{hint}");
    }
}

async fn signed_answer(rig: &Rig, caller: &str, token: &str) -> VerifiedJws {
    match rig.introspect_as_jwt(caller, token).await.unwrap() {
        Introspection::Jwt(jwt) => {
            UnverifiedJws::parse_within(jwt.expose_token(), MAX_ANSWER_BYTES)
                .unwrap()
                .verify(rig.signer.public_key(), rig.signer.public_key().algorithms())
                .unwrap()
        }
        Introspection::Json(answer) => panic!("{answer}"),
    }
}

#[tokio::test]
async fn oauth_11_5_a_signed_answer_is_for_its_caller_and_holds_what_json_would_say() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let json = rig.introspect(&gateway(&rig), &token).await.unwrap();
    let jws = signed_answer(&rig, &gateway(&rig), &token).await;
    assert_eq!(jws.header().typ(), Some("token-introspection+jwt"));
    let claims = jws.claims();
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], "spiffe://prod.example.org/service/k8s-gateway");
    assert_eq!(claims["iat"], START.as_second());
    assert_eq!(claims["token_introspection"], json);
    // RFC 9701 §5: so that nobody takes it for a token of the subject.
    assert_eq!(claims.len(), 4, "{claims:?}");
    let stranger = rig.svid_of(&rig.own, &rig.own.id("/agent/stranger"));
    let jws = signed_answer(&rig, &stranger, &token).await;
    assert_eq!(jws.claims()["token_introspection"], inactive());
    assert_eq!(jws.claims()["aud"], "spiffe://prod.example.org/agent/stranger");
}

#[tokio::test]
async fn oauth_11_5_a_signed_answer_is_no_token_anywhere() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let Introspection::Jwt(answer) = rig.introspect_as_jwt(&gateway(&rig), &token).await.unwrap()
    else {
        panic!("a JWT")
    };
    let answer = answer.expose_token();
    assert_eq!(rig.introspect(&gateway(&rig), answer).await.unwrap(), inactive());
    let error = rig.introspect(answer, &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidClient);
    let error = rig.exchange(&rig.fields().set("subject_token", answer)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidRequest);
}

#[tokio::test]
async fn oauth_11_5_a_signed_answer_is_not_given_where_it_is_not_offered() {
    let offers = Offers { jwt_introspection: false, ..Offers::ALL };
    let rig = Rig::with(|config| config.offers = offers, |_| {});
    let token = issued(&rig).await;
    match rig.introspect_as_jwt(&gateway(&rig), &token).await.unwrap() {
        Introspection::Json(answer) => assert_eq!(answer["active"], true),
        Introspection::Jwt(_) => panic!("a JWT that is not offered"),
    }
}

/// A rig whose one token may be used once.
async fn single_use() -> (Rig, String) {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.store.kept().tokens.values_mut().for_each(|record| record.single_use = true);
    (rig, token)
}

#[tokio::test]
async fn a_token_of_a_single_use_is_active_for_the_first_resource_server_that_asks() {
    let (rig, token) = single_use().await;
    let gateway = gateway(&rig);
    assert_eq!(rig.introspect(&gateway, &token).await.unwrap()["active"], true);
    assert_eq!(rig.introspect(&gateway, &token).await.unwrap(), inactive());
    assert_eq!(rig.introspect(&rig.svid(), &token).await.unwrap(), inactive());
    let kept = rig.store.kept();
    let used = kept.events.last().unwrap();
    assert_eq!(used.kind, marque_audit::EventKind::TokenUsed);
    assert_eq!(used.actor.as_deref(), Some("spiffe://prod.example.org/service/k8s-gateway"));
    assert_eq!(used.agent.as_ref(), Some(&rig.agent));
}

#[tokio::test]
async fn its_holder_and_strangers_do_not_use_up_a_token_of_a_single_use() {
    let (rig, token) = single_use().await;
    let stranger = rig.svid_of(&rig.own, &rig.own.id("/agent/stranger"));
    for _ in 0..2 {
        assert_eq!(rig.introspect(&rig.svid(), &token).await.unwrap()["active"], true);
        assert_eq!(rig.introspect(&stranger, &token).await.unwrap(), inactive());
    }
    assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap()["active"], true);
}

#[tokio::test]
async fn a_dead_token_of_a_single_use_is_not_used() {
    let (rig, token) = single_use().await;
    rig.complete();
    assert_eq!(rig.introspect(&gateway(&rig), &token).await.unwrap(), inactive());
    assert_eq!(rig.record().used_at, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_changed_byte_leaves_a_token_active(at in any::<proptest::sample::Index>(), to in proptest::char::range('!', '~')) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rig = Rig::new();
        let token = runtime.block_on(issued(&rig));
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = u8::try_from(to).unwrap();
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != token);
        prop_assert_eq!(runtime.block_on(rig.introspect(&gateway(&rig), &changed)).unwrap(), inactive());
    }
}
