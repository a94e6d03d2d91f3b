//! Asking: what an agent may ask for, what it is told, and how its intents end.

use serde_json::{Value, json};

use crate::support::daemon::{
    Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR,
};
use crate::support::http::Call;
use crate::support::oauth::{Client, INGRESS, approved_rotation, restart, rotation};
use crate::support::programs::copy_of_this_program;

/// The production request with one member replaced.
fn rotation_with(member: &str, value: Value) -> Value {
    let mut body = rotation();
    body[member] = value;
    body
}

fn rotation_without(member: &str) -> Value {
    let mut body = rotation();
    body.as_object_mut().expect("an object").remove(member);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sees_the_playbooks_that_it_may_ask_for_and_no_others() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let seen = rotator
        .send(Call::get(&rotator.place.playbooks_url()).bearer(&rotator.svid))
        .await
        .expect(200);
    assert!(seen.body.contains("ingress-cert-rotation"), "{seen:?}");
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let seen = ingress.send(Call::get(&ingress.place.playbooks_url()).bearer(&ingress.svid)).await;
    assert!(!seen.body.contains("ingress-cert-rotation"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_permissions_are_refused_however_they_are_spelt() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    for body in [
        json!({ "scopes": ["network:write"], "environment": "production", "minutes": 60 }),
        json!({ "scope": "network.write" }),
        json!({ "permissions": ["iam:*"] }),
        json!({ "actions": ["write"], "resources": ["network"] }),
        json!({ "role": "arn:aws:iam::111122223333:role/admin" }),
        rotation_with("scopes", json!(["secrets.update"])),
        rotation_with("iam_actions", json!(["iam:AttachRolePolicy"])),
        rotation_with("authorization_details", json!([{ "type": "k8s_object", "actions": ["*"] }])),
    ] {
        let answer = rotator.ask(&body).await;
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{body}");
        let answer = answer.refused("raw_permissions_not_requestable");
        assert_eq!(answer.json()["class"], "malformed", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fit_no_playbook_are_denied_each_with_its_code() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let parameters = |value: Value| rotation_with("parameters", value);
    let administrator = json!({ "service": "attach-administrator-policy", "region": "eu-west-1", "attach": "admin" });
    for (code, body) in [
        ("unknown_playbook", rotation_with("playbook", json!("no-such-playbook"))),
        ("playbook_version_stale", rotation_with("version", json!(9_999))),
        ("params_schema_invalid", parameters(json!({}))),
        ("params_schema_invalid", parameters(json!({ "service": "checkout" }))),
        ("params_schema_invalid", parameters(json!({ "service": "checkout", "region": "mars" }))),
        (
            "params_schema_invalid",
            parameters(json!({ "service": "../../etc", "region": "eu-west-1" })),
        ),
        ("params_schema_invalid", parameters(json!({ "service": 7, "region": "eu-west-1" }))),
        ("params_schema_invalid", parameters(administrator)),
        (
            "raw_permissions_not_requestable",
            parameters(json!({ "service": "checkout", "region": "eu-west-1", "role": "admin" })),
        ),
        ("ticket_missing", rotation_without("ticket")),
        ("ticket_format", rotation_with("ticket", json!("JIRA-1"))),
        ("unrecognised_field", rotation_with("please", json!(true))),
        ("invalid_request", json!([])),
        ("invalid_request", json!({})),
        ("invalid_request", rotation_with("playbook", json!(7))),
    ] {
        let answer = rotator.ask(&body).await;
        assert!((400..500).contains(&answer.status), "{code} for {body}: {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{body}: {problem}");
        assert!(problem["class"].is_string() && problem["retry"].is_object(), "{problem}");
    }
    rotator.ask(&rotation()).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_is_refused_at_the_edge() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let deep = format!("{{\"parameters\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let twice = r#"{"playbook":"ingress-cert-rotation","playbook":"restart-preview"}"#;
    for body in ["{", "", twice, &deep, "\u{0}", r#"{"playbook":"a"} {}"#] {
        let call =
            Call::post(&rotator.place.intents_url, "application/json", body).bearer(&rotator.svid);
        let answer = rotator.send(call).await;
        assert_eq!(answer.status, 400, "{body:.80}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_the_playbook_does_not_name_is_refused() {
    let daemon = Daemon::start().await;
    let program = copy_of_this_program("outsider");
    let id = daemon.place(PRODUCTION).id("/agent/outsider/one");
    daemon.operator(PRODUCTION).register(&id, "agent", &program).await;
    let place = daemon.place(PRODUCTION).clone();
    let mut workload = crate::support::agent::Workload::start(&program, &place);
    let svid = workload.jwt_svid(&place.issuer_url).await;
    let outsider = Client { workload, svid, http: daemon.http(PRODUCTION), place };
    let answer = outsider.ask(&rotation()).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    let code = answer.text("code");
    assert!(["agent_not_allowed", "unknown_playbook"].contains(&code.as_str()), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_takes_an_svid_of_this_trust_domain() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let anonymous = rotator.send(Call::json(&rotator.place.intents_url, &rotation())).await;
    assert_eq!(anonymous.status, 401, "{anonymous:?}");
    assert!(anonymous.headers.contains_key("www-authenticate"), "{anonymous:?}");
    let mut restarter = daemon.agent(RESTARTER);
    let foreign = restarter.jwt_svid(&rotator.place.issuer_url).await;
    let answer =
        rotator.send(Call::json(&rotator.place.intents_url, &rotation()).bearer(&foreign)).await;
    answer.refused("environment_boundary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_asks_for_no_intent() {
    let daemon = Daemon::start().await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let answer = ingress.ask(&rotation()).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_shown_what_was_resolved() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let answer = rotator.ask(&rotation()).await.expect(202);
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let intent = answer.text("id");
    assert!(location.ends_with(&format!("/v1/intents/{intent}")), "{location}");
    let told = rotator.look(&intent).await.expect(200).json();
    assert_eq!((&told["id"], &told["state"]), (&json!(intent), &json!("pending")));
    let shown = told.to_string();
    for part in ["ingress-cert-rotation", "CHG-1842", "checkout", "eu-west-1", INGRESS.scope] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_intent_and_another_body_a_conflict() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let ask = |body: Value| {
        let call = Call::json(&rotator.place.intents_url, &body).bearer(&rotator.svid);
        rotator.send(call.header("idempotency-key", "one-run-of-the-agent"))
    };
    let first = ask(rotation()).await.expect(202).text("id");
    let answer = ask(rotation()).await;
    assert_eq!(answer.text("id"), first, "{answer:?}");
    let other = rotation_with("ticket", json!("CHG-2000"));
    ask(other).await.expect(409).refused("idempotency_conflict");
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let call = Call::json(&second.place.intents_url, &rotation()).bearer(&second.svid);
    let theirs =
        second.send(call.header("idempotency-key", "one-run-of-the-agent")).await.expect(202);
    assert_ne!(theirs.text("id"), first, "a key reached across agents");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_intent_gives_no_token() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let pending = rotator.ask_rotation().await;
    let approved = approved_rotation(&daemon, &rotator).await;
    for intent in [pending, approved] {
        let answer = rotator.end(&intent, "cancel", &json!({})).await.expect(200);
        assert_eq!(answer.json()["state"], "cancelled", "{answer:?}");
        rotator.exchange(&intent).await.oauth_error("access_denied");
        let approve = daemon.operator(PRODUCTION).run(&["approve", "--yes", &intent]).await;
        assert_ne!(approve.code, 0, "a cancelled intent was approved: {approve:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_token_dies_when_its_intent_is_completed() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let token = restarter.exchange(&intent).await.expect(200).text("access_token");
    assert!(restarter.is_active(&token).await);
    let answer =
        restarter.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    assert_eq!(answer.json()["state"], "completed", "{answer:?}");
    assert!(!restarter.is_active(&token).await, "the token outlived the work");
    restarter.exchange(&intent).await.oauth_error("access_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_token_dies_when_an_operator_revokes_the_intent() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let token = restarter.exchange(&intent).await.expect(200).text("access_token");
    assert!(restarter.is_active(&token).await);
    let operator = daemon.operator(NON_PRODUCTION);
    operator.run(&["intent", "revoke", &intent, "--reason", "no longer wanted"]).await.succeeded();
    assert!(!restarter.is_active(&token).await, "the token outlived its intent");
    assert_eq!(restarter.look(&intent).await.expect(200).json()["state"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_agent_that_asked_ends_an_intent() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    second.end(&intent, "cancel", &json!({})).await.expect(404);
    second.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(404);
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_alone_approves_the_non_production_playbook() {
    let daemon = Daemon::start().await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let answer = restarter.ask(&restart()).await.expect(201);
    assert_eq!(answer.json()["state"], "approved", "{answer:?}");
    restarter.exchange(&answer.text("id")).await.expect(200);
}
