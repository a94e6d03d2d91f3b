//! What people who log in have at the desk that local operators have, too: approving less, why they may, what the agent has
//! already, keys for retries, caps and duty; and that somebody is the same person at both doors.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::approver_login::Desk;
use crate::support::browser::Browser;
use crate::support::daemon::{PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::node::modules;
use crate::support::oauth::{Client, rotation};

/// Gives the production playbook other levels, an author, and the document more tables.
fn prepare(trust_domains: &Path, approval: &str, document: &str) {
    let folder = trust_domains.join(PRODUCTION);
    let file = folder.join("playbooks/ingress-cert-rotation.toml");
    let text = fs::read_to_string(&file).expect("the playbook");
    let text = text.replacen("\nowner = ", "\nauthor = \"user:root\"\nowner = ", 1);
    let before = text.split("[approval]").next().expect("a section [approval]");
    let section = format!("[approval]\nmode = \"always\"\non_timeout = \"deny\"\n{approval}");
    fs::write(&file, format!("{before}{section}")).expect("write the playbook");
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("the document");
    fs::write(&file, format!("{document}\n{text}")).expect("write the document");
}

async fn review(desk: &Desk, browser: &mut Browser, intent: &str) -> Value {
    browser.get(&format!("{}/intents/{intent}", desk.base)).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_approves_less_and_is_told_why_they_may_and_what_there_is_already() {
    let Some(modules) = modules() else { return };
    let desk = Desk::start(&modules, "", |_| {}).await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let first = rotator.ask_rotation().await;
    let mut alice = desk.log_in("alice").await;
    let shown = review(&desk, &mut alice, &first).await;
    assert_eq!(shown["you"]["may_approve"], true, "{shown}");
    assert_eq!(shown["you"]["groups"], json!(["platform-sre"]), "{shown}");
    assert_eq!(shown["held"]["intents"], json!([]), "{shown}");
    assert!(shown["grant"]["evidence"]["standing"]["attested_at"].is_string(), "{shown}");
    let word = |less: Value| json!({ "digest": shown["grant"]["digest"], "less": less });
    let approve = async |browser: &mut Browser, intent: &str, body: &Value, key: &str| {
        desk.decide_once(browser, (intent, "approve"), body, Some(key)).await
    };
    let longer = word(json!({ "max_duration_s": 86_400 }));
    approve(&mut alice, &first, &longer, "k-0").await.refused("exceeds_parent_scope");
    let unknown = word(json!({ "more": 1 }));
    approve(&mut alice, &first, &unknown, "k-0").await.refused("invalid_request");
    let less = word(json!({ "max_duration_s": 300 }));
    let approved = approve(&mut alice, &first, &less, "k-1").await.expect(200).json();
    assert_eq!(approved["state"], "approved", "{approved}");
    assert_eq!(approved["narrowed"][0]["from"], shown["grant"]["digest"], "{approved}");
    let seen = rotator.look(&first).await.expect(200).json();
    assert_eq!(seen["digest"], approved["grant"]["digest"]);
    // The key stands for this request and no other.
    let again = approve(&mut alice, &first, &less, "k-1").await.expect(200).json();
    assert_eq!(again["grant"]["digest"], approved["grant"]["digest"]);
    approve(&mut alice, &first, &longer, "k-1").await.refused("idempotency_conflict");
    // What the agent has by now is told beside the next one, at both doors.
    let mut other = rotation();
    other["parameters"]["service"] = "basket".into();
    let second = rotator.ask(&other).await.expect(202).text("id");
    let shown = review(&desk, &mut alice, &second).await;
    assert_eq!(shown["held"]["intents"], json!([first]), "{shown}");
    assert_eq!(shown["held"]["scopes"], json!(["secrets.update"]), "{shown}");
    let operator = desk.daemon.operator(PRODUCTION);
    let local = operator.json(&["intent", "show", &second]).await;
    assert_eq!(local["held"], shown["held"]);
    // How long it took is known of people who log in as well.
    let report = operator.json(&["report", "approvers"]).await;
    let told = report[0]["approver"].as_str().unwrap_or_default();
    assert!(told.ends_with("#alice") && report[0]["median_ms"].is_number(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_excluded_as_a_local_user_is_excluded_where_they_log_in() {
    let Some(modules) = modules() else { return };
    let levels = "exclude = [\"requester\", \"playbook_author\"]\n\
                  [[approval.levels]]\nany = [{ approve = 1, groups = [\"platform-sre\"] }]\n";
    let desk = Desk::start(&modules, "", |trust_domains| {
        prepare(trust_domains, levels, "");
        let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
        let text = fs::read_to_string(&file).expect("the document");
        let linked = "[[operators]]\nuid = 0\nemails = [\"Dana@example.org\"]\n";
        fs::write(&file, format!("{text}\n{linked}")).expect("write the document");
    })
    .await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let intent = rotator.ask_rotation().await;
    let mut dana = desk.log_in("dana").await;
    let shown = review(&desk, &mut dana, &intent).await;
    assert_eq!(shown["you"]["code"], "self_approval_forbidden", "{shown}");
    let word = json!({ "digest": shown["grant"]["digest"] });
    desk.decide(&mut dana, &intent, "approve", &word).await.refused("self_approval_forbidden");
    let mut alice = desk.log_in("alice").await;
    desk.decide(&mut alice, &intent, "approve", &word).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn duty_and_the_hourly_cap_are_theirs_who_log_in_as_well() {
    let Some(modules) = modules() else { return };
    let levels = "[[approval.levels]]\nany = [{ approve = 1, groups = [\"on-call\"] }]\n";
    let desk = Desk::start(&modules, "", |trust_domains| {
        prepare(trust_domains, levels, "");
        let folder = trust_domains.join(PRODUCTION);
        let file = folder.join("trust-domain.toml");
        let text = fs::read_to_string(&file).expect("the document");
        fs::write(&file, format!("{text}\n[approvals]\nmax_per_hour = 1\n")).expect("write it");
        fs::create_dir(folder.join("rosters")).expect("a folder");
        let roster = "apiVersion = \"marque/v1\"\nkind = \"Roster\"\ngroup = \"on-call\"\n\
                      time_zone = \"UTC\"\n[[shifts]]\nmembers = [\"email:dana@example.org\"]\n\
                      starts = \"2020-01-01T00:00:00Z\"\nends = \"2120-01-01T00:00:00Z\"\n";
        fs::write(folder.join("rosters/on-call.toml"), roster).expect("write the roster");
    })
    .await;
    let first = Client::start(&desk.daemon, ROTATOR).await.ask_rotation().await;
    let second = Client::start(&desk.daemon, SECOND_ROTATOR).await.ask_rotation().await;
    let mut alice = desk.log_in("alice").await;
    alice.get(&format!("{}/intents/{first}", desk.base)).await.expect(404);
    let mut dana = desk.log_in("dana").await;
    let word = json!({ "digest": desk.digest(&mut dana, &first).await });
    desk.decide(&mut alice, &first, "approve", &word).await.expect(404);
    desk.decide(&mut dana, &first, "approve", &word).await.expect(200);
    let word = json!({ "digest": desk.digest(&mut dana, &second).await });
    desk.decide(&mut dana, &second, "approve", &word).await.refused("approver_queue_full");
}
