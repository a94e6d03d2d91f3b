//! Change control: windows, blackouts and tickets, from the request to the end, with a ticket system that is really asked.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::log;
use crate::support::oauth::{Client, INGRESS, approved_rotation, rotation};
use crate::support::tickets::{SECRET, TicketServer};
use crate::support::tokens::{claims, now};
use crate::support::wait::until;

const HOUR: u64 = 60 * 60;

fn from_now(seconds: i64) -> Timestamp {
    Timestamp::from_second(i64::try_from(now()).unwrap() + seconds).unwrap()
}

/// A window that opens once a day, at the minute of this instant.
fn window_at(opens: Timestamp, duration: &str) -> String {
    let rule = opens.strftime("FREQ=DAILY;BYHOUR=%-H;BYMINUTE=%-M");
    format!("windows = [{{ rrule = \"{rule}\", tz = \"UTC\", duration = \"{duration}\" }}]")
}

/// A calendar with one interval.
fn freeze(from: Timestamp, until: Timestamp) -> String {
    let (from, until) = (from.strftime("%Y-%m-%dT%H:%M"), until.strftime("%Y-%m-%dT%H:%M"));
    format!(
        "apiVersion = \"marque/v1\"\nkind = \"Calendar\"\nname = \"freeze\"\nowner = \"group:board\"\n\
         reason = \"Nothing changes now\"\nreview_by = \"2099-01-01\"\n\
         [[fixed]]\nfrom = \"{from}\"\nuntil = \"{until}\"\ntz = \"UTC\"\n"
    )
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

/// Adds lines to `[time]` of the production playbook.
fn time(trust_domains: &Path, lines: &str) {
    let file = trust_domains.join(PRODUCTION).join("playbooks/ingress-cert-rotation.toml");
    edit(&file, "start_within = \"15m\"\n", &format!("start_within = \"15m\"\n{lines}\n"));
}

/// Has the production playbook ask this ticket system.
fn tickets(trust_domains: &Path, server: &TicketServer) {
    let folder = trust_domains.join(PRODUCTION);
    let pattern = "pattern = \"^CHG-[0-9]{3,8}$\"\n";
    let demand = "validator = \"itsm\"\nstates = [\"approved\", \"implementing\"]\n\
                  bind = [\"service\", \"region\"]\nrevoke_on_close = true\n";
    edit(
        &folder.join("playbooks/ingress-cert-rotation.toml"),
        pattern,
        &format!("{pattern}{demand}"),
    );
    let document = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&document).unwrap();
    fs::write(document, text + &server.document()).unwrap();
    fs::write(folder.join("itsm.header"), SECRET).unwrap();
}

fn calendar(trust_domains: &Path, text: &str) {
    let folder = trust_domains.join(PRODUCTION).join("calendars");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("freeze.toml"), text).unwrap();
}

