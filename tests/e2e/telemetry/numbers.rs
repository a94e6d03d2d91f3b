//! The numbers of what was done, in the scrape and in the live view.

use std::fs;

use serde_json::json;

use super::{DOMAIN, in_words};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, ROTATOR};
use crate::support::folder;
use crate::support::oauth::{Client, approved_rotation, exchange_fields};
use crate::support::telemetry::{Numbers, ask};
use crate::support::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn m_122_to_m_132_each_number_is_that_of_what_was_done() {
    let inventory = tempfile::NamedTempFile::new().unwrap();
    let line =
        format!("marque_inventory_stored_secret_workflows{{trust_domain=\"{PRODUCTION}\"}} 3\n");
    fs::write(inventory.path(), line).unwrap();
    let arguments =
        vec!["--inventory-metrics".to_owned(), inventory.path().to_str().unwrap().to_owned()];
    let daemon = Daemon::start_told(
        |trust_domains| folder::be_strict(&trust_domains.join(PRODUCTION), ""),
        arguments,
    )
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let before = Numbers::of(&daemon).await;
    assert_eq!(before.sum("marque_privileged_actions_total", &[DOMAIN]), 0.0);

    let intent = rotator.ask_rotation().await;
    until("one request that waits", async || {
        let numbers = Numbers::of(&daemon).await;
        (numbers.sum("marque_intents_pending", &[DOMAIN]) == 1.0).then_some(())
    })
    .await;
    daemon.operator(PRODUCTION).approve(&intent).await;
    // More than was granted, which is an attempt and gives nothing.
    let mut wider = exchange_fields(&rotator.svid, &intent);
    wider.push(("scope", "secrets.update secrets.delete".to_owned()));
    assert!(rotator.token(&wider).await.status >= 400);
    let token = rotator.exchange(&intent).await.expect(200);
    let lifetime = token.json()["expires_in"].as_f64().unwrap();
    rotator.ask(&json!({ "playbook": "made-up-by-the-agent" })).await.expect(400);

    let numbers = until("the numbers", async || {
        let numbers = Numbers::of(&daemon).await;
        (numbers.sum("marque_elevation_denied_total", &[("code", "unknown_playbook")]) > 0.0)
            .then_some(numbers)
    })
    .await;
    let of = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = [&[DOMAIN], labels].concat();
        numbers.sum(name, &labels)
    };
    // M 122: one workflow works with short-lived credentials, three have stored secrets.
    assert_eq!(of("marque_workflows", &[("credential", "short_lived")]), 1.0);
    assert_eq!(of("marque_workflows", &[("credential", "stored_secret")]), 3.0);
    assert_eq!(of("marque_workflows_short_lived_ratio", &[]), 0.25);
    let unknown = [("trust_domain", NON_PRODUCTION), ("credential", "stored_secret")];
    assert!(!numbers.has("marque_workflows", &unknown), "a number that nobody knows");
    // The admin socket says the same; and once nobody knows any more, there is no number.
    fs::write(inventory.path(), "").unwrap();
    let told = daemon.operator(PRODUCTION).json(&["metrics"]).await;
    let forgotten = Numbers::read(told["prometheus"].as_str().unwrap());
    assert!(forgotten.sum("marque_workflows_short_lived_ratio", &[DOMAIN]).is_nan());
    // M 123, M 124, M 126.
    assert_eq!(of("marque_privileged_actions_total", &[("through", "playbook")]), 1.0);
    assert_eq!(of("marque_privileged_actions_total", &[("through", "break_glass")]), 0.0);
    let median = of("marque_credential_lifetime_median_seconds", &[]);
    assert!((median - lifetime).abs() <= 1.0, "{median} is not {lifetime}");
    assert_eq!(of("marque_credential_lifetime_seconds_count", &[]), 1.0);
    assert_eq!(of("marque_production_changes_total", &[("linked", "both")]), 1.0);
    assert_eq!(of("marque_production_changes_total", &[]), 1.0);
    // M 125, M 132.
    let refused = [("stage", "request"), ("code", "unknown_playbook"), ("class", "malformed")];
    assert_eq!(of("marque_elevation_denied_total", &refused), 1.0);
    let token_refused = of("marque_elevation_denied_total", &[("stage", "token")]);
    assert_eq!((token_refused, of("marque_scope_violations_total", &[])), (1.0, 1.0));
    // M 127, M 129.
    assert_eq!(of("marque_shared_identities", &[]), 0.0);
    assert_eq!(of("marque_break_glass_30d", &[]), 0.0);
    // M 128: the wait, the share of yes, and what needs no person.
    assert_eq!(of("marque_approval_wait_seconds_count", &[("outcome", "approved")]), 1.0);
    let yes = [("outcome", "approved"), ("by", "person")];
    assert_eq!(of("marque_requests_decided_total", &yes), 1.0);
    assert_eq!(
        of("marque_requests_decided_total", &[("outcome", "denied"), ("by", "policy")]),
        1.0
    );
    // M 138.
    for check in ["attestation", "decision", "exchange", "record"] {
        assert!(numbers.sum("marque_check_seconds_count", &[("check", check)]) > 0.0, "{check}");
    }
    assert_eq!(of("marque_grants_open", &[]), 1.0);
    assert_eq!(of("marque_tokens_issued_total", &[("kind", "access_token")]), 1.0);
    let names = ask(&daemon, "/metrics").await.body;
    for secret in ["cert-rotator", "made-up-by-the-agent", "CHG-1842", intent.as_str()] {
        assert!(!names.contains(secret), "a label says {secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_matters_is_counted_after_a_restart() {
    let mut daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    approved_rotation(&daemon, &rotator).await;
    rotator.ask(&json!({ "playbook": "made-up-by-the-agent" })).await.expect(400);
    drop(rotator);
    daemon.stop().await;
    daemon.launch().await;
    let numbers = until("the figures", async || {
        let numbers = Numbers::of(&daemon).await;
        (numbers.sum("marque_grants_open", &[DOMAIN]) == 1.0).then_some(numbers)
    })
    .await;
    // What happened before is not counted again.
    assert_eq!(numbers.sum("marque_elevation_denied_total", &[DOMAIN]), 0.0);
    assert_eq!(numbers.sum("marque_requests_decided_total", &[DOMAIN]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_one_picture_as_text_and_as_json() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask_rotation().await;
    rotator.ask(&json!({ "playbook": "no-such" })).await.expect(400);
    daemon
        .operator(PRODUCTION)
        .kill(&["agent", &daemon.place(PRODUCTION).id("/agent/nobody")])
        .await;
    until("what is to be shown", async || {
        let numbers = Numbers::of(&daemon).await;
        let waits = numbers.sum("marque_intents_pending", &[DOMAIN]) == 1.0;
        (waits && numbers.has("marque_elevation_denied_total", &[DOMAIN])).then_some(())
    })
    .await;
    let said = in_words(&daemon, &["top", "--once"]).await;
    let row = said.lines().find(|line| line.starts_with(PRODUCTION)).expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words.get(1..5), Some(&["yes", "1", "0", "1"][..]), "{said:?}");
    assert!(said.contains("unknown_playbook"), "{said:?}");
    let told = daemon.operator(PRODUCTION).json(&["top", "--once"]).await;
    assert_eq!(told["trust_domains"][0]["approvals_waiting"], 1, "{told}");
    assert_eq!(told["denials"][0]["code"], "unknown_playbook", "{told}");
}
