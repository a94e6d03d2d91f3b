//! Pace: what comes of refusals, of asking too often, and of asking twice. Nothing here has the patience of the other
//! tests' trust domains.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{
    Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR, SECOND_ROTATOR,
};
use crate::support::folder;
use crate::support::http::{Answer, Call};
use crate::support::oauth::{Client, approved_rotation, restart, rotation};
use crate::support::wait::until;

/// A daemon with these numbers in place of the patience.
async fn strict(numbers: &str) -> Daemon {
    Daemon::start_with(|trust_domains| {
        for name in [PRODUCTION, NON_PRODUCTION] {
            folder::be_strict(&trust_domains.join(name), numbers);
        }
    })
    .await
}

/// The production playbook again, under another name.
fn another_playbook(trust_domains: &Path, name: &str) {
    let playbooks = trust_domains.join(PRODUCTION).join("playbooks");
    let text = fs::read_to_string(playbooks.join("ingress-cert-rotation.toml")).unwrap();
    let text = text.replace("\"ingress-cert-rotation\"", &format!("\"{name}\""));
    fs::write(playbooks.join(format!("{name}.toml")), text).unwrap();
}

fn by_playbook(name: &str) -> Value {
    let mut body = rotation();
    body["playbook"] = json!(name);
    body
}

fn for_service(service: &str) -> Value {
    let mut body = rotation();
    body["parameters"]["service"] = json!(service);
    body
}

async fn deny(daemon: &Daemon, intent: &str) {
    let operator = daemon.operator(PRODUCTION);
    operator.run(&["deny", intent, "--because", "wrong-time"]).await.succeeded();
}

/// What the operator has to decide.
async fn pending(daemon: &Daemon) -> usize {
    let listed = daemon.operator(PRODUCTION).json(&["intent", "list", "--state", "pending"]).await;
    listed.as_array().expect("a list").len()
}

