//! `marque playbook`: new, lint, diff, test and simulate, over files alone; and what a daemon makes of phases, deliveries
//! and versions.

use std::fs;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::folder;
use crate::support::oauth::{Client, rotation};
use crate::support::operator::{Said, run_marque};
use crate::support::tokens::claims;

const PLAYBOOK: &str = "playbooks/ingress-cert-rotation.toml";

/// A copy of the production trust domain's folder.
fn production() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    folder::copy(&folder::shipped(), scratch.path());
    let folder = scratch.path().join("prod.example.org");
    (scratch, folder)
}

async fn marque(arguments: &[&str]) -> Said {
    let all = ["--output", "json", "playbook"].iter().chain(arguments);
    run_marque(&all.map(|one| (*one).to_owned()).collect::<Vec<_>>()).await
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} does not hold `{from}`", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn a_new_playbook_is_one_that_a_folder_takes() {
    let (_scratch, folder) = production();
    let listed = marque(&["new", "--list"]).await.succeeded().json();
    for template in listed.as_array().unwrap() {
        let name = template["name"].as_str().unwrap();
        let made = marque(&["new", "made-here", "--template", name]).await.succeeded().json();
        fs::write(folder.join("playbooks/made-here.toml"), made.as_str().unwrap()).unwrap();
        let said = marque(&["lint", &path(&folder), "--strict"]).await;
        assert_eq!(said.code, 0, "{name}: {said:?}");
    }
    assert!(listed.as_array().unwrap().len() >= 9);
    assert_eq!(marque(&["new", "made-here", "--template", "nothing"]).await.code, 2);
    assert_eq!(marque(&["new"]).await.code, 2);
}

#[tokio::test]
async fn the_lint_fails_on_errors_and_where_it_is_strict_on_warnings() {
    let (_scratch, folder) = production();
    let file = folder.join(PLAYBOOK);
    edit(&file, "status = \"active\"", "status = \"deprecated\"");
    let said = marque(&["lint", &path(&folder)]).await.succeeded().json();
    assert_eq!(said[0]["severity"], "warning", "{said}");
    assert!(said[0]["line"].is_u64(), "{said}");
    assert_eq!(marque(&["lint", &path(&folder), "--strict"]).await.code, 1);
    edit(&file, "uses = 1", "uses = 0");
    let said = marque(&["lint", &path(&file)]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("time.uses"), "{said:?}");
}

#[tokio::test]
async fn a_version_that_was_published_keeps_its_content() {
    let (_before, published) = production();
    let (_scratch, folder) = production();
    let file = folder.join(PLAYBOOK);
    let lint = || async { marque(&["lint", &path(&folder), "--before", &path(&published)]).await };
    lint().await.succeeded();
    edit(&file, "uses = 1", "uses = 2");
    let said = lint().await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("give this one 2"), "{said:?}");
    edit(&file, "version = 1", "version = 2");
    lint().await.succeeded();
}

#[tokio::test]
async fn a_diff_says_what_became_wider() {
    let (_before, published) = production();
    let (_scratch, folder) = production();
    let (old, new) = (path(&published.join(PLAYBOOK)), path(&folder.join(PLAYBOOK)));
    let said = marque(&["diff", &old, &new]).await.succeeded().json();
    assert_eq!(said, json!({ "enforced_part_changed": false, "differences": [] }));
    edit(&folder.join(PLAYBOOK), "max_duration = \"10m\"", "max_duration = \"1h\"");
    let said = marque(&["diff", &old, &new]).await.succeeded().json();
    assert_eq!(said["enforced_part_changed"], true);
    assert_eq!(said["differences"][0]["effect"], "wider");
    assert_eq!(said["differences"][0]["sentence"], "`time.max_duration` was `10m` and is `1h`");
    assert_eq!(marque(&["diff", &old, &new, "--refuse-wider"]).await.code, 1);
    assert_eq!(marque(&["diff", &new, &old, "--refuse-wider"]).await.code, 0);
}

