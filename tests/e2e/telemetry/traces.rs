//! Traces with one id, at a collector.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::root;
use crate::support::collector::{Collector, Manner};
use crate::support::daemon::{Daemon, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::Call;
use crate::support::log;
use crate::support::oauth::{Client, exchange_fields, rotation};
use crate::support::python::interpreter;
use crate::support::telemetry::Numbers;
use crate::support::wait::until;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector in Python, and the file that it writes.
async fn python_collector(python: &Path, folder: &Path) -> (Child, String, PathBuf) {
    let file = folder.join("collected");
    let mut child = Command::new(python)
        .arg(root("tests/python/otlp_collector.py"))
        .arg(&file)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let port = lines.next_line().await.expect("a line").expect("the collector's port");
    (child, format!("http://127.0.0.1:{port}"), file)
}

fn collected(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_through_intent_exchange_and_log_to_a_real_collector() {
    let Some(python) = interpreter() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_collector, url, file) = python_collector(&python, folder.path()).await;
    let mut daemon = Daemon::start_told(|_| {}, vec!["--otlp-endpoint".to_owned(), url]).await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let asked = Call::json(&rotator.place.intents_url, &rotation())
        .bearer(&rotator.svid)
        .header("traceparent", TRACEPARENT);
    let intent = rotator.send(asked).await.expect(202).text("id");
    daemon.operator(PRODUCTION).approve(&intent).await;
    let fields = exchange_fields(&rotator.svid, &intent);
    let call =
        Call::form(&rotator.place.token_endpoint, &fields).header("traceparent", TRACEPARENT);
    let answer = rotator.send(call).await.expect(200);
    let request = answer.headers.get("marque-request-id").unwrap().to_str().unwrap().to_owned();
    // Whoever names no trace has one of its own.
    let other = rotator.ask(&json!({ "playbook": "no-such" })).await;
    assert_ne!(other.headers.get("marque-request-id").unwrap().to_str().unwrap(), request);

    let leaves = log::export(&daemon.operator(PRODUCTION), &folder.path().join("log")).await;
    let of = |kind: &str| {
        let found = leaves.iter().find(|leaf| leaf["type"] == format!("org.marque.{kind}"));
        found.unwrap_or_else(|| panic!("no {kind}: {leaves:#?}"))["data"].clone()
    };
    assert_eq!(of("intent.requested")["trace_id"], TRACE);
    assert_eq!(of("token.issued")["trace_id"], TRACE);
    assert_eq!(of("token.issued")["request_id"], request.as_str());
    assert_ne!(of("intent.requested")["request_id"], request.as_str());
    assert_ne!(of("intent.approved")["trace_id"], TRACE, "the operator's own request");
    assert!(of("svid.issued")["request_id"].as_str().unwrap().starts_with("req_"));

    let spans = until("the spans of the exchange", async || {
        let spans: Vec<Value> = collected(&file)
            .into_iter()
            .filter(|one| one["signal"] == "span" && one["trace"] == TRACE)
            .collect();
        let has = |name: &str, route: &str| {
            spans.iter().any(|one| {
                one["name"] == name && one["attributes"]["route"].as_str().unwrap_or("") == route
            })
        };
        (has("request", "/oauth2/token") && has("request", "/v1/intents") && has("exchange", ""))
            .then_some(spans)
    })
    .await;
    let named = |name: &'static str| spans.iter().filter(move |one| one["name"] == name);
    let served =
        named("request").find(|one| one["attributes"]["route"] == "/oauth2/token").unwrap();
    assert_eq!(served["attributes"]["request_id"], request.as_str());
    assert_eq!((&served["parent"], &served["kind"]), (&json!("00f067aa0ba902b7"), &json!(2)));
    assert_eq!(
        (&served["attributes"]["status"], &served["service"]),
        (&json!(200), &json!("marque"))
    );
    let exchange = named("exchange").next().unwrap();
    assert_eq!(exchange["parent"], served["id"]);
    assert!(named("record").any(|one| one["parent"] == exchange["id"]), "{spans:#?}");
    assert!(named("decision").count() > 0, "{spans:#?}");
    // Attestation is of the caller's connection, under the request of its own.
    let attested = until("the attestation", async || {
        collected(&file).into_iter().find(|one| one["name"] == "attestation")
    });
    assert_eq!(attested.await["trace"].as_str().unwrap().len(), 32);
    // What the daemon measures and says goes there too, the last of it when it ends.
    daemon.operator(PRODUCTION).kill(&["agent", &rotator.place.id(ROTATOR.path)]).await;
    drop(rotator);
    daemon.stop().await;
    let all = collected(&file);
    let metric =
        |name: &str| all.iter().find(|one| one["signal"] == "metric" && one["name"] == name);
    assert_eq!(metric("marque_check_seconds").unwrap()["kind"], "histogram");
    assert!(metric("marque_tokens_issued_total").is_some());
    let said = all.iter().any(|one| one["signal"] == "log" && one["body"] == "kill switch");
    assert!(said, "the daemon's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_dead_or_hangs_delays_no_answer_and_what_is_dropped_is_counted() {
    for (manner, reason) in [(Manner::Refuses, "failed"), (Manner::Hangs, "full")] {
        let collector = Collector::start(manner).await;
        let arguments = vec!["--otlp-endpoint".to_owned(), collector.url.clone()];
        let daemon = Daemon::start_told(|_| {}, arguments).await;
        let restarter = Client::start(&daemon, RESTARTER).await;
        let slowest = until("what is dropped to be counted", async || {
            let mut slowest = Duration::ZERO;
            for _ in 0..100 {
                let since = Instant::now();
                restarter.send(Call::get(&restarter.place.jwks_url)).await.expect(200);
                slowest = slowest.max(since.elapsed());
            }
            let dropped = [("signal", "traces"), ("reason", reason)];
            let numbers = Numbers::of(&daemon).await;
            (numbers.sum("marque_telemetry_dropped_total", &dropped) > 0.0).then_some(slowest)
        })
        .await;
        // The collector has ten seconds for each message; nobody else has to wait for them.
        assert!(slowest < Duration::from_secs(5), "{manner:?}: {slowest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_kept_are_refused_before_anything_is_served() {
    let mut command = Command::new(crate::support::programs::marque());
    command.args(["dev", "--otlp-endpoint", "http://collector.example.org:4318"]);
    command.arg("--trust-domains").arg(root("trust-domains"));
    let said = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && told.contains("write https"), "{told}");
}
