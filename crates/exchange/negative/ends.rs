//! Intents and tokens that ended, or changed, before they were used.

use std::time::Duration;

use marque_intent::{DenialCode, KillScope};
use marque_testkit::START;
use serde_json::json;

use crate::{
    OAuthErrorCode::AccessDenied,
    fixture::{Rig, approved, open, terms},
};

async fn is_denied(rig: &Rig, code: DenialCode) {
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!((error.code(), error.denial()), (AccessDenied, Some(code)));
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_21_revoked_intent() {
    let rig = Rig::new();
    rig.revoke();
    is_denied(&rig, DenialCode::GrantRevoked).await;
}

#[tokio::test]
async fn oauth_21_revoked_intent_takes_its_tokens_with_it() {
    let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
    let token = rig.exchange(&rig.fields()).await.unwrap();
    rig.revoke();
    let answer = rig.introspect(&rig.svid(), token.access_token().expose_token()).await.unwrap();
    assert_eq!(answer, json!({ "active": false }));
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(error.denial(), Some(DenialCode::GrantRevoked));
}

#[tokio::test]
async fn oauth_21_intent_expired() {
    let rig = Rig::new();
    // It is to be begun within fifteen minutes of its approval; the SVID is fresh.
    rig.clock.set(START + Duration::from_secs(901));
    let later = START + Duration::from_secs(1000);
    let svid = rig.own.jwt_svid(&rig.agent, &[crate::fixture::ISSUER], later);
    let svid = svid.expose_token();
    let fields = rig.fields().authenticated(svid).set("subject_token", svid);
    let error = rig.exchange(&fields).await.unwrap_err();
    assert_eq!((error.code(), error.denial()), (AccessDenied, Some(DenialCode::GrantExpired)));
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn oauth_21_intent_changed() {
    let rig = Rig::new();
    // Somebody with access to the store puts a wider grant where the approved one was. What was decided upon names the
    // digest of what was approved, and the use is redeemed for that digest alone.
    let mut wider = terms(&rig.agent, 0);
    wider.scopes.push("admin".parse().unwrap());
    let grant = marque_intent::Grant::seal(wider).unwrap();
    assert_eq!(grant.intent_id, rig.intent);
    assert_ne!(
        grant.digest(),
        rig.store.kept().intents[&rig.intent].grant().digest(),
        "another grant has another digest"
    );
    rig.store.kept().late_change = Some(open(grant, approved()));
    let error = rig.exchange(&rig.fields()).await.unwrap_err();
    assert_eq!(error.code(), AccessDenied);
    assert!(rig.store.kept().tokens.is_empty());
}

#[tokio::test]
async fn cve_2026_8922_one_answer_to_whether_a_token_lives_wherever_it_is_asked() {
    type End = fn(&Rig);
    let ends: [(&str, End); 4] = [
        ("revoked", Rig::revoke),
        ("completed", Rig::complete),
        ("killed", |rig| rig.kill(KillScope::Agent(rig.agent.clone()))),
        ("over", |rig| rig.clock.advance(Duration::from_secs(240))),
    ];
    for (name, end) in ends {
        let rig = Rig::with(|_| {}, |terms| terms.uses = 2);
        let token = rig.exchange(&rig.fields()).await.unwrap();
        let token = token.access_token().expose_token();
        let gateway = rig.svid_of(&rig.own, &rig.own.id("/service/k8s-gateway"));
        assert_eq!(rig.introspect(&gateway, token).await.unwrap()["active"], true, "{name}");
        end(&rig);
        let answer = rig.introspect(&gateway, token).await.unwrap();
        assert_eq!(answer, json!({ "active": false }), "{name}");
    }
}
