mod svids;

use std::time::Duration;

use marque_audit::EventKind;
use marque_intent::{DenialCode, KillScope};
use marque_jose::{Signer as _, UnverifiedJws, VerifiedJws};
use marque_testkit::{START, ScratchSigner};
use serde_json::json;

use super::*;
use crate::TOKEN_TYPE_ACCESS_TOKEN;
use crate::fixture::{
    AUDIENCE, Fields, ISSUER, Rig, SECOND_AUDIENCE, anybody, approved, open, terms,
};

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
async fn oauth_9_2_one_audience_is_written_as_a_string() {
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
    terms.approval = Some(anybody());
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
