//! What goes on for longer than it should.

use serde_json::json;

use super::{
    PRODUCTION_DOCUMENT, RESTART, ROTATION, another_playbook, checked, recorded, restart_of,
};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::folder::{append, edit};
use crate::support::oauth::{Client, PREVIEW, rotation};
use crate::support::tokens::claims;

#[tokio::test(flavor = "multi_thread")]
async fn credential_persistence() {
    let daemon = Daemon::start_with(|trust_domains| {
        append(trust_domains, PRODUCTION_DOCUMENT, "\n[playbooks]\noverdue = \"refuse\"\n");
        // An exception by name: the procedure that somebody wanted for a quarter.
        let overdue = ("review_by = \"2027-03-01\"", "review_by = \"2026-01-01\"");
        another_playbook(trust_domains, ROTATION, "rotation-for-a-quarter", &[overdue]);
    })
    .await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    // The same for the same agent, again and again: each ends, and together they are told.
    let operator = daemon.operator(NON_PRODUCTION);
    operator.run(&["report", "renewed", "--fail"]).await.succeeded();
    let mut tokens = Vec::new();
    for _ in 0..6 {
        let intent = restarter.ask_restart().await;
        tokens.push(restarter.exchange(&intent).await.expect(200).text("access_token"));
        let done = json!({ "outcome": "success" });
        restarter.end(&intent, "complete", &done).await.expect(200);
        restarter.exchange(&intent).await.refused("grant_completed");
    }
    for token in &tokens {
        assert!(!restarter.is_active(token).await, "a credential outlived its grant");
    }
    let told = operator.run(&["report", "renewed", "--fail"]).await.failed().json();
    assert_eq!(told[0]["facts"]["times"], 6, "{told}");
    // What nobody looked at again in time is told, and refused where the trust domain says so.
    let rotator = Client::start(&daemon, ROTATOR).await;
    let mut exception = rotation();
    exception["playbook"] = json!("rotation-for-a-quarter");
    rotator.ask(&exception).await.refused("playbook_version_stale");
    let exceptions = ["report", "exceptions", "--fail"];
    let told = daemon.operator(PRODUCTION).run(&exceptions).await.failed();
    assert!(told.out.contains("rotation-for-a-quarter"), "{told:?}");
    recorded(&daemon, PRODUCTION, &[("intent.denied", "playbook_version_stale")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_task() {
    // An hour for what takes three minutes is refused before it is served.
    for (from, to) in [
        ("retry_buffer = \"2m\"", "retry_buffer = \"57m\""),
        ("expected_runtime = \"3m\"", "expected_runtime = \"60m\""),
    ] {
        let said = checked(ROTATION, from, to).await;
        assert_eq!(said.code, 1, "`{to}`: {said:?}");
    }
    let daemon = Daemon::start_with(|trust_domains| {
        edit(trust_domains, RESTART, "max_duration = \"10m\"", "max_duration = \"2h\"");
        edit(trust_domains, RESTART, "uses = 1", "uses = 2");
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let intent = agent.ask(&restart_of("pr-1")).await.expect(201).text("id");
    let answer = agent.exchange(&intent).await.expect(200);
    let token = answer.text("access_token");
    let said = claims(&token);
    let lives = said["exp"].as_u64().expect("exp") - said["iat"].as_u64().expect("iat");
    assert!(lives <= 180, "two minutes and one for a second try: {lives}");
    assert!(answer.json()["expires_in"].as_u64() <= Some(180), "{answer:?}");
    assert!(preview.is_active(&token).await);
    // With the task ends what it was given, and the use that was left.
    agent.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    assert!(!preview.is_active(&token).await, "the token outlived its task");
    agent.exchange(&intent).await.expect(400).refused("grant_completed");
    let leaves = recorded(&daemon, NON_PRODUCTION, &[("token.refused", "grant_completed")]).await;
    assert!(leaves.iter().any(|leaf| leaf["type"] == "org.marque.intent.completed"));

    // Nobody gets round it by asking for a longer one.
    let rotator = Client::start(&daemon, ROTATOR).await;
    let mut longer = rotation();
    longer["max_duration"] = json!("8h");
    let refused = rotator.ask(&longer).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}
