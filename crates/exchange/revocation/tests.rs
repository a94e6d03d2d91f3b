use marque_audit::EventKind;
use marque_intent::Reason;
use marque_jose::{UnverifiedJws, sign_compact};
use marque_spiffe::SpiffeId;
use marque_testkit::{START, ScratchSigner};

use super::*;
use crate::{
    RevocationOutcome, TokenLifeStore, TokenRecord,
    fixture::{Fields, ISSUER, Rig},
};

async fn issued(rig: &Rig) -> String {
    rig.exchange(&rig.fields()).await.unwrap().access_token().expose_token().to_owned()
}

fn revoked(rig: &Rig) -> Vec<String> {
    let kept = rig.store.kept();
    let revoked = kept.tokens.values().filter(|token| token.revoked_at.is_some());
    revoked.map(|token| token.id.to_string()).collect()
}

fn kinds(rig: &Rig) -> Vec<EventKind> {
    rig.store.kept().events.iter().map(|event| event.kind).collect()
}

/// The token of another record, as it would have been signed.
fn signed(rig: &Rig, token: &str, record: &TokenRecord) -> String {
    let mut claims = UnverifiedJws::parse(token).unwrap().dangerous_unverified_claims().clone();
    claims.insert("jti".to_owned(), record.id.as_str().into());
    claims.insert("client_id".to_owned(), record.client.as_str().into());
    sign_compact(Some("at+jwt"), &claims, &*rig.signer).unwrap().expose_token().to_owned()
}

fn svid(rig: &Rig, holder: &SpiffeId) -> String {
    rig.svid_of(&rig.own, holder)
}

#[tokio::test]
async fn oauth_12_2_a_holder_ends_its_token_and_may_say_so_twice() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    for _ in 0..2 {
        rig.revoke_token(&rig.svid(), &token).await.unwrap();
    }
    assert_eq!(rig.record().revoked_at, Some(START));
    let answer = rig.introspect(&rig.svid(), &token).await.unwrap();
    assert_eq!(answer, serde_json::json!({"active": false}));
    // Once only is it on record.
    assert_eq!(kinds(&rig), [EventKind::TokenIssued, EventKind::TokenRevoked]);
    let event = rig.store.kept().events[1].clone();
    assert_eq!(event.actor.as_deref(), Some(rig.agent.as_str()));
    assert_eq!(event.token_id.as_deref(), Some(rig.record().id.as_str()));
    assert_eq!(event.intent.as_deref(), Some(rig.intent.as_str()));
}

#[tokio::test]
async fn oauth_12_3_a_revocation_takes_every_descendant_along_and_nothing_else() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let root = rig.record();
    let (b, c) = (rig.own.id("/agent/b"), rig.own.id("/agent/c"));
    let child = rig.derived(&root, &b, 1);
    let other = rig.derived(&root, &c, 2);
    let grandchild = rig.derived(&child, &c, 3);
    let last = rig.derived(&grandchild, &rig.own.id("/agent/d"), 4);
    // What lies between was used up already; that does not save what derives from it.
    rig.store.kept().tokens.get_mut(&grandchild.id).unwrap().used_at = Some(START);
    rig.revoke_token(&svid(&rig, &b), &signed(&rig, &token, &child)).await.unwrap();
    let ids = [&child, &grandchild, &last].map(|token| token.id.to_string());
    assert_eq!(revoked(&rig), ids);
    let kept = rig.store.kept();
    let revocations: Vec<_> =
        kept.events.iter().filter(|event| event.kind == EventKind::TokenRevoked).collect();
    assert_eq!(revocations.len(), 3);
    assert!(revocations[0].detail.is_empty());
    assert!(revocations[1..].iter().all(|event| event.detail["with"] == child.id.as_str()));
    assert!(
        kept.tokens[&root.id].revoked_at.is_none() && kept.tokens[&other.id].revoked_at.is_none()
    );
}

#[tokio::test]
async fn oauth_12_2_only_the_holder_and_those_before_it_may_revoke() {
    let (own, other) = ("unauthorized_client", "ok");
    for (name, who, expected) in [
        ("holder", "/agent/c", other),
        ("the_one_before", "/agent/b", other),
        ("the_first", "/agent/rotator", other),
        ("a_descendants_holder", "/agent/d", own),
        ("a_stranger", "/agent/stranger", own),
        ("the_resource_server", "/service/k8s-gateway", own),
    ] {
        let rig = Rig::new();
        let token = issued(&rig).await;
        let child = rig.derived(&rig.record(), &rig.own.id("/agent/b"), 1);
        let named = rig.derived(&child, &rig.own.id("/agent/c"), 2);
        rig.derived(&named, &rig.own.id("/agent/d"), 3);
        let (caller, token) = (svid(&rig, &rig.own.id(who)), signed(&rig, &token, &named));
        let told = rig.revoke_token(&caller, &token);
        let told = told.await.map_or_else(|error| error.code().as_str(), |()| "ok");
        assert_eq!(told, expected, "{name}");
        assert_eq!(revoked(&rig).len(), if expected == "ok" { 2 } else { 0 }, "{name}");
        let refused = kinds(&rig).contains(&EventKind::ChangeRefused);
        assert_eq!(refused, expected != "ok", "{name}");
    }
}

