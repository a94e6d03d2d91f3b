//! A person's ID token at the token endpoint: never without the agent's own SVID (M 8, M 10).

use std::sync::Arc;

use marque_intent::{DenialCode, OnBehalf};
use marque_testkit::START;
use serde_json::{Value, json};

use super::*;
use crate::{
    TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_TOKEN, TOKEN_TYPE_JWT,
    fixture::{Fields, ISSUER, LOGIN, Login, Rig},
};

/// The fields of an exchange for Alice that succeeds.
fn for_alice(rig: &Rig) -> Fields {
    with_token(rig, &rig.login.sign(&Login::alice()))
}

fn with_token(rig: &Rig, token: &str) -> Fields {
    rig.fields().set("subject_token", token).set("subject_token_type", TOKEN_TYPE_ID_TOKEN)
}

async fn claims(rig: &Rig, fields: &Fields) -> Value {
    payload(rig.exchange(fields).await.unwrap().access_token().expose_token())
}

fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&marque_jose::base64url::decode(payload).unwrap()).unwrap()
}

async fn refusal(rig: &Rig, fields: &Fields) -> OAuthErrorCode {
    rig.exchange(fields).await.unwrap_err().code()
}

#[tokio::test]
async fn m_8_a_persons_token_and_the_agents_svid_give_a_token_for_the_person() {
    let rig = Rig::new();
    let claims = claims(&rig, &for_alice(&rig)).await;
    assert_eq!(claims["sub"], "corp:alice");
    assert_eq!(claims["delegator_id"], "corp:alice");
    assert_eq!(claims["client_id"], rig.agent.as_str());
    assert_eq!(claims["act"], json!({"sub": rig.agent.as_str(), "iss": ISSUER}));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 120, "never longer than the person's own token");
    assert!(!claims.to_string().contains("sre"), "what else the ID token says stays here");
}

#[tokio::test]
async fn oauth_9_3_how_the_person_logged_in_goes_along_with_every_token() {
    let rig = Rig::new();
    let mut alice = Login::alice();
    let login = [
        ("auth_time", json!(START.as_second() - 60)),
        ("acr", json!("urn:example:two-factors")),
        ("amr", json!(["pwd", "otp"])),
    ];
    for (name, value) in &login {
        alice[*name] = value.clone();
    }
    let fields = for_alice(&rig).set("subject_token", &rig.login.sign(&alice));
    let token = rig.exchange(&fields).await.unwrap();
    let token = token.access_token().expose_token().to_owned();
    // And with one that comes of it.
    let derived = rig
        .fields()
        .set("subject_token", &token)
        .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
        .set("scope", "secrets.read")
        .without("authorization_details");
    for claims in [payload(&token), claims(&rig, &derived).await] {
        for (name, value) in &login {
            assert_eq!(&claims[*name], value, "{claims}");
        }
    }
    // Where nobody logged in, or nothing is said of it, there is none of them.
    for (rig, fields) in [(Rig::new(), None), (Rig::new(), Some(()))] {
        let fields = fields.map_or_else(|| rig.fields(), |()| for_alice(&rig));
        let claims = claims(&rig, &fields).await;
        assert!(login.iter().all(|(name, _)| claims.get(*name).is_none()), "{claims}");
    }
}

