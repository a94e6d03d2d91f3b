//! Emergencies: a narrow playbook, one named responder, and nobody who does not hear of it (M 51 to M 53).

use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::log;
use crate::support::oauth::Client;
use crate::support::wait::until;

const REMEDIATION: &str =
    include_str!("../../crates/intent/testdata/emergency-network-remediation.toml");

/// Adds an emergency playbook to the production trust domain.
fn write(trust_domains: &Path, id: &str, text: &str) {
    let text = text.replace("\"emergency-network-remediation\"", &format!("\"{id}\""));
    let file = trust_domains.join(PRODUCTION).join("playbooks").join(format!("{id}.toml"));
    std::fs::write(file, text).expect("write the playbook");
}

fn emergency(playbook: &str) -> Value {
    json!({
        "playbook": playbook,
        "parameters": { "segment": "seg-7" },
        "ticket": "INC-4711",
        "justification": "the segment is down",
    })
}

const PLAYBOOK: &str = "emergency-network-remediation";

async fn start() -> (Daemon, Client) {
    let daemon = Daemon::start_with(|trust_domains| {
        write(trust_domains, PLAYBOOK, REMEDIATION);
        // Nobody here is this responder.
        let nobody = REMEDIATION.replace("\"group:operators\"", "\"operator:somebody-else\"");
        write(trust_domains, "emergency-of-another", &nobody);
        // A supervised migration: the same machinery, another purpose (M 53).
        let migration = REMEDIATION
            .replace("emergency.network-remediation", "emergency.supervised-migration")
            .replace("network.remediate", "network.migrate");
        write(trust_domains, "emergency-supervised-migration", &migration);
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    (daemon, rotator)
}

async fn findings(daemon: &Daemon, which: &str) -> Vec<Value> {
    let told = daemon.operator(PRODUCTION).json(&["report", which, "--since", "1d"]).await;
    told.as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn m_51_a_named_responder_breaks_the_glass_and_everybody_hears_of_it() {
    let (daemon, rotator) = start().await;
    let intent = rotator.ask(&emergency(PLAYBOOK)).await.expect(202).text("id");
    daemon.operator(PRODUCTION).approve(&intent).await;
    rotator.exchange(&intent).await.expect(200);
    rotator.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    let kinds: Vec<String> = log::export(&daemon.operator(PRODUCTION), &daemon.path("log"))
        .await
        .iter()
        .filter_map(|event| event["type"].as_str().map(str::to_owned))
        .filter(|kind| kind.starts_with("org.marque.break_glass."))
        .collect();
    let steps = ["requested", "activated", "used", "ended"];
    assert_eq!(kinds, steps.map(|step| format!("org.marque.break_glass.{step}")));
    until("the alert", async || daemon.output().contains("the glass is broken").then_some(()))
        .await;
    let metrics = daemon.operator(PRODUCTION).json(&["metrics"]).await.to_string();
    assert!(metrics.contains("marque_break_glass_total"), "{metrics}");
    // Whoever approved it does not review it.
    let review = ["break-glass", "review", &intent, "--finding", "needed"];
    let refused = daemon.operator(PRODUCTION).run(&review).await;
    assert!(refused.code != 0 && refused.err.contains("self_approval_forbidden"), "{refused:?}");
    let listed = findings(&daemon, "break-glass").await;
    assert!(listed.iter().any(|one| one["subject"] == json!(intent)), "{listed:?}");
    daemon.operator(PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_responder_answers_an_emergency() {
    let (daemon, rotator) = start().await;
    let intent = rotator.ask(&emergency("emergency-of-another")).await.expect(202).text("id");
    let refused = daemon.operator(PRODUCTION).run(&["approve", "--yes", &intent]).await;
    assert!(refused.code != 0 && refused.err.contains("approver_not_eligible"), "{refused:?}");
    // Nor does approving less.
    let less = ["approve", "--yes", "--max-duration", "5m", &intent];
    let refused = daemon.operator(PRODUCTION).run(&less).await;
    assert!(refused.code != 0 && refused.err.contains("approver_not_eligible"), "{refused:?}");
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await;
    let told = (&shown["you"]["may_approve"], &shown["you"]["code"]);
    assert_eq!(told, (&json!(false), &json!("approver_not_eligible")), "{shown}");
    rotator.exchange(&intent).await.oauth_error("access_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn break_glass_as_standing_privilege() {
    let (daemon, rotator) = start().await;
    let intent = rotator.ask(&emergency(PLAYBOOK)).await.expect(202).text("id");
    // One is open, then one has just been.
    rotator.ask(&emergency(PLAYBOOK)).await.refused("concurrent_grant_limit");
    daemon.operator(PRODUCTION).approve(&intent).await;
    rotator.exchange(&intent).await.expect(200);
    rotator.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    rotator.ask(&emergency(PLAYBOOK)).await.refused("rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_129_glass_that_is_broken_too_often_is_an_alert_and_a_trend() {
    let daemon = Daemon::start_with(|trust_domains| {
        let once = REMEDIATION.replace("alert_above = 3", "alert_above = 1");
        assert_ne!(once, REMEDIATION, "the threshold is another one by now");
        write(trust_domains, PLAYBOOK, &once);
    })
    .await;
    let operator = daemon.operator(PRODUCTION);
    const ALERT: &str = "the glass is broken too often";
    for (role, often) in [(ROTATOR, 1), (SECOND_ROTATOR, 2)] {
        let agent = Client::start(&daemon, role).await;
        let intent = agent.ask(&emergency(PLAYBOOK)).await.expect(202).text("id");
        assert!(!daemon.output().contains(ALERT), "{often}");
        operator.approve(&intent).await;
        until("the trend", async || {
            let told = operator.json(&["metrics"]).await;
            let metrics = told["prometheus"].as_str().expect("a text");
            let own = metrics.lines().find(|line| line.starts_with("marque_break_glass_30d"))?;
            own.ends_with(&format!(" {often}")).then_some(())
        })
        .await;
    }
    until("the alert", async || daemon.output().contains(ALERT).then_some(())).await;
    let told = findings(&daemon, "break-glass").await;
    let trend = told.iter().find(|one| one["subject"] == PLAYBOOK).expect("a trend");
    assert_eq!((&trend["facts"]["in_30_days"], &trend["act"]), (&json!(2), &json!(true)));
    operator.run(&["report", "break-glass", "--fail"]).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn m_53_a_supervised_migration_is_an_emergency_with_an_end() {
    let (daemon, rotator) = start().await;
    let intent = rotator.ask(&emergency("emergency-supervised-migration")).await.expect(202).json();
    assert_eq!(intent["grant"]["scopes"], json!(["network.migrate"]));
    assert_eq!(intent["grant"]["emergency"]["post_review_within_s"], 86_400);
    assert!(intent["expires_at"].is_string() && intent["grant"]["not_after"].is_string());
    let id = intent["id"].as_str().expect("an id");
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", id]).await;
    assert_eq!(shown["grant"]["emergency"]["responders"], json!(["group:operators"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_got_round_by_breaking_the_glass_is_reported() {
    let (daemon, rotator) = start().await;
    let mut rotation = crate::support::oauth::rotation();
    rotation["ticket"] = json!("JIRA-1");
    rotator.ask(&rotation).await.refused("ticket_format");
    rotator.ask(&emergency(PLAYBOOK)).await.expect(202);
    let told = findings(&daemon, "denials").await;
    let found = told.iter().find(|one| one["facts"]["code"] == "ticket_format").expect("a finding");
    assert_eq!((&found["facts"]["then_break_glass"], &found["act"]), (&json!(1), &json!(true)));
    let failed = daemon.operator(PRODUCTION).run(&["report", "denials", "--fail"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_is_made_by_the_daemon() {
    let (daemon, rotator) = start().await;
    let intent = crate::support::oauth::approved_rotation(&daemon, &rotator).await;
    rotator.exchange(&intent).await.expect(200);
    for which in [
        "all",
        "renewed",
        "near-permanent",
        "exceptions",
        "over-grant",
        "denials",
        "unowned",
        "approvals",
        "break-glass",
    ] {
        let said = daemon.operator(PRODUCTION).run(&["report", which]).await.succeeded();
        assert!(said.json().is_array(), "{which}: {said:?}");
    }
    let approvals = findings(&daemon, "approvals").await;
    assert_eq!(approvals[0]["facts"]["approve_rate_percent"], 100, "{approvals:?}");
    // The agents of the tests belong to a group that has nobody in it.
    let unowned = findings(&daemon, "unowned").await;
    assert!(!unowned.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_riskier_is_never_left_out_of_a_short_queue() {
    let (daemon, rotator) = start().await;
    let risky = rotator.ask(&emergency(PLAYBOOK)).await.expect(202).text("id");
    let usual = rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    let listed = async |limit: &str| {
        let all = operator.json(&["intent", "list", "--state", "pending", "--limit", limit]).await;
        let ids = all.as_array().expect("a list").iter().map(|one| one["id"].clone());
        ids.collect::<Vec<_>>()
    };
    // The newest is not the one that matters most.
    assert_eq!(listed("1").await, [json!(risky)]);
    assert_eq!(listed("2").await, [json!(risky), json!(usual)]);
}