#[tokio::test]
async fn oauth_12_1_what_is_unknown_is_as_good_as_revoked() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let mut claims = UnverifiedJws::parse(&token).unwrap().dangerous_unverified_claims().clone();
    let imposter = ScratchSigner::generate("access-token-a-1");
    let forged = sign_compact(Some("at+jwt"), &claims, &imposter).unwrap();
    claims.insert("jti".to_owned(), "tok_00000000000000000000000000000000".into());
    let never_issued = sign_compact(Some("at+jwt"), &claims, &*rig.signer).unwrap();
    claims.insert("iss".to_owned(), "https://other.example.org".into());
    let other_issuer = sign_compact(Some("at+jwt"), &claims, &*rig.signer).unwrap();
    for (name, token) in [
        ("garbage", "x"),
        ("dots", &".".repeat(10_000)),
        ("truncated", token.get(..token.len() - 4).unwrap()),
        ("forged", forged.expose_token()),
        ("never_issued", never_issued.expose_token()),
        ("other_issuer", other_issuer.expose_token()),
    ] {
        assert!(rig.revoke_token(&rig.svid(), token).await.is_ok(), "{name}");
    }
    assert_eq!(kinds(&rig), [EventKind::TokenIssued]);
    assert_eq!(revoked(&rig), [""; 0]);
}

#[tokio::test]
async fn oauth_12_6_what_cannot_be_revoked_is_said_to_be_of_an_unsupported_type() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let claims = UnverifiedJws::parse(&token).unwrap().dangerous_unverified_claims().clone();
    let other = |typ| sign_compact(typ, &claims, &*rig.signer).unwrap().expose_token().to_owned();
    for (name, token) in [
        ("svid", rig.svid()),
        ("transaction_token", other(Some("txntoken+jwt"))),
        ("grant_for_another_server", other(Some("oauth-id-jag+jwt"))),
        ("introspection_answer", other(Some("token-introspection+jwt"))),
        ("typ_missing", other(None)),
    ] {
        let error = rig.revoke_token(&rig.svid(), &token).await.unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::UnsupportedTokenType, "{name}");
        assert_eq!(error.http_status(), 400, "{name}");
    }
    assert_eq!(revoked(&rig), [""; 0]);
}

#[tokio::test]
async fn oauth_12_6_the_client_is_authenticated_and_the_hint_ignored() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    let error = rig.revoke_token("x", &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidClient);
    let missing = Fields::default().authenticated(&rig.svid());
    let error = RevocationRequest::parse(missing.encode().as_bytes(), &Presented::default());
    assert_eq!(error.unwrap_err().code(), OAuthErrorCode::InvalidRequest);
    let fields = missing.set("token", &token).set("token_type_hint", "refresh_token");
    let request =
        RevocationRequest::parse(fields.encode().as_bytes(), &Presented::default()).unwrap();
    rig.service.revoke(request, Presented::default()).await.unwrap();
    assert_eq!(revoked(&rig).len(), 1);
}

#[tokio::test]
async fn oauth_12_nothing_is_said_to_be_revoked_that_could_not_be_written() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.store.kept().down = true;
    let error = rig.revoke_token(&rig.svid(), &token).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TemporarilyUnavailable);
    assert_eq!(error.http_status(), 503);
}

#[tokio::test]
async fn oauth_12_an_expired_token_is_revoked_as_well_lest_the_clock_steps_back() {
    let rig = Rig::new();
    let token = issued(&rig).await;
    rig.clock.advance(std::time::Duration::from_secs(241));
    let late =
        rig.own.jwt_svid(&rig.agent, &[ISSUER], rig.now() + std::time::Duration::from_secs(60));
    rig.revoke_token(late.expose_token(), &token).await.unwrap();
    assert_eq!(revoked(&rig).len(), 1);
}

#[tokio::test]
async fn oauth_12_2_an_operator_revokes_any_token_for_a_reason() {
    let rig = Rig::new();
    issued(&rig).await;
    let child = rig.derived(&rig.record(), &rig.own.id("/agent/b"), 1);
    let order = TokenRevocation {
        token: rig.record().id,
        intent: rig.intent.clone(),
        by: Revoker::Operator {
            actor: "operator:alice(1000)".to_owned(),
            reason: Reason::new("incident 7").unwrap(),
        },
        now: START,
    };
    let outcome = rig.store.revoke_token(order.clone()).await.unwrap();
    assert_eq!(outcome, RevocationOutcome::Revoked(vec![rig.record().id, child.id]));
    let kept = rig.store.kept().events.clone();
    let revocations = kept.iter().filter(|event| event.kind == EventKind::TokenRevoked);
    for event in revocations {
        assert_eq!(event.actor.as_deref(), Some("operator:alice(1000)"));
        assert_eq!(event.detail["reason"], "incident 7");
    }
    let again = rig.store.revoke_token(order).await.unwrap();
    assert_eq!(again, RevocationOutcome::Revoked(Vec::new()));
}