#[tokio::test]
async fn m_8_the_client_may_name_itself_as_the_actor_and_nobody_else() {
    let rig = Rig::new();
    let fields = with_actor_of(&rig, &rig.svid(), TOKEN_TYPE_JWT);
    assert_eq!(claims(&rig, &fields).await["act"]["sub"], rig.agent.as_str());
    let rig = Rig::new();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    for (name, token, kind) in [
        ("another agent", other.as_str(), TOKEN_TYPE_JWT),
        ("the person", rig.login.sign(&Login::alice()).as_str(), TOKEN_TYPE_ID_TOKEN),
        ("the person as a JWT", rig.login.sign(&Login::alice()).as_str(), TOKEN_TYPE_JWT),
    ] {
        let fields = with_actor_of(&rig, token, kind);
        assert_eq!(refusal(&rig, &fields).await, OAuthErrorCode::InvalidRequest, "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

fn with_actor_of(rig: &Rig, token: &str, kind: &str) -> Fields {
    for_alice(rig).set("actor_token", token).set("actor_token_type", kind)
}

#[tokio::test]
async fn m_10_a_persons_token_alone_is_refused() {
    let rig = Rig::new();
    let token = rig.login.sign(&Login::alice());
    let alone = for_alice(&rig).unauthenticated();
    let client_id = alone.clone().set("client_id", "alice");
    let assertion = for_alice(&rig).authenticated(&token);
    for (name, fields) in
        [("alone", alone), ("with a client_id", client_id), ("as its own assertion", assertion)]
    {
        assert_eq!(refusal(&rig, &fields).await, OAuthErrorCode::InvalidClient, "{name}");
    }
    let introspected = rig.introspect(&token, &token).await.unwrap_err();
    assert_eq!(introspected.code(), OAuthErrorCode::InvalidClient);
    let svid = rig.svid();
    assert_eq!(rig.introspect(&svid, &token).await.unwrap(), json!({"active": false}));
    let kept = rig.store.kept();
    assert!(kept.tokens.is_empty(), "nothing was issued");
}

#[tokio::test]
async fn keycloak_52691_a_persons_token_is_one_whatever_the_request_calls_it() {
    let rig = Rig::new();
    let as_jwt = for_alice(&rig).set("subject_token_type", TOKEN_TYPE_JWT);
    assert_eq!(claims(&rig, &as_jwt).await["sub"], "corp:alice");
    let rig = Rig::new();
    for (name, fields) in [
        (
            "an ID token as access token",
            for_alice(&rig).set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN),
        ),
        ("an SVID as ID token", rig.fields().set("subject_token_type", TOKEN_TYPE_ID_TOKEN)),
    ] {
        assert_eq!(refusal(&rig, &fields).await, OAuthErrorCode::InvalidRequest, "{name}");
    }
}

#[tokio::test]
async fn oauth_2_7_a_subject_token_of_a_person_that_is_no_good_is_an_invalid_request() {
    let rig = Rig::new();
    let changed = |name: &str, value: Value| {
        let mut claims = Login::alice();
        claims[name] = value;
        rig.login.sign(&claims)
    };
    let stranger = Login::new().sign(&Login::alice());
    let own_issuer = changed("iss", json!(ISSUER));
    for (name, token) in [
        ("forged", stranger),
        ("expired", changed("exp", json!(1))),
        ("for somebody else", changed("aud", json!("marque-dev"))),
        ("of an issuer that nobody configured", changed("iss", json!("https://evil.example.org"))),
        ("of ourselves", own_issuer),
        ("about a workload", changed("sub", json!(rig.agent.as_str()))),
        ("bound to a key", changed("cnf", json!({"jkt": "x"}))),
    ] {
        let error = rig.exchange(&with_token(&rig, &token)).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::InvalidRequest, "{name}");
        assert!(!format!("{error:?}").contains(&token), "{name}");
    }
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn a_persons_token_opens_no_intent_of_another_agent() {
    let rig = Rig::new();
    let other = rig.svid_of(&rig.own, &rig.own.id("/agent/other"));
    let fields = for_alice(&rig).authenticated(&other);
    assert_eq!(refusal(&rig, &fields).await, OAuthErrorCode::AccessDenied);
}

#[tokio::test]
async fn may_act_of_a_persons_token_names_who_may() {
    let named = |rig: &Rig, may_act: Value| {
        let mut claims = Login::alice();
        claims["may_act"] = may_act;
        with_token(rig, &rig.login.sign(&claims))
    };
    let rig = Rig::new();
    for may_act in [
        json!({"sub": rig.own.id("/agent/other").as_str()}),
        json!({"sub": rig.agent.as_str(), "iss": LOGIN}),
        json!({"sub": rig.agent.as_str(), "group": "x"}),
        json!({}),
    ] {
        let code = refusal(&rig, &named(&rig, may_act.clone())).await;
        assert_eq!(code, OAuthErrorCode::InvalidRequest, "{may_act}");
    }
    let fields = named(&rig, json!({"sub": rig.agent.as_str(), "iss": ISSUER}));
    assert_eq!(claims(&rig, &fields).await["sub"], "corp:alice");
}

#[tokio::test]
async fn m_13_the_person_stays_the_root_when_the_agent_hands_on() {
    let helper = "spiffe://prod.example.org/agent/helper";
    let rig = Rig::with(
        |_| {},
        |terms| {
            let agents = vec![helper.parse().unwrap()];
            let equal = marque_intent::Dimension::NARROWED_BY_DELEGATION.into_iter().collect();
            terms.on_behalf = Some(OnBehalf { max_depth: 1, agents, equal });
        },
    );
    let response = rig.exchange(&for_alice(&rig)).await.unwrap();
    let parent = response.access_token().expose_token();
    let svid = rig.svid_of(&rig.own, &helper.parse().unwrap());
    let fields = rig
        .fields()
        .authenticated(&svid)
        .set("subject_token", parent)
        .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
        .without("authorization_details");
    let child = claims(&rig, &fields).await;
    assert_eq!(
        (&child["sub"], &child["delegator_id"]),
        (&json!("corp:alice"), &json!("corp:alice"))
    );
    assert_eq!(child["act"]["sub"], helper);
    assert_eq!(child["act"]["act"]["sub"], rig.agent.as_str());
    assert!(child["exp"].as_i64() <= payload(parent)["exp"].as_i64());
    // Both are kept, and told, as hers.
    let kept = rig.store.kept();
    let hers = |token: &crate::TokenRecord| token.root.as_ref().unwrap().as_str() == "corp:alice";
    assert!(kept.tokens.len() == 2 && kept.tokens.values().all(hers));
    assert!(kept.events.iter().all(|event| event.detail["delegator"] == "corp:alice"));
    assert_eq!(kept.events.last().unwrap().detail["requested_by"], helper);
}

#[tokio::test]
async fn m_12_a_token_is_for_nobody_whom_the_playbook_does_not_name() {
    let named = |change: fn(&mut marque_intent::Delegators)| {
        Rig::with(|_| {}, move |terms| change(terms.delegators.as_mut().unwrap()))
    };
    let outcome = async |rig: &Rig, fields: &Fields| {
        rig.exchange(fields).await.err().map(|error| (error.code(), error.denial()))
    };
    let not_allowed = Some((OAuthErrorCode::AccessDenied, Some(DenialCode::DelegatorNotAllowed)));
    let missing = Some((OAuthErrorCode::AccessDenied, Some(DenialCode::DelegatorMissing)));

    // By a group: Alice is in it; who is not, and whose groups are unknown, is nobody.
    let rig = Rig::new();
    for groups in [json!(["dev"]), json!([])] {
        let mut bob = Login::alice();
        bob["groups"] = groups;
        let fields = with_token(&rig, &rig.login.sign(&bob));
        assert_eq!(outcome(&rig, &fields).await, not_allowed, "{bob}");
    }
    let refused = rig.store.kept().events.last().unwrap().clone();
    assert_eq!(refused.code.as_deref(), Some("delegator_not_allowed"));
    assert!(refused.detail["reason"].to_string().contains("corp:alice"), "operators learn who");
    assert_eq!(outcome(&rig, &for_alice(&rig)).await, None);

    // Another subject, a playbook that names nobody, and one that wants somebody.
    let rig = named(|rule| {
        rule.persons[0].groups.clear();
        rule.persons[0].subjects = BTreeSet::from(["bob".to_owned()]);
    });
    assert_eq!(outcome(&rig, &for_alice(&rig)).await, not_allowed);
    let rig = Rig::with(|_| {}, |terms| terms.delegators = None);
    assert_eq!(outcome(&rig, &for_alice(&rig)).await, not_allowed);
    assert_eq!(outcome(&rig, &rig.fields()).await, None);
    let rig = named(|rule| rule.required = true);
    assert_eq!(outcome(&rig, &rig.fields()).await, missing);
    let deferred = rig.fields().set("completion_mode", "deferred");
    assert_eq!(outcome(&rig, &deferred).await, missing, "nor is anybody asked to wait for it");
    assert!(rig.store.kept().tokens.is_empty());
    assert_eq!(outcome(&rig, &for_alice(&rig)).await, None);
}

#[tokio::test]
async fn keys_that_are_too_old_are_no_fault_of_the_client() {
    let rig = Rig::with_keys(Arc::new(crate::NoOidcKeys));
    let code = refusal(&rig, &for_alice(&rig)).await;
    assert_eq!(code, OAuthErrorCode::TemporarilyUnavailable);
}