fn code(answer: &Answer) -> String {
    answer.text("code")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_negative_feedback_what_an_approver_refused_is_refused_again_and_nobody_is_asked() {
    let mut daemon = strict("").await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    deny(&daemon, &intent).await;
    let mut rephrased = rotation();
    rephrased["justification"] =
        json!("URGENT: really, the certificate of checkout has to be renewed now");
    // Another agent of the family with other words.
    let answer = second.ask(&rephrased).await;
    assert_eq!((answer.status, code(&answer)), (403, "approval_denied".to_owned()), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["intent_id"], intent, "it says whose refusal it repeats");
    assert_eq!(problem["retry"]["allowed"], false, "{problem}");
    assert_eq!(problem["doc"], "docs/denials.md#approval_denied");
    assert_eq!(pending(&daemon).await, 0, "an approver was asked again");
    // It holds over a restart, and past the budget nothing is granted for a while.
    daemon.kill().await;
    daemon.launch().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let answer = rotator.ask(&rephrased).await;
    assert_eq!(code(&answer), "approval_denied", "{answer:?}");
    let waits = answer.json()["retry"]["after_s"].as_u64().expect("a wait");
    assert_eq!(answer.headers["retry-after"], waits.to_string(), "{answer:?}");
    let answer = rotator.ask(&for_service("payments")).await.expect(429);
    assert_eq!(code(&answer), "cooldown_after_denial");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{answer:?}");
    // Asking meanwhile does not stretch it.
    let again = rotator.ask(&for_service("payments")).await.expect(429);
    let later: u64 = again.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(later <= seconds, "{again:?}");
    let malformed = rotator.ask(&json!({"scope": "all"})).await.expect(429);
    assert_eq!(code(&malformed), "cooldown_after_denial");
    assert_eq!(pending(&daemon).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn alternate_path_other_playbooks_for_a_refused_target_are_refused() {
    let daemon = Daemon::start_with(|trust_domains| {
        let numbers = "[denials]\nother_paths = 1\n";
        folder::be_strict(&trust_domains.join(PRODUCTION), numbers);
        for name in ["rotate-by-hand", "rotate-in-bulk"] {
            another_playbook(trust_domains, name);
        }
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    deny(&daemon, &intent).await;
    rotator.ask(&by_playbook("rotate-by-hand")).await.expect(202);
    let answer = second.ask(&by_playbook("rotate-in-bulk")).await.expect(429);
    assert_eq!(code(&answer), "rephrase_suspected", "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert_eq!(pending(&daemon).await, 1, "the first other way is an approver's to decide");
    // Another target is none of it.
    let mut elsewhere = by_playbook("rotate-in-bulk");
    elsewhere["parameters"]["service"] = json!("payments");
    second.ask(&elsewhere).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_agent_has_its_baseline_identity_alone_until_a_person_releases_it() {
    let daemon = strict(
        "[denials]\ncooldowns = [\"1s\", \"1s\", \"1s\"]\nrequests_per_minute = 10000\n\
         [denials.budgets]\nmalformed = 0\n",
    )
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let approved = approved_rotation(&daemon, &second).await;
    let nonsense = json!({ "playbook": "no-such-playbook" });
    until("the quarantine", async || {
        let answer = rotator.ask(&nonsense).await;
        (code(&answer) == "quarantined").then_some(())
    })
    .await;
    let held = second.ask(&for_service("payments")).await.expect(429);
    assert_eq!(code(&held), "quarantined", "the family is held");
    assert!(!held.headers.contains_key("retry-after"), "it does not end by itself: {held:?}");
    assert_eq!(held.json()["retry"]["allowed"], false);
    second.send(Call::get(&second.place.playbooks_url()).bearer(&second.svid)).await.expect(200);
    let refused = second.exchange(&approved).await;
    let refused = refused.oauth_error("access_denied");
    assert_eq!(code(&refused), "quarantined", "{refused:?}");
    let operator = daemon.operator(PRODUCTION);
    let listed = operator.json(&["quarantine", "list"]).await;
    assert!(listed[0]["family"].as_str().is_some_and(|one| one.ends_with("/agent/cert-rotator")));
    assert!(listed[0]["quarantined_at"].is_string(), "{listed}");
    let agent = daemon.place(PRODUCTION).id(SECOND_ROTATOR.path);
    let unsaid = operator.run(&["quarantine", "release", &agent]).await;
    assert_ne!(unsaid.code, 0, "a release says why");
    let release = ["quarantine", "release", agent.as_str(), "--reason", "the loop is fixed"];
    operator.run(&release).await.succeeded();
    assert_ne!(operator.run(&release).await.code, 0, "nobody is held any more");
    second.exchange(&approved).await.expect(200);
    second.ask(&for_service("payments")).await.expect(202);
    let log = operator.run(&["audit", "tail", "--lines", "1000"]).await.succeeded();
    for event in [
        "org.marque.cooldown.began",
        "org.marque.quarantine.began",
        "org.marque.quarantine.released",
    ] {
        assert!(log.out.contains(event), "{event} is not in the log");
    }
    assert!(log.out.contains("the loop is fixed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_asks_too_often_is_told_when_to_come_back() {
    let daemon = strict("[denials]\nrequests_per_minute = 3\nopen_per_playbook = 2\n").await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let preview =
        |name: &str| json!({ "playbook": "restart-preview", "parameters": { "preview": name } });
    restarter.ask(&preview("pr-1")).await.expect(201);
    restarter.ask(&preview("pr-2")).await.expect(201);
    let third = restarter.ask(&preview("pr-3")).await.expect(429);
    assert_eq!(code(&third), "rate_limited", "two are open: {third:?}");
    let fourth = restarter.ask(&preview("pr-4")).await.expect(429);
    assert_eq!(code(&fourth), "rate_limited", "{fourth:?}");
    let seconds: u64 = fourth.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{fourth:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_grant_is_open_once_for_each_agent() {
    let daemon = strict("").await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let answer = restarter.ask(&restart()).await.expect(409);
    assert_eq!(code(&answer), "duplicate_grant");
    assert_eq!(answer.json()["intent_id"], intent, "{answer:?}");
    let mut for_a_task = restart();
    for_a_task["task"] = json!("another-task");
    restarter.ask(&for_a_task).await.expect(201);
    restarter.end(&intent, "cancel", &json!({})).await.expect(200);
    restarter.ask_restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_the_same_key_is_answered_alike_and_another_one_conflicts() {
    let daemon = strict("").await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let intent = restarter.ask_restart().await;
    let second = json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-2" } });
    let other = restarter.ask(&second).await.expect(201).text("id");
    let cancel = |intent: String, key: &'static str| {
        let url = format!("{}/{intent}/cancel", restarter.place.intents_url);
        let call = Call::json(&url, &json!({})).bearer(&restarter.svid);
        restarter.send(call.header("idempotency-key", key))
    };
    let first = cancel(intent.clone(), "end-1").await.expect(200);
    let again = cancel(intent, "end-1").await.expect(200);
    assert_eq!(first.json(), again.json());
    let conflict = cancel(other.clone(), "end-1").await.expect(409);
    assert_eq!(code(&conflict), "idempotency_conflict");
    restarter.exchange(&other).await.expect(200);
    let complete = |outcome: &'static str| {
        let url = format!("{}/{other}/complete", restarter.place.intents_url);
        let call = Call::json(&url, &json!({ "outcome": outcome })).bearer(&restarter.svid);
        restarter.send(call.header("idempotency-key", "done"))
    };
    complete("success").await.expect(200);
    complete("success").await.expect(200);
    assert_eq!(code(&complete("failure").await.expect(409)), "idempotency_conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_112_an_operator_finds_the_refusal_that_an_agent_was_told_and_what_was_wanted() {
    let daemon = strict("").await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let mut body = rotation();
    body["ticket"] = json!("JIRA-1");
    let answer = rotator.ask(&body).await;
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["class"]), (&json!("ticket_format"), &json!("change")));
    assert_eq!(problem["retry"], json!({ "allowed": true, "after_s": 60, "max": 5 }), "{problem}");
    assert_eq!(answer.headers["retry-after"], "60");
    let id = problem["request_id"].as_str().expect("a request_id").to_owned();
    let told = problem.to_string();
    let operator = daemon.operator(PRODUCTION);
    let shown = operator.json(&["denials", "show", &id]).await;
    assert_eq!((&shown["code"], &shown["actual"]), (&json!("ticket_format"), &json!("JIRA-1")));
    assert_eq!(shown["expected"], "^CHG-[0-9]{3,8}$", "{shown}");
    assert_eq!(shown["playbook"], "ingress-cert-rotation");
    assert!(shown["guide"].as_str().is_some_and(|guide| guide.contains("marque playbook show")));
    assert!(!told.contains("\"expected\""), "an agent is told less: {told}");
    let listed = operator.run(&["denials", "list", "--code", "ticket_format"]).await.succeeded();
    assert!(listed.out.contains(&id), "{listed:?}");
    let none = operator.json(&["denials", "list", "--code", "blackout"]).await;
    assert_eq!(none, json!([]));
    assert_ne!(operator.run(&["denials", "show", "den_00000000000000000000000000"]).await.code, 0);
    // The page has the anchor that the agent was told.
    let (page, anchor) =
        problem["doc"].as_str().and_then(|doc| doc.split_once('#')).expect("a doc");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    assert!(page.contains(&format!("\n### {anchor}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn m_125_refusals_are_counted_by_code_and_so_is_what_comes_after_them() {
    let daemon = Daemon::start_with(|trust_domains| {
        folder::be_strict(&trust_domains.join(PRODUCTION), "");
        another_playbook(trust_domains, "rotate-by-hand");
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    deny(&daemon, &intent).await;
    let other = rotator.ask(&by_playbook("rotate-by-hand")).await.expect(202).text("id");
    daemon.operator(PRODUCTION).approve(&other).await;
    rotator.ask(&json!({ "playbook": "made-up-by-the-agent" })).await.expect(400);
    let metrics = daemon.operator(PRODUCTION).json(&["metrics"]).await;
    let metrics = metrics["prometheus"].as_str().expect("a text").to_owned();
    let line =
        |parts: &[&str]| metrics.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let unknown = ["marque_denials_total", "unknown_playbook", "malformed", "playbook=\"-\""];
    assert!(line(&unknown), "{metrics}");
    let repaired =
        ["marque_denial_followed_by_success_within_1h", "approval_denied", "rotate-by-hand"];
    assert!(line(&repaired), "{metrics}");
    assert!(!metrics.contains("made-up-by-the-agent"), "an agent makes labels: {metrics}");
}
