//! `marque plan`: what a folder would change against the running daemon and against another folder.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, PRODUCTION};
use crate::support::folder::{self, append, edit};
use crate::support::operator::{Said, run_marque};

const DOCUMENT: &str = "prod.example.org/trust-domain.toml";
const ENTRY: &str = "prod.example.org/entries/cert-rotator.toml";

fn copy() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    folder::copy(&folder::shipped(), scratch.path());
    scratch
}

async fn between(from: &Path, to: &Path, more: &[&str]) -> Said {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    let all = [&["--output", "json", "plan", "--from", &from, &to], more].concat();
    run_marque(&all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).await
}

fn sentences(report: &Value) -> Vec<(String, String)> {
    let plans = report["trust_domains"].as_array().unwrap().iter();
    let changes = plans.flat_map(|plan| plan["changes"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    changes.map(|change| (text(&change["effect"]), text(&change["sentence"]))).collect()
}

#[tokio::test]
async fn a_plan_between_folders_says_what_changes_and_its_exit_code_says_whether() {
    let (before, after) = (copy(), copy());
    let none = between(before.path(), after.path(), &["--exit-code"]).await.succeeded().json();
    assert_eq!(none["changed"], false);
    edit(after.path(), DOCUMENT, "jwt_svid = \"5m\"", "jwt_svid = \"2m\"");
    let narrower = between(before.path(), after.path(), &["--refuse-wider"]).await.succeeded();
    assert_eq!(
        sentences(&narrower.json()),
        [("narrower".to_owned(), "`lifetimes.jwt_svid` was `5m` and is `2m`".to_owned())]
    );
    assert_eq!(between(before.path(), after.path(), &["--exit-code"]).await.code, 2);
    edit(after.path(), ENTRY, "\"unix:user:marque-cert-rotator\",", "");
    let report = between(before.path(), after.path(), &["--refuse-wider"]).await.failed();
    let found = sentences(&report.json());
    assert_eq!(found[0].0, "wider", "what is wider comes first: {found:?}");
    assert!(found[0].1.contains("and is for those with `unix:path:/usr/local/bin/cert-rotator`"));
    edit(after.path(), DOCUMENT, "tenant = ", "tenat = ");
    let unsound = between(before.path(), after.path(), &[]).await.failed();
    assert!(unsound.err.contains("`tenant` is missing"), "{unsound:?}");
}

#[tokio::test]
async fn a_plan_against_the_daemon_is_of_what_it_serves() {
    let daemon = Daemon::start().await;
    let operator = daemon.operator(PRODUCTION);
    let served = daemon.path("trust-domains");
    let folder = served.display().to_string();
    let none = operator.json(&["plan", &folder, "--exit-code"]).await;
    assert_eq!(none["changed"], false, "{none:#}");
    // The daemon serves what it read, and not what lies there now.
    append(
        &served,
        "prod.example.org/entries/more.toml",
        "[[entry]]\nid = \"reporter\"\nspiffe_id = \"spiffe://prod.example.org/agent/reporter\"\nrole = \"agent\"\n\
         owner = \"group:sre\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"unix:user:reporter\"]\n",
    );
    edit(&served, DOCUMENT, "x509_svid = \"1h\"", "x509_svid = \"2h\"");
    let report = operator.json(&["plan", &folder]).await;
    let found = sentences(&report);
    let gained = "processes with `unix:user:reporter` gain `spiffe://prod.example.org/agent/reporter` as agent \
                  (entry `reporter` of `group:sre`)";
    assert!(found.contains(&("wider".to_owned(), gained.to_owned())), "{found:?}");
    assert!(
        found.iter().any(|(_, sentence)| sentence == "`lifetimes.x509_svid` was `1h` and is `2h`")
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(operator.run(&["plan", &folder, "--exit-code"]).await.code, 2);
}