const CASE: &str = r#"
[[case]]
name = "one rotation"
now = "2026-11-10T09:00:00Z"
agent = "spiffe://prod.example.org/agent/cert-rotator/one"
request = { playbook = "ingress-cert-rotation", ticket = "CHG-1842", parameters = { service = "checkout", region = "eu-west-1" } }
expect = "ask"
grant = { uses = 1 }
resource = "k8s://eu-west-1/ns/ingress/secret/checkout-tls"
"#;

#[tokio::test]
async fn the_cases_of_a_folder_are_run_by_the_test_and_by_the_check() {
    let (_scratch, folder) = production();
    fs::create_dir_all(folder.join("playbooks/tests")).unwrap();
    let file = folder.join("playbooks/tests/rotation.toml");
    fs::write(&file, CASE).unwrap();
    let results = marque(&["test", &path(&folder)]).await.succeeded().json();
    assert_eq!(results[0]["outcome"]["result"], "passed", "{results}");
    edit(&file, "uses = 1", "uses = 2");
    let said = marque(&["test", &path(&folder)]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("expected `uses` to be 2, got 1"), "{said:?}");
    let check = ["--output", "json", "check", &path(&folder)].map(ToOwned::to_owned);
    let said = run_marque(&check).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("case `one rotation`"), "{said:?}");
}

async fn simulate(folder: &Path, request: &Value) -> Said {
    let file = folder.join("request.json");
    fs::write(&file, request.to_string()).unwrap();
    let agent = "spiffe://prod.example.org/agent/cert-rotator/one";
    let at = "2026-11-10T09:00:00Z";
    marque(&["simulate", &path(folder), &path(&file), "--agent", agent, "--at", at]).await
}

#[tokio::test]
async fn m_29_m_30_what_a_request_would_give_is_known_before_it_is_asked() {
    let (_scratch, folder) = production();
    let parameters = json!({ "service": "checkout", "region": "eu-west-1" });
    let asked = |ticket: &str| json!({ "playbook": "ingress-cert-rotation", "ticket": ticket, "parameters": parameters });
    let said = simulate(&folder, &asked("CHG-1842")).await.succeeded().json();
    assert_eq!(said["outcome"], "ask", "{said}");
    assert_eq!(
        said["grant"]["resources"],
        json!(["k8s://eu-west-1/ns/ingress/secret/checkout-tls"])
    );
    assert_eq!(said["grant"]["uses"], 1);
    let again = simulate(&folder, &asked("CHG-1842")).await.succeeded().json();
    assert_eq!(said["digest"], again["digest"]);
    let said = simulate(&folder, &asked("INC-7")).await;
    assert_eq!(said.code, 1, "{said:?}");
    let told = said.json();
    assert_eq!(told["agent_sees"]["code"], "ticket_format", "{told}");
    assert_eq!(told["operator_sees"]["class"], "change", "{told}");
    let wide = json!({ "access": "write", "target": "networking", "duration": "60m" });
    let told = simulate(&folder, &wide).await.json();
    assert_eq!(told["operator_sees"]["code"], "raw_permissions_not_requestable", "{told}");
}

#[tokio::test]
async fn m_43_an_exception_is_checked_with_its_folder_and_has_no_effect_past_its_end() {
    let (_scratch, folder) = production();
    edit(&folder.join(PLAYBOOK), "approve = 1,", "approve = 2,");
    fs::create_dir_all(folder.join("exceptions")).unwrap();
    let file = folder.join("exceptions/checkout-by-one.toml");
    fs::write(&file, EXCEPTION).unwrap();
    let asked = json!({
        "playbook": "ingress-cert-rotation", "ticket": "CHG-1842",
        "parameters": { "service": "checkout", "region": "eu-west-1" },
    });
    let id = |said: &Value| said["grant"]["conditions"]["provisions"]["exception"]["id"].clone();
    let said = simulate(&folder, &asked).await.succeeded().json();
    assert_eq!(id(&said), "checkout-by-one", "{said}");
    edit(&file, "2026-12-01T00:00:00Z", "2026-11-09T00:00:00Z");
    let said = simulate(&folder, &asked).await.succeeded().json();
    assert_eq!(id(&said), Value::Null, "{said}");
    edit(&file, "version = 1", "version = 2");
    let check = ["--output", "json", "check", &path(&folder)].map(ToOwned::to_owned);
    let said = run_marque(&check).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("review it again"), "{said:?}");
}

