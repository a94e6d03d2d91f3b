//! The log that anyone can verify: as tiles over HTTPS, as receipts and proofs, as a timeline, and against the store.

mod proofs;

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_audit::{Event, EventKind, Leaf};
use marque_spiffe::TrustDomain;
use serde_json::{Value, json};

use crate::approver_login::Desk;
use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::http::{Call, Http};
use crate::support::oauth::{Client, approved_rotation};
use crate::support::operator::{Operator, Said, run_marque};
use crate::support::tokens::claims;
use crate::support::{folder, log, node};
use crate::tampering::Copy;

const AUDITOR: &str = "/service/auditor";

async fn daemon() -> Daemon {
    Daemon::start_with(|trust_domains| {
        let more = format!("\n[audit]\nreaders = [\"spiffe://{PRODUCTION}{AUDITOR}\"]\n");
        folder::append(&trust_domains.join(PRODUCTION), "trust-domain.toml", &more);
    })
    .await
}

/// The key that verifies the log, as somebody would keep it.
pub(crate) async fn key(operator: &Operator) -> String {
    let info = operator.json(&["audit", "info"]).await;
    info[0]["verifier_key"].as_str().expect("a key").to_owned()
}

fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().expect("a jti").to_owned()
}

/// The answer of a body that is no text.
async fn bytes(http: &Http, url: &str, bearer: Option<&str>) -> http::Response<Vec<u8>> {
    let mut request = http::Request::get(url);
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    http.pass(parts, Vec::new()).await.expect("an answer")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What every leaf says beside what its event does.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_says_whose_it_is_how_long_it_took_and_which_checkpoint_came_before_it() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    rotator.exchange(&approved_rotation(&daemon, &rotator).await).await.expect(200);
    let operator = daemon.operator(PRODUCTION);
    let leaves = log::export(&operator, &daemon.path("log")).await;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the host's start");
    let boot = boot.trim_end().replace('-', "");
    let (mut before, mut covered) = (0, 0);
    for (seq, leaf) in (0_u64..).zip(&leaves) {
        let said = &leaf["data"];
        // The authorities of a new trust domain are recorded by nobody's request.
        assert_eq!(said["tenant"], "example", "{leaf}");
        assert_eq!(said["monotonic"]["boot"], boot.as_str(), "{leaf}");
        let now = said["monotonic"]["us"].as_u64().expect("microseconds");
        assert!(now >= before, "{leaf}");
        before = now;
        if let Some(size) = said["prev_checkpoint"]["size"].as_u64() {
            assert!(size <= seq && size >= covered, "{leaf}");
            covered = size;
        }
        let asked = said["request_id"].is_string();
        assert_eq!(said["latency_us"].as_u64().is_some_and(|us| us > 0), asked, "{leaf}");
    }
    assert!(covered > 0, "{leaves:?}");
    let issued = leaves.iter().find(|leaf| leaf["type"] == "org.marque.token.issued");
    assert!(issued.expect("a token")["data"]["latency_us"].is_u64(), "{issued:?}");
}

/// A command that needs no daemon.
async fn alone(arguments: &[&str]) -> Said {
    let all = ["--output", "json"].iter().chain(arguments);
    run_marque(&all.map(|argument| (*argument).to_owned()).collect::<Vec<_>>()).await
}

