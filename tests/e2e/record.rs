//! The record: what one run leaves in the log, read from an exported copy.

use std::fs;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, approved_rotation, rotation};
use crate::support::tokens::claims;

/// The one leaf of this kind about the intent.
fn leaf<'a>(leaves: &'a [Value], kind: &str, intent: &str) -> &'a Value {
    let found: Vec<&Value> = leaves
        .iter()
        .filter(|leaf| leaf["type"] == kind && leaf["data"]["intent"] == intent)
        .collect();
    assert_eq!(found.len(), 1, "{kind} of {intent}: {found:?} in {leaves:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_ties_request_approver_policy_and_use_together() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;

    let agent = json!(rotator.place.id(ROTATOR.path));
    let requested = leaf(&leaves, "org.marque.intent.requested", &intent);
    assert_eq!(
        (&requested["data"]["agent"], &requested["data"]["ticket"]),
        (&agent, &json!("CHG-1842"))
    );
    assert_eq!(requested["data"]["playbook"]["id"], "ingress-cert-rotation");
    for value in ["checkout", "eu-west-1", INGRESS.audience, INGRESS.scope] {
        assert!(requested.to_string().contains(value), "`{value}` is not in {requested}");
    }
    let pending = leaf(&leaves, "org.marque.intent.pending", &intent);
    assert!(pending["data"]["policy"]["digest"].is_string(), "{pending}");
    assert!(!pending["data"]["policy"]["rules"].as_array().unwrap().is_empty(), "{pending}");
    let recorded = leaf(&leaves, "org.marque.approval.recorded", &intent);
    let uid = format!("({})", nix::unistd::geteuid());
    assert!(recorded["data"]["actor"].as_str().unwrap().contains(&uid), "{recorded}");
    let issued = leaf(&leaves, "org.marque.token.issued", &intent);
    assert_eq!(issued["data"]["token_id"], claims(&token)["jti"]);
    assert_eq!(issued["data"]["grant_digest"], recorded["data"]["grant_digest"]);
    assert!(issued["data"]["expires_at"].is_string(), "{issued}");
    // The record of the privilege says by itself who has it, for what, under which ticket, by whose approval, until when.
    assert_eq!((&issued["data"]["agent"], &issued["data"]["ticket"]), (&agent, &json!("CHG-1842")));
    let approvers = issued["data"]["detail"]["approvers"].as_array().expect("approvers");
    assert_eq!(approvers, &[recorded["data"]["actor"].clone()], "{issued}");
    for told in ["owner", "resources"] {
        assert_eq!(issued["data"]["detail"][told], requested["data"]["detail"][told], "{told}");
    }
    let sequence: Vec<u64> =
        leaves.iter().map(|leaf| leaf["id"].as_str().unwrap().parse().unwrap()).collect();
    assert!(
        sequence.iter().enumerate().all(|(place, number)| place as u64 == *number),
        "{sequence:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_in_the_log_too() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let mut no_ticket = rotation();
    no_ticket.as_object_mut().unwrap().remove("ticket");
    rotator.ask(&no_ticket).await.refused("ticket_missing");
    rotator
        .ask(&json!({ "scopes": ["network:write"] }))
        .await
        .refused("raw_permissions_not_requestable");
    let intent = rotator.ask_rotation().await;
    rotator.exchange(&intent).await.refused("approval_pending");
    let approve = daemon.operator(PRODUCTION).arguments(&["approve", "--yes", &intent]);
    let mut agent = rotator.workload;
    assert_ne!(agent.run(crate::support::programs::marque(), &approve).await.code, 0);
    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    for (kind, code) in [
        ("org.marque.intent.denied", "ticket_missing"),
        ("org.marque.intent.denied", "raw_permissions_not_requestable"),
        ("org.marque.token.refused", "approval_pending"),
        ("org.marque.approval.refused", "self_approval_forbidden"),
    ] {
        let found = leaves.iter().any(|leaf| leaf["type"] == kind && leaf["data"]["code"] == code);
        assert!(found, "no {kind} with {code} in {leaves:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_byte_in_a_copy_is_found() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    let copy = daemon.path("log");
    log::export(&operator, &copy).await;
    let entries = log::first_bundle(&copy);
    let mut bytes = fs::read(&entries).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&entries, bytes).unwrap();
    let said = operator.run(&["audit", "verify", "--log", &copy.display().to_string()]).await;
    assert_eq!(said.code, 1, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_history_does_not_fit_a_kept_checkpoint() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask_rotation().await;
    let operator = daemon.operator(PRODUCTION);
    log::export(&operator, &daemon.path("log")).await;
    let kept = daemon.path("log").join("checkpoint").display().to_string();
    operator.run(&["audit", "verify", "--checkpoint", &kept]).await.succeeded();
    // The other trust domain's log is signed as well, and is another log.
    let restarter = Client::start(&daemon, RESTARTER).await;
    restarter.ask_restart().await;
    let other = daemon.operator(RESTARTER.trust_domain);
    let said = other.run(&["audit", "verify", "--checkpoint", &kept]).await;
    assert_eq!(said.code, 1, "{said:?}");
}
