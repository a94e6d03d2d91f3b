//! Records in the forms of other systems: every kind is read and held against its schema by others' packages, a running
//! daemon's log and a copy of it come out alike, and a cursor goes on where it was.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use jiff::Timestamp;
use marque_audit::format::Format;
use marque_audit::{
    Correlation, Event, EventKind, Hash, Leaf, PlaybookPin, PolicyPin, PrevCheckpoint,
};
use marque_spiffe::MonotonicTime;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER};
use crate::support::oauth::Client;
use crate::support::operator::{Operator, run_marque};
use crate::support::programs::marque;
use crate::support::python::{interpreter, run_script, said};
use crate::support::wait::within;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

/// What the packages of others make of records; `None` where there is no Python.
pub(crate) async fn read_by_others(format: &str, records: &[String]) -> Option<Vec<Value>> {
    let order = json!({ "format": format, "records": records });
    let output = run_script(&interpreter()?, "audit_records", &order).await;
    assert!(output.status.success(), "{format}: {output:?}");
    let said = said(&output);
    assert_eq!(said["problems"], json!([]), "{format}");
    Some(said["read"].as_array().expect("what was read").clone())
}

/// A leaf of each kind with everything that an event can say, one with nothing but its kind, and one with what details say.
fn leaves_of_every_kind() -> Vec<Leaf> {
    let trust_domain = "prod.example.org".parse().unwrap();
    let at: Timestamp = "2026-11-01T10:00:00.123456789Z".parse().unwrap();
    let full = |kind| {
        Event::new(kind, at)
            .with_agent("spiffe://prod.example.org/agent/cert-rotator/a".parse().unwrap())
            .with_intent("int_01abcdefghjkmnpqrstvwxyz01")
            .with_playbook(PlaybookPin { id: "rotate".into(), version: 3, digest: "d".into() })
            .with_grant_digest("sha-256:00")
            .with_ticket("CHG-1")
            .with_actor("user:alice")
            .with_audience(["https://api.example.org"])
            .with_denial("kill_switch_agent", "stop")
            .with_token_id("tok_1")
            .with_expires_at(at)
            .with_uses_left(1)
            .with_epoch(2)
            .with_policy(PolicyPin { digest: "sha-256:11".into(), rules: vec!["r1".into()] })
            .with_detail("reason", "because, \"so\"")
            .with_detail("scope", "read write")
            .with_detail("delegator", "https://idp.example.org#alice")
            .with_detail("request_id", "den_1")
            .with_ticket_state("implement")
            .of_tenant("example")
            .of_request(&Correlation::begin([7; 16]).hinted(Some(TRACEPARENT)))
    };
    let full = |kind| Event {
        latency_us: Some(1_234),
        monotonic: Some(MonotonicTime { boot: [7; 16], micros: 5 }.into()),
        prev_checkpoint: Some(PrevCheckpoint { root: Hash::of_empty_tree(), size: 0 }),
        ..full(kind)
    };
    let details = |kind| {
        Event::new(kind, at)
            .with_detail("kill", json!({ "scope": "playbook", "selector": "rotate" }))
            .with_detail("family", "prod.example.org/agent/cert-rotator")
            .with_detail("entry", "ent_1")
            .with_detail("slot", "x509-a")
    };
    let bare = |kind| Event::new(kind, at);
    let ends = [
        EventKind::IntentCancelled,
        EventKind::IntentExpired,
        EventKind::IntentRevoked,
        EventKind::BreakGlassEnded,
    ];
    let ungranted = ends.into_iter().map(|kind| full(kind).with_detail("approved", false));
    let done = ["success", "failure", "partial", "unknown"].into_iter();
    let done = done.map(|word| bare(EventKind::IntentCompleted).with_detail("outcome", word));
    let workload = bare(EventKind::TokenUsed).with_actor("spiffe://prod.example.org/service/api");
    let events = EventKind::ALL
        .into_iter()
        .flat_map(|kind| [full(kind), bare(kind), details(kind)])
        .chain(ungranted)
        .chain(done)
        .chain([workload]);
    let sealed = (0..).zip(events).map(|(seq, event)| Leaf::seal(event, &trust_domain, seq, at));
    sealed.collect::<Result<_, _>>().expect("leaves")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_event_is_what_others_packages_read_in_each_form() {
    let leaves = leaves_of_every_kind();
    for format in [Format::Ocsf, Format::CloudEvents, Format::Cadf, Format::Otlp] {
        let lines: Vec<String> =
            leaves.iter().map(|leaf| format.line(leaf).expect("a record")).collect();
        let Some(read) = read_by_others(format.as_str(), &lines).await else { return };
        assert_eq!(read.len(), leaves.len(), "{format}");
        for (record, leaf) in read.iter().zip(&leaves) {
            let kind = leaf.event().kind.as_str();
            assert_eq!(record["seq"], leaf.seq(), "{format}");
            assert!(kind.ends_with(record["kind"].as_str().unwrap()), "{format}: {record}");
            if format == Format::Otlp && leaf.event().agent.is_some() {
                assert_eq!(record["trace"], "0af7651916cd43dd8448eb211c80319c");
            }
        }
    }
}

async fn records(operator: &Operator, arguments: &[&str]) -> Vec<String> {
    let said = operator.run(&[&["audit", "export"], arguments].concat()).await.succeeded();
    said.out.lines().map(str::to_owned).collect()
}

fn seq(record: &str) -> u64 {
    let record: Value = serde_json::from_str(record).unwrap_or_else(|_| panic!("{record}"));
    record["metadata"]["sequence"].as_u64().expect("its number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_daemon_and_of_a_copy_of_its_log_are_the_same() {
    let daemon = Daemon::start().await;
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let copy = daemon.path("copy").display().to_string();
    operator.run(&["audit", "export", "--to", &copy]).await.succeeded();
    for format in ["ocsf", "cloudevents", "cadf", "csv", "otlp"] {
        let live = records(&operator, &["--format", format]).await;
        let copied = records(&operator, &["--format", format, "--log", &copy]).await;
        assert!(copied.len() > 3, "{format}: {copied:?}");
        assert_eq!(live[..copied.len()], copied, "{format}");
        if format != "csv" {
            read_by_others(format, &live).await;
        }
    }
    // What was altered is not exported.
    let bundle = crate::support::log::first_bundle(Path::new(&copy));
    let mut bytes = fs::read(&bundle).expect("a bundle");
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&bundle, bytes).expect("alter it");
    let refused = operator.run(&["audit", "export", "--format", "ocsf", "--log", &copy]).await;
    assert!(refused.failed().out.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_begins_where_it_is_told_and_goes_on_at_its_cursor() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let all = records(&operator, &["--format", "ocsf"]).await;
    let numbers: Vec<u64> = all.iter().map(|line| seq(line)).collect();
    assert_eq!(numbers, (0..all.len() as u64).collect::<Vec<_>>());

    assert_eq!(records(&operator, &["--format", "ocsf", "--since", "2"]).await, all[2..]);
    let second: Value = serde_json::from_str(&all[1]).unwrap();
    let logged = second["metadata"]["logged_time"].as_i64().unwrap();
    let since = Timestamp::from_millisecond(logged).unwrap().to_string();
    let later = records(&operator, &["--format", "ocsf", "--since", &since]).await;
    assert!(later.contains(&all[1]) && all.ends_with(&later), "{since}: {later:?}");
    let past_the_end =
        records(&operator, &["--format", "ocsf", "--since", "9999-01-01T00:00:00Z"]).await;
    assert!(past_the_end.is_empty());

    let cursor = daemon.path("cursor").display().to_string();
    let with_cursor = ["--format", "ocsf", "--cursor", &cursor];
    assert_eq!(records(&operator, &with_cursor).await, all);
    let next = || serde_json::from_str::<Value>(&fs::read_to_string(&cursor).unwrap()).unwrap();
    let kept = next();
    assert_eq!(kept["trust_domain"], NON_PRODUCTION);
    assert_eq!(kept["next"], all.len());
    let last: Value = serde_json::from_str(all.last().unwrap()).unwrap();
    assert_eq!(kept["last_leaf"], last["unmapped"]["leaf_hash"]);
    assert!(records(&operator, &with_cursor).await.is_empty());
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    let more = records(&operator, &with_cursor).await;
    assert_eq!(seq(&more[0]), all.len() as u64);

    let elsewhere = daemon.operator(PRODUCTION);
    let refused = elsewhere.run(&[&["audit", "export"], &with_cursor[..]].concat()).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("cursor"), "{refused:?}");
    // A log that is shorter than what was exported, or another one, is not gone on with.
    let mut moved = kept;
    moved["next"] = json!(1_000_000);
    for (moved, code) in [
        (moved, "shrunk"),
        (
            json!({ "trust_domain": NON_PRODUCTION, "next": 1, "last_leaf": "AAAA" }),
            "history_rewritten",
        ),
    ] {
        fs::write(&cursor, moved.to_string()).unwrap();
        let refused = operator.run(&[&["audit", "export"], &with_cursor[..]].concat()).await;
        let refused = refused.failed();
        assert!(refused.out.is_empty() && refused.err.contains(code), "{refused:?}");
    }
    fs::write(&cursor, "{}").unwrap();
    operator.run(&[&["audit", "export"], &with_cursor[..]].concat()).await.failed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_records_is_added_to_under_one_header() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let (file, cursor) = (daemon.path("log.csv"), daemon.path("cursor"));
    let (to, kept) = (file.display().to_string(), cursor.display().to_string());
    let export = ["audit", "export", "--format", "csv", "--to", &to, "--cursor", &kept];
    let first = operator.json(&export).await["records"].as_u64().expect("a count");
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.ask_restart().await;
    // Half a record, as a full disk leaves one.
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{whole}\"4711\",\"2026")).unwrap();
    let second = operator.json(&export).await["records"].as_u64().expect("a count");
    let text = fs::read_to_string(&file).unwrap();
    assert!(first > 0 && second > 0);
    assert_eq!(text.lines().count() as u64, 1 + first + second);
    assert_eq!(text.matches("\"leaf_hash\"").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_follows_writes_what_comes_and_then_its_cursor() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let cursor = daemon.path("cursor").display().to_string();
    let follow =
        ["audit", "export", "--format", "ocsf", "--since", "0", "--follow", "--cursor", &cursor];
    let mut child = Command::new(marque())
        .args(operator.arguments(&follow))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("marque runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    let mut last = None;
    while let Some(line) = within("a record", lines.next_line()).await.expect("a line") {
        let record: Value = serde_json::from_str(&line).expect("JSON");
        last = Some(seq(&line));
        if record["unmapped"]["data"]["intent"] == intent.as_str() {
            break;
        }
    }
    let last = last.expect("records");
    crate::support::wait::until("the cursor", async || {
        let text = fs::read_to_string(&cursor).ok()?;
        let kept: Value = serde_json::from_str(&text).ok()?;
        (kept["next"].as_u64()? > last).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_is_refused_with_what_to_do() {
    for (arguments, because) in [
        (&["--format", "tiles"][..], "--to"),
        (&["--to", "/tmp/x", "--follow"], "--follow"),
        (&["--format", "ocsf", "--log", "/tmp/x", "--follow"], "does not grow"),
        (&["--format", "ocsf", "--key", "/tmp/x"], "--log"),
        (&["--format", "xml"], "possible values"),
        (&["--format", "ocsf", "--since", "yesterday"], "2026-11-01"),
    ] {
        let arguments: Vec<String> =
            ["audit", "export"].iter().chain(arguments).map(ToString::to_string).collect();
        let refused = run_marque(&arguments).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains(because), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_wrote_can_be_taken_away_and_the_log_is_still_sound() {
    let daemon = Daemon::start().await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let operator = daemon.operator(NON_PRODUCTION);
    let mut asked = crate::support::oauth::restart();
    let words = "for the account of Jane Roe";
    asked["justification"] = words.into();
    let intent = agent.ask(&asked).await.expect(201).text("id");
    let erase = ["audit", "erase", &intent, "--reason", "privacy request 17"];
    let shown = async || operator.json(&["intent", "show", &intent]).await.to_string();
    assert!(shown().await.contains(words));

    // While it is open, whoever decides reads it.
    let refused = operator.run(&erase).await.failed();
    assert!(refused.err.contains("open"), "{refused:?}");
    assert!(shown().await.contains(words));

    operator.run(&["intent", "revoke", &intent, "--reason", "done with it"]).await.succeeded();
    let log = daemon.path("before").display().to_string();
    operator.run(&["audit", "export", "--to", &log]).await.succeeded();
    operator.run(&erase).await.succeeded();
    operator.run(&erase).await.succeeded();
    assert!(!shown().await.contains(words));
    let leaves = crate::support::log::export(&operator, &daemon.path("after")).await;
    let erased: Vec<_> =
        leaves.iter().filter(|leaf| leaf["type"] == "org.marque.payload.erased").collect();
    assert_eq!(erased.len(), 1);
    assert_eq!(erased[0]["data"]["detail"]["erased"], json!(["justification"]));
    assert_eq!(erased[0]["data"]["intent"], *intent);
    assert!(erased[0]["data"]["actor"].is_string());
    let checkpoint = Path::new(&log).join("checkpoint").display().to_string();
    operator.run(&["audit", "verify", "--checkpoint", &checkpoint]).await.succeeded();
    for leaf in &leaves {
        assert!(!leaf.to_string().contains(words), "{leaf}");
    }
    // An agent cannot ask for it.
    let mut other = agent.workload;
    let arguments = operator.arguments(&erase);
    assert_ne!(other.run(marque(), &arguments).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_wrote_is_sealed_read_on_record_and_erased_for_good() {
    let mut daemon = Daemon::start_with(|trust_domains| {
        let file = trust_domains.join(NON_PRODUCTION).join("playbooks/restart-preview.toml");
        let text = fs::read_to_string(&file).expect("the playbook");
        let logging = "[logging]\nrequire = []\nprompt = \"sealed\"\n";
        fs::write(&file, format!("{text}\n{logging}")).expect("write the playbook");
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let mut asked = crate::support::oauth::restart();
    let (words, report) = ("for the account of Jane Roe", "Jane Roe was told");
    asked["justification"] = words.into();
    let intent = agent.ask(&asked).await.expect(201).text("id");
    agent.exchange(&intent).await.expect(200);
    let done = json!({ "outcome": "success", "report": report });
    for _ in 0..2 {
        agent.end(&intent, "complete", &done).await.expect(200);
    }

    // Over, the intent has neither; sealed they are in no file as they were written, and open after a restart.
    let shown = daemon.operator(NON_PRODUCTION).json(&["intent", "show", &intent]).await;
    assert!(!shown.to_string().contains("Jane"), "{shown}");
    daemon.stop().await;
    daemon.launch().await;
    let operator = daemon.operator(NON_PRODUCTION);
    let read = operator.json(&["audit", "payload", &intent]).await;
    assert_eq!(read, json!({ "justification": words, "report": report }));

    let erase = ["audit", "erase", &intent, "--reason", "privacy request 17"];
    operator.run(&erase).await.succeeded();
    operator.run(&["audit", "payload", &intent]).await.failed();
    let agent = Client::start(&daemon, RESTARTER).await;
    agent.end(&intent, "complete", &done).await.expect(200);
    operator.run(&["audit", "payload", &intent]).await.failed();

    let leaves = crate::support::log::export(&operator, &daemon.path("log")).await;
    let details = |kind: &str| -> Vec<Value> {
        let of = leaves.iter().filter(|leaf| leaf["type"] == format!("org.marque.payload.{kind}"));
        of.map(|leaf| leaf["data"]["detail"].clone()).collect()
    };
    let sealed = details("sealed");
    assert_eq!(sealed.len(), 2, "{sealed:?}");
    assert!(sealed[0]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha")));
    assert_eq!(details("read"), [json!({ "read": ["justification", "report"] })]);
    assert_eq!(details("erased").len(), 1);
    assert_eq!(details("erased")[0]["erased"], json!(["justification", "report"]));
    for leaf in &leaves {
        assert!(!leaf.to_string().contains("Jane"), "{leaf}");
    }
    assert!(!daemon.output().contains("Jane"));
}
