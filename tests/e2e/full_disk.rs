//! A full disk: nothing is answered that is not recorded, nothing that was refused is spent, and the kill switch works.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::Answer;
use crate::support::log;
use crate::support::oauth::{Client, PREVIEW, restart};
use crate::support::small_disk::SmallDisk;
use crate::support::tokens::claims;

/// What is there already takes this many more records at most: pages that the database has, but does not use.
const MORE: usize = 2000;
/// How many approved intents are kept for the full disk.
const APPROVED: usize = 24;

/// A daemon whose data is on a small disk of its own.
async fn daemon() -> Option<(Daemon, SmallDisk)> {
    let mut disk = None;
    let daemon = Daemon::start_with(|trust_domains: &Path| {
        let folder = trust_domains.parent().expect("the test's folder");
        disk = SmallDisk::mount(&folder.join("s"));
    })
    .await;
    Some((daemon, disk?))
}

fn answered(answer: &Answer, status: u16) -> bool {
    match answer.status {
        503 => false,
        given => {
            assert_eq!(given, status, "{answer:?}");
            true
        }
    }
}

/// Asks until that cannot be recorded; what was answered until then.
async fn ask_until_refused(agent: &Client) -> Vec<String> {
    let mut intents = Vec::new();
    for _ in 0..MORE {
        let answer = agent.ask(&restart()).await;
        if !answered(&answer, 201) {
            assert_eq!(answer.json()["code"], "audit_unavailable", "{answer:?}");
            return intents;
        }
        intents.push(answer.text("id"));
        agent.end(&answer.text("id"), "cancel", &Value::Null).await;
    }
    panic!("{MORE} requests were recorded on a full disk");
}

/// Exchanges one after the other until that cannot be recorded: the tokens, and those that were refused.
async fn exchange_all(agent: &Client, intents: &[String]) -> (BTreeSet<String>, Vec<String>) {
    let (mut tokens, mut refused) = (BTreeSet::new(), Vec::new());
    for intent in intents {
        let answer = agent.exchange(intent).await;
        if answered(&answer, 200) {
            tokens.insert(token_id(&answer));
        } else {
            assert!(answer.json().get("access_token").is_none(), "{answer:?}");
            refused.push(intent.clone());
        }
    }
    (tokens, refused)
}

fn token_id(answer: &Answer) -> String {
    claims(&answer.text("access_token"))["jti"].as_str().expect("a jti").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_gives_nothing_that_is_not_recorded_and_spends_nothing() {
    let Some((daemon, disk)) = daemon().await else { return };
    let agent = Client::start(&daemon, RESTARTER).await;
    let mut approved = Vec::new();
    for _ in 0..APPROVED {
        approved.push(agent.ask_restart().await);
    }
    disk.fill();
    let asked = ask_until_refused(&agent).await;
    let (mut tokens, refused) = exchange_all(&agent, &approved).await;
    assert!(!refused.is_empty(), "{APPROVED} exchanges were recorded on a full disk");
    disk.free();

    let (late, still_refused) = exchange_all(&agent, &refused).await;
    assert_eq!((late.len(), still_refused), (refused.len(), Vec::new()));
    tokens.extend(late);
    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    let told = |kind: &str, member: &str| -> BTreeSet<String> {
        let of_kind = leaves.iter().filter(|leaf| leaf["type"] == kind);
        of_kind.filter_map(|leaf| leaf["data"][member].as_str()).map(ToOwned::to_owned).collect()
    };
    assert_eq!(told("org.marque.token.issued", "token_id"), tokens);
    let all: BTreeSet<String> = approved.into_iter().chain(asked).collect();
    assert_eq!(told("org.marque.intent.requested", "intent"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_on_a_full_disk_is_in_force_and_recorded_once_there_is_room() {
    let Some((daemon, disk)) = daemon().await else { return };
    let agent = Client::start(&daemon, RESTARTER).await;
    let resource = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let intent = agent.ask_restart().await;
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    assert!(resource.is_active(&token).await);
    disk.fill();
    ask_until_refused(&agent).await;
    let id = agent.place.id(RESTARTER.path);
    let operator = daemon.operator(NON_PRODUCTION);
    let said = operator.run(&["kill", "agent", &id, "--yes", "--reason", "runs in circles"]).await;
    assert!(!resource.is_active(&token).await, "the token is still live: {said:?}");
    assert!(!answered(&agent.ask(&restart()).await, 201), "a refusal that cannot be recorded");
    disk.free();
    agent.ask(&restart()).await.refused("kill_switch_agent");
    // Whatever was said of it, ordering it again on a disk with room records it.
    operator.kill(&["agent", &id]).await;
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let told = leaves.iter().any(|leaf| leaf["type"] == "org.marque.kill");
    assert!(told, "no kill in {leaves:#?}");
    assert!(!resource.is_active(&token).await);
}