/// The refusal of a command, by its code.
#[track_caller]
pub(crate) fn found(said: &Said) -> String {
    assert_eq!(said.code, 1, "{said:?}");
    let report: Value =
        serde_json::from_str(said.err.lines().last().expect("a report")).expect("JSON");
    report["code"].as_str().unwrap_or_else(|| panic!("no code: {said:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_served_as_the_static_tiles_of_an_exported_copy_and_leaves_are_for_readers() {
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let auditor = Client::service(&daemon, PRODUCTION, AUDITOR).await;
    rotator.exchange(&approved_rotation(&daemon, &rotator).await).await.expect(200);
    let copy = daemon.path("log");
    let leaves = log::export(&daemon.operator(PRODUCTION), &copy).await;
    let (http, prefix) = (&rotator.http, format!("{}/log", rotator.place.issuer_url));

    let checkpoint = http.send(Call::get(&format!("{prefix}/checkpoint"))).await.expect(200);
    assert_eq!(checkpoint.headers["content-type"], "text/plain; charset=utf-8");
    let size: usize = checkpoint.body.lines().nth(1).expect("a size").parse().expect("a number");
    assert!(size >= leaves.len(), "{checkpoint:?}");
    let kept = daemon.path("kept.note");
    fs::write(&kept, &checkpoint.body).expect("a file");
    let kept = kept.display().to_string();
    daemon.operator(PRODUCTION).run(&["audit", "verify", "--checkpoint", &kept]).await.succeeded();

    for file in files(&copy.join("tile")) {
        let name = file.strip_prefix(&copy).expect("a path").display().to_string();
        let url = format!("{prefix}/{name}");
        let (bearer, cached) = match name.starts_with("tile/entries") {
            true => (Some(auditor.svid.as_str()), "private, max-age=31536000, immutable"),
            false => (None, "public, max-age=31536000, immutable"),
        };
        let tile = bytes(http, &url, bearer).await;
        assert_eq!(tile.status(), 200, "{name}");
        assert_eq!(tile.headers()["content-type"], "application/octet-stream", "{name}");
        assert_eq!(tile.headers()["cache-control"], cached, "{name}");
        assert!(*tile.body() == fs::read(&file).expect("the file"), "{name}");
    }
    let entries = format!("{prefix}/tile/entries/000.p/1");
    http.send(Call::get(&entries)).await.expect(401);
    http.send(Call::get(&entries).bearer(&rotator.svid)).await.refused("log_reader_required");
    assert_eq!(bytes(http, &entries, Some(&auditor.svid)).await.status(), 200);
    let beyond = format!("{prefix}/tile/0/000");
    http.send(Call::get(&beyond)).await.refused("log_piece_not_found");
    daemon.operator(PRODUCTION).kill(&["agent", &auditor.place.id(AUDITOR)]).await;
    http.send(Call::get(&entries).bearer(&auditor.svid)).await.refused("kill_switch_agent");
}

#[tokio::test(flavor = "multi_thread")]
async fn approvers_of_a_named_group_read_the_log_with_their_login() {
    let Some(modules) = node::modules() else { return };
    let desk = Desk::start(&modules, "", |trust_domains| {
        let more = "\n[audit]\nhashes = \"readers\"\nreader_groups = [\"platform-sre\"]\n";
        folder::append(&trust_domains.join(PRODUCTION), "trust-domain.toml", more);
    })
    .await;
    let rotator = Client::start(&desk.daemon, ROTATOR).await;
    let url = format!("{}/log/checkpoint", rotator.place.issuer_url);
    rotator.send(Call::get(&url)).await.expect(401);
    rotator.send(Call::get(&url).bearer("mqa_nobody")).await.expect(401);
    rotator.send(Call::get(&url).bearer(&rotator.svid)).await.refused("log_reader_required");
    let mut alice = desk.log_in("alice").await;
    let checkpoint = alice.get(&url).await.expect(200);
    assert!(checkpoint.body.starts_with("prod.example.org/marque/audit\n"), "{checkpoint:?}");
    assert_eq!(checkpoint.headers["cache-control"], "no-cache");
    let mut bob = desk.log_in("bob").await;
    bob.get(&url).await.refused("log_reader_required");
}

/// A copy of a log that somebody signed although its leaves break the rules.
fn signed_against_the_rules(folder: &Path) -> String {
    let trust_domain: TrustDomain = PRODUCTION.parse().expect("a name");
    let at = Timestamp::UNIX_EPOCH;
    let issued = |intent: &str| Event::new(EventKind::TokenIssued, at).with_intent(intent);
    let killed = Event::new(EventKind::Kill, at).with_detail("kill", json!({ "scope": "all" }));
    let events = [issued("int_1"), killed, issued("int_2")];
    let leaves: Vec<Leaf> = (0..)
        .zip(events)
        .map(|(seq, event)| Leaf::seal(event, &trust_domain, seq, at).expect("a leaf"))
        .collect();
    Copy::sign(folder, &leaves)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_breaks_the_rules_is_told_and_a_range_is_judged_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = signed_against_the_rules(folder.path());
    let copy = folder.path().display().to_string();
    let verify = async |more: &[&str]| {
        alone(&[&["audit", "verify", "--log", &copy, "--key", &key], more].concat()).await
    };
    let said = verify(&[]).await;
    assert_eq!(found(&said), "use_without_grant");
    let told = said.json();
    let findings = told["findings"].as_array().expect("findings");
    let codes: Vec<_> = findings.iter().map(|found| (&found["code"], &found["leaf"])).collect();
    let (first, second) = (json!("use_without_grant"), json!("use_after_kill"));
    assert_eq!(codes, [(&first, &json!(0)), (&second, &json!(2))]);
    assert_eq!((&told["verified"], &told["size"]), (&json!(false), &json!(3)));
    assert_eq!(found(&verify(&["--from", "1"]).await), "use_after_kill");
    assert_eq!(found(&verify(&["--to", "1"]).await), "use_without_grant");
    let told = verify(&["--from", "1", "--to", "1"]).await.succeeded().json();
    let judged = json!({ "from": 1, "to": 1 });
    assert_eq!((&told["verified"], &told["judged"]), (&json!(true), &judged));
    let arguments = ["audit", "verify", "--log", &copy, "--key", &key, "--from", "3"];
    let text = run_marque(&arguments.map(str::to_owned)).await.succeeded().out;
    assert!(
        text.contains("Leaves 3 to the last keep the rules") && !text.contains("sound"),
        "{text}"
    );
    assert_eq!(verify(&["--from", "2", "--to", "1"]).await.code, 2);
}

/// The steps of a path: kinds without their prefix, with how deep each stands.
fn steps(said: &Said) -> Vec<(String, u64)> {
    let steps = said.out.lines().map(|line| {
        let step: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kind = step["event"]["type"].as_str().expect("a type");
        let kind = kind.strip_prefix("org.marque.").expect("ours").to_owned();
        (kind, step["depth"].as_u64().expect("a depth"))
    });
    steps.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn m_116_the_path_of_a_grant_an_agent_a_ticket_and_a_token_reads_as_a_timeline() {
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let second = Client::start(&daemon, SECOND_ROTATOR).await;
    let operator = daemon.operator(PRODUCTION);
    let intent = approved_rotation(&daemon, &rotator).await;
    let theirs = approved_rotation(&daemon, &second).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    rotator.revoke(&token).await.expect(200);
    rotator.end(&intent, "complete", &json!({ "outcome": "success" })).await.expect(200);
    let agent = rotator.place.id(ROTATOR.path);
    operator.kill(&["agent", &agent]).await;

    let expected = [
        ("intent.requested", 0),
        ("intent.pending", 0),
        ("approval.recorded", 0),
        ("intent.approved", 0),
        ("token.issued", 1),
        ("token.revoked", 1),
        ("intent.completed", 0),
        ("kill", 0),
    ]
    .map(|(kind, depth)| (kind.to_owned(), depth));
    let grant = operator.run(&["audit", "path", "--grant", &intent]).await.succeeded();
    assert_eq!(steps(&grant), expected);
    assert!(!grant.out.contains(&theirs), "{grant:?}");
    let of_token = operator.run(&["audit", "path", "--token", &jti(&token)]).await.succeeded();
    assert_eq!(steps(&of_token), expected);
    let of_agent = operator.run(&["audit", "path", "--agent", &agent]).await.succeeded();
    let all = steps(&of_agent);
    assert!(expected.iter().all(|step| all.contains(step)), "{all:?}");
    assert!(
        !of_agent.out.contains(&theirs) && all.contains(&("svid.issued".to_owned(), 0)),
        "{all:?}"
    );
    // Both rotations name the ticket.
    let of_ticket = operator.run(&["audit", "path", "--ticket", "CHG-1842"]).await.succeeded();
    assert!(of_ticket.out.contains(&intent) && of_ticket.out.contains(&theirs), "{of_ticket:?}");

    // A copy says the same, and people get lines that are indented.
    let copy = daemon.path("log").display().to_string();
    log::export(&operator, &daemon.path("log")).await;
    let key = key(&operator).await;
    let arguments = ["audit", "path", "--grant", &intent, "--log", &copy, "--key", &key];
    assert_eq!(alone(&arguments).await.succeeded().out, grant.out);
    let text = run_marque(&arguments.map(str::to_owned)).await.succeeded().out;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    assert!(
        lines[3].contains("  intent approved ") && lines[3].contains("ticket=CHG-1842"),
        "{text}"
    );
    assert!(lines[4].contains("    token issued ") && lines[4].contains(&jti(&token)), "{text}");
    let said = operator.run(&["audit", "path", "--grant", "int_unheard_of"]).await;
    assert_eq!(found(&said), "nothing_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn completeness_names_what_the_store_has_and_the_log_has_not_and_the_other_way_round() {
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let operator = daemon.operator(PRODUCTION);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let intent = approved_rotation(&daemon, &rotator).await;
        tokens.push(jti(&rotator.exchange(&intent).await.expect(200).text("access_token")));
    }
    let complete = operator.json(&["audit", "completeness"]).await;
    assert_eq!((&complete["tokens"], &complete["mismatches"]), (&json!(2), &json!([])));

    let gateway = rotator.place.id("/service/gateway");
    let counters = daemon.path("counters.csv");
    fs::write(&counters, format!("emitter,count\n{gateway},3\n")).expect("a file");
    let counters = counters.display().to_string();
    let said = operator.run(&["audit", "completeness", "--counters", &counters]).await;
    assert_eq!(found(&said), "count_differs");
    let differs =
        json!([{ "code": "count_differs", "emitter": gateway, "counted": 3, "recorded": 0 }]);
    assert_eq!(said.json()["mismatches"], differs);
    fs::write(&counters, "emitter;count\n").expect("a file");
    assert_eq!(operator.run(&["audit", "completeness", "--counters", &counters]).await.code, 2);

    // One token is taken out of the store behind the daemon's back, and one put in that nothing gave.
    let store = daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite");
    let store = rusqlite::Connection::open(store).expect("the store");
    let (gone, copied) = (&tokens[0], &tokens[1]);
    let planted = copied.replace(|digit: char| digit.is_ascii_hexdigit(), "0");
    let insert = "INSERT INTO tokens (id, intent, expires_at, document)
        SELECT ?2, intent, expires_at, replace(document, ?1, ?2) FROM tokens WHERE id = ?1";
    assert_eq!(store.execute(insert, [copied, &planted]).expect("planted"), 1);
    assert_eq!(store.execute("DELETE FROM tokens WHERE id = ?1", [gone]).expect("gone"), 1);
    let said = operator.run(&["audit", "completeness"]).await;
    assert_eq!(found(&said), "record_without_token");
    let mismatches = said.json()["mismatches"].clone();
    assert_eq!(
        (&mismatches[0]["code"], &mismatches[0]["token"]),
        (&json!("record_without_token"), &json!(gone))
    );
    assert_eq!(
        (&mismatches[1]["code"], &mismatches[1]["token"]),
        (&json!("token_without_record"), &json!(planted))
    );
    assert_eq!(mismatches.as_array().expect("a list").len(), 2);
}
