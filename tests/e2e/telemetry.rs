//! What the daemon tells whoever watches over it: health that is true, the six numbers, traces with one id, a live view.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::fleet::{self, Fleet};
use crate::support::collector::{Collector, Manner};
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::folder;
use crate::support::http::{Call, Http};
use crate::support::log;
use crate::support::oauth::{Client, approved_rotation, exchange_fields, rotation};
use crate::support::operator::run_marque;
use crate::support::python::interpreter;
use crate::support::telemetry::{Numbers, ask, try_ask};
use crate::support::tools::required;
use crate::support::wait::until;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const DOMAIN: (&str, &str) = ("trust_domain", PRODUCTION);

/// What a command of the operator says to a person.
async fn in_words(daemon: &Daemon, command: &[&str]) -> String {
    let endpoints = daemon.endpoints_file();
    let place = ["--endpoints", endpoints.to_str().unwrap(), "--trust-domain", PRODUCTION];
    let arguments: Vec<String> =
        place.iter().chain(command).map(|argument| (*argument).to_owned()).collect();
    run_marque(&arguments).await.succeeded().out
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_told_on_a_listener_of_their_own() {
    let daemon = Daemon::start().await;
    assert_eq!(ask(&daemon, "/live").await.body, "alive\n");
    let ready = ask(&daemon, "/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)), "{ready:?}");
    let names = ready.json()["trust_domains"].as_array().unwrap().len();
    assert_eq!((names, ready.content_type.as_str()), (2, "application/json"));
    let metrics = ask(&daemon, "/metrics").await;
    assert_eq!(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(ask(&daemon, "/v1/intents").await.status, 404);
    // Nothing is exported that the documentation does not describe, label for label.
    let page = fs::read_to_string(root("docs/telemetry.md")).unwrap();
    for (name, labels) in Numbers::read(&metrics.body).names() {
        let own = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let own = own.filter(|own| page.contains(&format!("| `{own}"))).unwrap_or(&name);
        let labels: Vec<_> = labels.into_iter().filter(|label| label != "le").collect();
        let row = page.lines().find(|line| {
            line.starts_with(&format!("| `{own}{{")) || line.starts_with(&format!("| `{own}`"))
        });
        let row = row.unwrap_or_else(|| panic!("docs/telemetry.md says nothing of {name}"));
        assert!(
            labels.iter().all(|label| row.contains(label.as_str())),
            "{name} {labels:?}: {row}"
        );
    }
    // The endpoints file says where, for `marque dev` a socket.
    let endpoints: Value =
        serde_json::from_slice(&fs::read(daemon.endpoints_file()).unwrap()).unwrap();
    let at = endpoints["telemetry"].as_str().unwrap();
    assert!(at.starts_with("unix:/") && at.ends_with("/telemetry.sock"), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_told_of_and_nothing_listens_where_it_is_off() {
    let listen = |at: &str| vec!["--telemetry-listen".to_owned(), at.to_owned()];
    let daemon = Daemon::start_told(|_| {}, listen("127.0.0.1:0")).await;
    let endpoints: Value =
        serde_json::from_slice(&fs::read(daemon.endpoints_file()).unwrap()).unwrap();
    let url = format!("{}/ready", endpoints["telemetry"].as_str().unwrap());
    let answer = tokio::task::spawn_blocking(move || {
        ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap()
    });
    assert!(answer.await.unwrap().contains("\"ready\":true"));
    drop(daemon);
    let daemon = Daemon::start_told(|_| {}, listen("off")).await;
    assert!(!daemon.data_dir().join("telemetry.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_store_cannot_be_written_is_not_ready_and_says_why() {
    let daemon = Daemon::start().await;
    let file = daemon.data_dir().join(PRODUCTION).join("private/marque.sqlite");
    let holder = rusqlite::Connection::open(file).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ready = until("a daemon that is not ready", async || {
        let ready = ask(&daemon, "/ready").await;
        (ready.status == 503).then_some(ready)
    })
    .await;
    let told = ready.json();
    let domains = told["trust_domains"].as_array().unwrap();
    let of = |name: &str| domains.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of(PRODUCTION)["reasons"][0]["code"], "store_unwritable", "{told}");
    assert_eq!(of(NON_PRODUCTION)["ready"], true, "{told}");
    let status = daemon.operator(PRODUCTION).json(&["status"]).await;
    assert_eq!(status[0]["ready"], false, "{status}");
    assert_eq!(status[0]["not_ready"][0]["code"], "store_unwritable", "{status}");
    let said = in_words(&daemon, &["status"]).await;
    assert!(said.contains("no: store_unwritable: "), "{said:?}");
    let edge = format!("{}/ready", daemon.place(PRODUCTION).issuer_url);
    assert_eq!(daemon.http(PRODUCTION).send(Call::get(&edge)).await.status, 503);
    let numbers = Numbers::of(&daemon).await;
    let reason = [DOMAIN, ("reason", "store_unwritable")];
    assert_eq!(
        (numbers.sum("marque_ready", &[DOMAIN]), numbers.sum("marque_not_ready", &reason)),
        (0.0, 1.0)
    );
    holder.execute_batch("ROLLBACK").unwrap();
    until("a daemon that is ready again", async || {
        (ask(&daemon, "/ready").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_from_its_database_is_not_ready_and_says_why() {
    let Some(server) = fleet::database() else { return };
    let fleet = Fleet::new(&server).await;
    let replica = fleet.start("a").await;
    let http = Http::trusting(&replica.place.ca_file);
    let edge = format!("{}/ready", replica.place.issuer_url);
    assert_eq!(http.send(Call::get(&edge)).await.status, 200);
    let url = fs::read_to_string(fleet.path("store")).unwrap();
    let name = url.trim().rsplit_once('/').unwrap().1.to_owned();
    let (client, connection) =
        tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // One after the other: who is sent away must not come back before the door is shut.
    for query in [
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    ] {
        client.simple_query(&query).await.unwrap();
    }
    until("a replica that is not ready, with both reasons", async || {
        let status = replica.operator().json(&["status"]).await;
        let codes: Vec<_> = status[0]["not_ready"]
            .as_array()?
            .iter()
            .map(|reason| reason["code"].clone())
            .collect();
        let both = ["store_unwritable", "kills_unheard"];
        both.iter().all(|code| codes.contains(&json!(code))).then_some(())
    })
    .await;
    assert_eq!(http.send(Call::get(&edge)).await.status, 503);
    let back = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    client.simple_query(&back).await.unwrap();
    until("a replica that is ready again", async || {
        (http.send(Call::get(&edge)).await.status == 200).then_some(())
    })
    .await;
}

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

/// Prometheus' own checker, or `None` where the test is to be skipped.
fn promtool() -> Option<&'static str> {
    let there = std::process::Command::new("promtool").arg("--version").output().is_ok();
    assert!(there || !required("PROMTOOL"), "MARQUE_REQUIRE_PROMTOOL=1, but there is no promtool");
    if !there {
        eprintln!("skipped: install Debian's package prometheus");
    }
    there.then_some("promtool")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_and_the_scrape_pass_prometheus_own_checker() {
    let Some(promtool) = promtool() else { return };
    let rules = root("deploy/prometheus");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts-test.yml"],
        ["check", "config", "scrape.yml"],
    ] {
        let said =
            Command::new(promtool).args(arguments).current_dir(&rules).output().await.unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
    }
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    rotator.exchange(&intent).await.expect(200);
    let scrape = daemon.path("scrape");
    fs::write(&scrape, ask(&daemon, "/metrics").await.body).unwrap();
    let said = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(fs::File::open(&scrape).unwrap())
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_128_every_metric_of_dashboards_and_alerts_is_exported_and_latency_stands_beside_the_shares()
 {
    let page = fs::read_to_string(root("docs/telemetry.md")).unwrap();
    let known: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(['{', '`']).next())
        .collect();
    let name = regex::Regex::new(r"\bmarque_[a-z0-9_]+").unwrap();
    let mut files = Vec::new();
    for folder in ["deploy/grafana", "deploy/prometheus"] {
        let entries = fs::read_dir(root(folder)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    assert!(files.len() >= 5, "{files:?}");
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for found in name.find_iter(&text).map(|found| found.as_str()) {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| found.strip_suffix(end));
            let is_known = known.contains(found) || base.is_some_and(|base| known.contains(base));
            assert!(is_known, "{}: {found} is not exported", file.display());
        }
    }
    let board: Value =
        serde_json::from_slice(&fs::read(root("deploy/grafana/marque-privilege.json")).unwrap())
            .unwrap();
    let panels = board["panels"].as_array().unwrap();
    let expressions = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .iter()
            .filter_map(|target| target["expr"].as_str().map(str::to_owned))
            .collect::<String>()
    };
    let latency: Vec<_> = panels
        .iter()
        .map(expressions)
        .filter(|told| told.contains("marque_approval_wait_seconds"))
        .collect();
    assert_eq!(latency.len(), 1);
    for share in [r#"outcome="approved",by="person""#, r#"outcome="approved",by="policy""#] {
        assert!(latency[0].contains(share), "the latency stands alone: {share}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_takes_its_socket_away() {
    let mut daemon = Daemon::start().await;
    let socket = daemon.data_dir().join("telemetry.sock");
    assert!(try_ask(&socket, "/live").await.is_ok());
    daemon.stop().await;
    assert!(!socket.exists());
}
