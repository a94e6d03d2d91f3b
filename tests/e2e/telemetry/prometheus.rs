//! Prometheus' rules, Grafana's boards, and what they rest on.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tokio::process::Command;

use super::root;
use crate::support::daemon::{Daemon, ROTATOR};
use crate::support::oauth::{Client, approved_rotation};
use crate::support::telemetry::ask;
use crate::support::tools::required;

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
