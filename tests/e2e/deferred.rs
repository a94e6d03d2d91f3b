//! Approval inside the exchange: an agent asks and waits at the token endpoint, a person approves on the command line.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, RESTARTER, ROTATOR, SECOND_ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{
    ASSERTION_TYPE, Client, Fields, INGRESS, deferred_fields, inline_fields, restart, rotation,
};

const DEFERRED: &str = "urn:ietf:params:oauth:grant-type:deferred";
const CIBA: &str = "urn:openid:params:grant-type:ciba";

impl Client {
    /// Asks inline and is deferred: the code and the intent.
    async fn defer(&self) -> (String, String) {
        let answer = self.token(&deferred_fields(&self.svid)).await;
        let answer = answer.oauth_error("authorization_pending");
        assert_eq!(answer.headers["cache-control"], "no-store");
        (answer.text("deferral_code"), answer.text("intent_id"))
    }

    async fn poll(&self, code: &str) -> Answer {
        self.poll_by(DEFERRED, "deferral_code", code).await
    }

    async fn poll_by(&self, grant_type: &str, name: &'static str, code: &str) -> Answer {
        let fields: Fields = vec![
            ("grant_type", grant_type.to_owned()),
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", self.svid.clone()),
            (name, code.to_owned()),
        ];
        self.token(&fields).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_an_agent_waits_at_the_token_endpoint_until_a_person_approves() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let first = rotator.token(&deferred_fields(&rotator.svid)).await;
    let first = first.oauth_error("authorization_pending");
    let interval = first.json()["interval"].as_u64().expect("an interval");
    // 30 minutes to decide, 15 to begin, less what the way here took.
    let expires_in = first.json()["expires_in"].as_u64().expect("an end");
    assert!((44 * 60..=45 * 60).contains(&expires_in), "{expires_in}");
    let (code, intent) = (first.text("deferral_code"), first.text("intent_id"));
    let pending = rotator.poll(&code).await.oauth_error("authorization_pending");
    assert!(pending.json().get("deferral_code").is_none(), "{pending:?}");
    daemon.operator(ROTATOR.trust_domain).approve(&intent).await;
    // As long as the server says; a test of its own is about not doing so.
    tokio::time::sleep(Duration::from_secs(interval)).await;
    let answer = rotator.poll(&code).await.expect(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert_eq!(answer.json()["scope"], INGRESS.scope);
    assert_eq!(answer.json()["authorization_details"][0]["intent_id"], intent);
    let ingress = Client::service(&daemon, ROTATOR.trust_domain, INGRESS.path).await;
    assert!(ingress.is_active(&answer.text("access_token")).await);
    rotator.poll(&code).await.oauth_error("invalid_grant");
    assert_eq!(rotator.look(&intent).await.expect(200).json()["state"], "consumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_3_whoever_polls_too_fast_is_told_to_slow_down() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let (code, intent) = rotator.defer().await;
    rotator.poll(&code).await.oauth_error("authorization_pending");
    rotator.poll(&code).await.oauth_error("slow_down");
    daemon.operator(ROTATOR.trust_domain).approve(&intent).await;
    rotator.poll(&code).await.oauth_error("slow_down");
    assert_eq!(rotator.look(&intent).await.expect(200).json()["state"], "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_3_a_persons_no_ends_the_wait() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let (code, intent) = rotator.defer().await;
    let deny = ["deny", &intent, "--because", "wrong-time"];
    daemon.operator(ROTATOR.trust_domain).run(&deny).await.succeeded();
    rotator.poll(&code).await.oauth_error("access_denied").refused("approval_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_4_a_deferral_survives_a_restart_of_the_daemon() {
    let mut daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let (code, intent) = rotator.defer().await;
    drop(rotator);
    daemon.stop().await;
    daemon.launch().await;
    daemon.operator(ROTATOR.trust_domain).approve(&intent).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.poll(&code).await.expect(200);
    rotator.poll(&code).await.oauth_error("invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_5_another_client_has_no_use_for_a_code() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let (code, intent) = rotator.defer().await;
    daemon.operator(ROTATOR.trust_domain).approve(&intent).await;
    let stolen = second.poll(&code).await.oauth_error("invalid_grant");
    let unknown = second.poll(&"A".repeat(43)).await;
    assert_eq!((stolen.status, &stolen.body), (unknown.status, &unknown.body));
    rotator.poll(&code).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_what_needs_no_approver_is_answered_at_once() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let mut fields = inline_fields(&restarter.svid, &restart());
    restarter.token(&fields).await.expect(200);
    fields.push(("completion_mode", "deferred".to_owned()));
    restarter.token(&fields).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_8_an_inline_request_is_refused_like_one_to_the_intents_api() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let with = |member: &str, value: Value| {
        let mut request = rotation();
        request[member] = value;
        request
    };
    for (name, request, error) in [
        ("no_ticket", with("ticket", Value::Null), "invalid_authorization_details"),
        ("bad_ticket", with("ticket", json!("INC-1")), "access_denied"),
        ("permissions", with("scopes", json!(["admin"])), "invalid_authorization_details"),
        (
            "parameter",
            with("parameters", json!({"service": "a/b"})),
            "invalid_authorization_details",
        ),
        ("unknown", with("playbook", json!("nothing")), "invalid_authorization_details"),
        ("stale", with("version", json!(99)), "invalid_authorization_details"),
    ] {
        let problem = rotator.ask(&request).await.json();
        let answer = rotator.token(&inline_fields(&rotator.svid, &request)).await.json();
        assert_eq!(answer["error"], error, "{name}: {answer}");
        for member in ["code", "class", "doc"] {
            assert_eq!(answer[member], problem[member], "{name}: {answer}");
        }
        // One try less is left.
        for member in ["allowed", "after_s"] {
            assert_eq!(answer["retry"][member], problem["retry"][member], "{name}: {answer}");
        }
    }
    rotator.token(&inline_fields(&rotator.svid, &rotation())).await.refused("approval_pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_a_lost_answer_makes_no_second_intent() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let ask = async || {
        let call = Call::form(&rotator.place.token_endpoint, &deferred_fields(&rotator.svid));
        rotator.send(call.header("idempotency-key", "k-1")).await
    };
    let lost = ask().await.oauth_error("authorization_pending");
    let again = ask().await.oauth_error("authorization_pending");
    assert_eq!(lost.text("intent_id"), again.text("intent_id"));
    assert_ne!(lost.text("deferral_code"), again.text("deferral_code"));
    let pending = daemon.operator(ROTATOR.trust_domain);
    let pending = pending.json(&["intent", "list", "--state", "pending"]).await;
    assert_eq!(pending.as_array().expect("a list").len(), 1, "{pending}");
    daemon.operator(ROTATOR.trust_domain).approve(&again.text("intent_id")).await;
    rotator.poll(&lost.text("deferral_code")).await.oauth_error("invalid_grant");
    rotator.poll(&again.text("deferral_code")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_14_5_ciba_names_who_is_asked_and_shows_the_binding_message() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let request = async |hint: &str| {
        let mut fields = inline_fields(&rotator.svid, &rotation());
        fields.retain(|(name, _)| !name.starts_with("subject") && *name != "grant_type");
        fields.extend([
            ("login_hint", hint.to_owned()),
            ("binding_message", "W4SCT".to_owned()),
            ("scope", "openid".to_owned()),
        ]);
        let url = format!("{}/oauth2/bc-authorize", rotator.place.issuer_url);
        rotator.send(Call::form(&url, &fields)).await
    };
    request("mallory").await.oauth_error("unknown_user_id");
    request("platform-dev").await.oauth_error("unknown_user_id");
    request("marque-operator").await.expect(200);
    let answer = request("platform-sre").await.expect(200);
    let (code, intent) = (answer.text("auth_req_id"), answer.text("intent_id"));
    let shown = daemon.operator(ROTATOR.trust_domain).json(&["intent", "show", &intent]).await;
    assert_eq!(shown["asked_of"], "platform-sre", "{shown}");
    assert_eq!(shown["binding_message"], "W4SCT", "{shown}");
    rotator.poll_by(CIBA, "auth_req_id", &code).await.oauth_error("authorization_pending");
    rotator.poll_by(CIBA, "auth_req_id", &code).await.oauth_error("slow_down");
    rotator.poll(&code).await.oauth_error("invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_9_an_agent_that_stops_waiting_revokes_its_code_and_the_intent_is_withdrawn() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let (code, intent) = rotator.defer().await;
    // Nobody else ends it, and nobody learns whether there is such a code.
    let (stolen, unknown) = (second.revoke(&code).await, second.revoke(&"A".repeat(43)).await);
    assert_eq!((stolen.status, &stolen.body), (200, &unknown.body));
    assert_eq!(rotator.look(&intent).await.expect(200).json()["state"], "pending");
    let answer = rotator.revoke(&code).await.expect(200);
    assert!(answer.body.is_empty(), "{answer:?}");
    assert_eq!(rotator.look(&intent).await.expect(200).json()["state"], "cancelled");
    rotator.poll(&code).await.oauth_error("access_denied").refused("grant_completed");
    let approve = ["approve", "--yes", &intent];
    daemon.operator(ROTATOR.trust_domain).run(&approve).await.failed();
}