const EXCEPTION: &str = r#"
apiVersion = "marque/v1"
kind = "PlaybookException"
id = "checkout-by-one"
playbook = "ingress-cert-rotation"
version = 1
agent = "spiffe://prod.example.org/agent/cert-rotator/one"
owner = "group:platform-sre"
reason = "the second approver is away until the certificate ends"
review_by = "2026-11-20"
from = "2026-11-01T00:00:00Z"
expires_at = "2026-12-01T00:00:00Z"
runs = 1

[parameters]
service = "checkout"
region = "eu-west-1"

[relaxes]
approvals = 1
"#;

#[tokio::test]
async fn m_11_a_playbook_with_all_that_a_human_role_may_is_refused() {
    let (_scratch, folder) = production();
    let document = folder.join("trust-domain.toml");
    let role = |scopes: &str| {
        format!("\n[[human_roles]]\nname = \"platform-admin\"\nscopes = [{scopes}]\n")
    };
    let sound = fs::read_to_string(&document).unwrap();
    fs::write(&document, sound.clone() + &role("\"secrets.update\", \"nodes.drain\"")).unwrap();
    let check = ["--output", "json", "check", &path(&folder)].map(ToOwned::to_owned);
    run_marque(&check).await.succeeded();
    fs::write(&document, sound + &role("\"secrets.update\"")).unwrap();
    let said = run_marque(&check).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("human role `platform-admin`"), "{said:?}");
}

#[tokio::test]
async fn m_48_an_overdue_review_is_a_warning_and_where_the_folder_says_so_a_finding() {
    let (_scratch, folder) = production();
    edit(&folder.join(PLAYBOOK), "review_by = \"2027-03-01\"", "review_by = \"2026-01-01\"");
    let check = ["--output", "json", "check", &path(&folder)].map(ToOwned::to_owned);
    let said = run_marque(&check).await.succeeded().json();
    assert!(said["warnings"][0]["message"].as_str().unwrap().contains("was due on 2026-01-01"));
    let document = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&document).unwrap();
    fs::write(&document, text + "\n[playbooks]\noverdue = \"refuse\"\n").unwrap();
    let said = run_marque(&check).await;
    assert_eq!(said.code, 1, "{said:?}");
    let parameters = json!({ "service": "checkout", "region": "eu-west-1" });
    let asked = json!({ "playbook": "ingress-cert-rotation", "ticket": "CHG-1842", "parameters": parameters });
    let told = simulate(&folder, &asked).await.json();
    assert_eq!(told["operator_sees"]["code"], "playbook_version_stale", "{told}");
}

#[tokio::test]
async fn m_48_the_threshold_of_higher_risk_is_versioned_and_due_for_review_with_its_playbook() {
    let (_before, published) = production();
    let (_scratch, folder) = production();
    let file = folder.join(PLAYBOOK);
    edit(&file, "base = 40", "base = 40\napprove_at = 50");
    let lint = || async { marque(&["lint", &path(&folder), "--before", &path(&published)]).await };
    let said = lint().await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("give this one 2"), "{said:?}");
    edit(&file, "version = 1", "version = 2");
    lint().await.succeeded();
    let (old, new) = (path(&published.join(PLAYBOOK)), path(&file));
    let said = marque(&["diff", &old, &new]).await.succeeded().json();
    assert!(said["differences"].to_string().contains("`risk.approve_at`"), "{said}");
    edit(&file, "review_by = \"2027-03-01\"", "review_by = \"2026-01-01\"");
    let said = marque(&["lint", &path(&folder), "--strict"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("was due on 2026-01-01"), "{said:?}");
}