/// Whether a refusal says to come back about this many seconds from now.
#[track_caller]
fn comes_back(answer: &Value, seconds: u64) {
    let after = answer["retry"]["after_s"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    assert!(
        (seconds - 300..=seconds).contains(&after),
        "{after} and not about {seconds}: {answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn m_29_the_rotation_runs_once_inside_the_window_under_its_open_ticket() {
    let server = TicketServer::start().await;
    // Open since a minute, and for four more: less than a token would live.
    let opened = from_now(-60);
    let daemon = Daemon::start_with(|folder| {
        tickets(folder, &server);
        time(folder, &window_at(opened, "5m"));
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let shown = daemon.operator(PRODUCTION).json(&["intent", "show", &intent]).await.to_string();
    for part in ["Renew the certificate of checkout", "state_hash", "FREQ=DAILY", "\"open\":true"] {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let closes = opened.as_second() - opened.as_second() % 60 + 300;
    assert_eq!(claims(&token)["exp"], json!(closes), "it ends with the window");
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    assert!(ingress.is_active(&token).await);
    rotator.exchange(&intent).await.oauth_error("access_denied").refused("grant_consumed");
    rotator.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    let leaves = log::export(&daemon.operator(PRODUCTION), &daemon.path("log")).await;
    let approved = leaves.iter().find(|leaf| leaf["type"] == "org.marque.intent.approved");
    assert_eq!(approved.unwrap()["data"]["ticket_state"], "approved", "{approved:?}");
    let text = serde_json::to_string(&leaves).unwrap();
    assert!(text.contains("CHG-1842") && !text.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_of_the_window_nothing_is_asked_for_or_used_and_the_next_one_is_named() {
    let daemon = Daemon::start_with(|folder| {
        time(folder, &window_at(from_now(6 * 3600), "1h"));
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let answer = rotator.ask(&rotation()).await;
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    comes_back(&answer.refused("outside_change_window").json(), 6 * HOUR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_its_window_and_is_not_used_before() {
    let daemon = Daemon::start_with(|folder| {
        time(folder, &window_at(from_now(6 * 3600), "1h"));
        let file = folder.join(PRODUCTION).join("playbooks/ingress-cert-rotation.toml");
        edit(&file, "request_ttl = \"30m\"", "request_ttl = \"12h\"");
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let answer = rotator.exchange(&intent).await.oauth_error("access_denied");
    let told = answer.refused("outside_change_window").json();
    comes_back(&told, 6 * HOUR);
    let told = rotator.look(&intent).await.expect(200).json();
    assert_eq!((&told["state"], &told["uses_left"]), (&json!("approved"), &json!(1)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_blackout_nothing_is_asked_for_whoever_would_approve() {
    let daemon = Daemon::start_with(|folder| {
        time(folder, "blackout = [\"calendar:freeze\"]");
        calendar(folder, &freeze(from_now(-3600), from_now(6 * 3600)));
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let told = rotator.ask(&rotation()).await.refused("blackout").json();
    comes_back(&told, 6 * HOUR);
    assert!(told["detail"].as_str().unwrap().contains("Nothing changes now"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_is_declared_today_ends_what_was_granted_before() {
    let mut daemon = Daemon::start_with(|folder| {
        time(folder, "blackout = [\"calendar:freeze\"]");
        calendar(folder, &freeze(from_now(86_400), from_now(2 * 86_400)));
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let used = approved_rotation(&daemon, &rotator).await;
    rotator.exchange(&used).await.expect(200);
    let unused = approved_rotation(&daemon, &rotator).await;
    drop(rotator);
    daemon.stop().await;
    calendar(&daemon.path("trust-domains"), &freeze(from_now(-60), from_now(3600)));
    daemon.launch().await;
    let operator = daemon.operator(PRODUCTION);
    let ended = until("the end of the grant", async || {
        let intent = operator.json(&["intent", "show", &used]).await;
        (intent["state"] == "revoked").then_some(intent)
    })
    .await;
    assert_eq!(ended["ended_for"], "blackout", "{ended}");
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.exchange(&unused).await.oauth_error("access_denied").refused("blackout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_will_not_do_is_refused_when_it_is_asked_approved_and_used() {
    let server = TicketServer::start().await;
    let daemon = Daemon::start_with(|folder| tickets(folder, &server)).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let pending = rotator.ask_rotation().await;
    let approved = approved_rotation(&daemon, &rotator).await;
    let mut missing = rotation();
    missing["ticket"] = "CHG-999".into();
    rotator.ask(&missing).await.refused("ticket_missing");
    missing["ticket"] = "JIRA-1".into();
    rotator.ask(&missing).await.refused("ticket_format");
    for (member, value, code) in [
        ("state", "new", "ticket_state"),
        ("service", "payments", "ticket_not_bound"),
        ("region", "", "ticket_not_bound"),
    ] {
        let good = if member == "state" { "approved" } else { parameter(member) };
        server.set(member, value);
        refused_everywhere(&daemon, &rotator, (&pending, &approved), code).await;
        server.set(member, good);
    }
    server.answer_with(500);
    refused_everywhere(&daemon, &rotator, (&pending, &approved), "ticket_system_unavailable").await;
    server.answer_with(200);
    // Nothing of it cost the use.
    until("the ticket to be believed again", async || {
        (rotator.exchange(&approved).await.status == 200).then_some(())
    })
    .await;
}

fn parameter(name: &str) -> &'static str {
    if name == "service" { "checkout" } else { "eu-west-1" }
}

async fn refused_everywhere(
    daemon: &Daemon,
    rotator: &Client,
    (pending, approved): (&str, &str),
    code: &str,
) {
    // What was said a moment ago is believed for a second.
    until(&format!("{code} at the request"), async || {
        let answer = rotator.ask(&rotation()).await;
        (answer.status != 202 && answer.json()["code"] == code).then_some(())
    })
    .await;
    rotator.exchange(approved).await.oauth_error("access_denied").refused(code);
    let said = daemon.operator(PRODUCTION).run(&["approve", "--yes", pending]).await;
    assert_ne!(said.code, 0, "{code}: {said:?}");
    assert!(said.out.contains(code) || said.err.contains(code), "{code}: {said:?}");
    let standing = rotator.look(pending).await.expect(200).json();
    assert_eq!(standing["state"], "pending", "{standing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_ticket_is_closed_the_grant_is_revoked_and_its_token_dies() {
    let server = TicketServer::start().await;
    let daemon = Daemon::start_with(|folder| tickets(folder, &server)).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let used = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&used).await.expect(200).text("access_token");
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    assert!(ingress.is_active(&token).await);
    server.set("state", "closed");
    until("the end of the token", async || (!ingress.is_active(&token).await).then_some(())).await;
    let ended = daemon.operator(PRODUCTION).json(&["intent", "show", &used]).await;
    assert_eq!(
        (&ended["state"], &ended["ended_for"]),
        (&json!("revoked"), &json!("ticket_closed"))
    );
    rotator.ask(&rotation()).await.refused("ticket_closed");
    let counted = daemon.operator(PRODUCTION).json(&["metrics"]).await.to_string();
    for name in ["marque_ticket_lookups_total", "marque_change_ended_grants_total"] {
        assert!(counted.contains(name), "{name} is not in {counted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_ticket_system_holds_nobody_up_for_long() {
    // It takes connections and never says a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = TicketServer::start().await;
    let daemon = Daemon::start_with(|folder| {
        tickets(folder, &server);
        let document = folder.join(PRODUCTION).join("trust-domain.toml");
        let text = fs::read_to_string(&document).unwrap();
        let at = text.find("url = \"http://127.0.0.1:").unwrap();
        let end = at + text[at..].find("/changes").unwrap();
        let silent = format!("url = \"http://127.0.0.1:{port}");
        fs::write(document, format!("{}{silent}{}", &text[..at], &text[end..])).unwrap();
    })
    .await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let begun = std::time::Instant::now();
    rotator.ask(&rotation()).await.expect(403).refused("ticket_system_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    drop(listener);
}

#[test]
fn a_control_that_names_nothing_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    crate::support::folder::copy(&crate::support::folder::shipped(), folder.path());
    time(folder.path(), "blackout = [\"calendar:nowhere\"]");
    let playbook = folder.path().join(PRODUCTION).join("playbooks/ingress-cert-rotation.toml");
    edit(
        &playbook,
        "required = true\n",
        "required = true\nvalidator = \"nobody\"\nstates = [\"x\"]\n",
    );
    let checked = std::process::Command::new(crate::support::programs::marque())
        .arg("check")
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned()
        + &String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success(), "{said}");
    assert!(said.contains("there is no calendar `nowhere`"), "{said}");
    assert!(said.contains("there is no [[ticket_systems]] with the name `nobody`"), "{said}");
}