const STAGED: &str = r#"
[[staged]]
name = "prepare"
scopes = ["secrets.update"]
actions = ["get"]

[[staged]]
name = "execute"
needs = ["prepare"]
within = "1h"
scopes = ["secrets.update"]
actions = ["get", "patch"]
"#;

/// A daemon whose production playbook was changed.
async fn daemon_with(change: impl FnOnce(&Path)) -> Daemon {
    Daemon::start_with(|trust_domains| change(&trust_domains.join("prod.example.org"))).await
}

fn rotation_in(phase: &str) -> Value {
    let mut body = rotation();
    body["phase"] = json!(phase);
    body
}

async fn asked_and_approved(daemon: &Daemon, rotator: &Client, body: &Value) -> String {
    let asked = rotator.ask(body).await.expect(202).json();
    let intent = asked["id"].as_str().unwrap().to_owned();
    daemon.operator(PRODUCTION).approve(&intent).await;
    intent
}

#[tokio::test(flavor = "multi_thread")]
async fn m_54_a_phase_is_granted_after_the_one_it_needs_was_completed() {
    let daemon = daemon_with(|folder| {
        let file = folder.join(PLAYBOOK);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text + STAGED).unwrap();
        // Its cases ask for the task as a whole.
        fs::remove_dir_all(folder.join("policy/tests")).unwrap();
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask(&rotation()).await.refused("phase_order");
    rotator.ask(&rotation_in("execute")).await.refused("phase_order");
    let prepared = asked_and_approved(&daemon, &rotator, &rotation_in("prepare")).await;
    let token = rotator.exchange(&prepared).await.expect(200).json();
    let details = claims(token["access_token"].as_str().unwrap())["authorization_details"].clone();
    assert_eq!(details[1]["actions"], json!(["get"]), "{details}");
    rotator.ask(&rotation_in("execute")).await.refused("phase_order");
    rotator.end(&prepared, "complete", &json!({ "outcome": "success" })).await.expect(200);
    let executing = asked_and_approved(&daemon, &rotator, &rotation_in("execute")).await;
    let seen = rotator.look(&executing).await.expect(200).json();
    assert_eq!(seen["grant"]["phase"], "execute", "{seen}");
    let token = rotator.exchange(&executing).await.expect(200).json();
    let details = claims(token["access_token"].as_str().unwrap())["authorization_details"].clone();
    assert_eq!(details[1]["actions"], json!(["get", "patch"]), "{details}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_gateway_delivers_is_never_a_token_and_a_deprecated_playbook_says_so() {
    let daemon = daemon_with(|folder| {
        let file = folder.join(PLAYBOOK);
        edit(&file, "delivery = \"token\"", "delivery = \"gateway_only\"");
        edit(&file, "status = \"active\"", "status = \"deprecated\"");
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let asked = rotator.ask(&rotation()).await.expect(202).json();
    assert!(asked["warning"].as_str().unwrap().contains("is deprecated"), "{asked}");
    let intent = asked["id"].as_str().unwrap();
    daemon.operator(PRODUCTION).approve(intent).await;
    let refused = rotator.exchange(intent).await;
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert!(!refused.body.contains("access_token"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_granted_something_is_served_with_no_other_content() {
    let mut daemon = daemon_with(|_folder| {}).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.ask(&rotation()).await.expect(202);
    daemon.stop().await;
    let file = daemon.path("trust-domains").join(PRODUCTION).join(PLAYBOOK);
    edit(&file, "max_duration = \"10m\"", "max_duration = \"20m\"");
    let started = std::panic::AssertUnwindSafe(daemon.launch()).catch_unwind().await;
    assert!(started.is_err(), "it serves another content under the same version");
    assert!(daemon.output().contains("a version never changes"), "{}", daemon.output());
}
