//! The OpenAPI document that is served: PyPI's `openapi-spec-validator` finds it well-formed, and `schemathesis` holds the
//! daemon against it. `MARQUE_TEST_PYTHON` names an interpreter that has them (see `.ci/requirements.txt`).

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::http::Call;
use crate::support::oauth::Client;
use crate::support::python::interpreter;

/// Fewer requests than this have not tried eighteen operations.
const CASES: u64 = 300;

/// A Python at work in a folder of its own.
fn python(program: &Path, folder: &Path) -> Command {
    fs::create_dir_all(folder).expect("a folder");
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", script(""))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_10_the_served_document_is_one_by_its_specification() {
    let Some(program) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION);
    let url = format!("{}/openapi.json", place.issuer_url);
    let document = daemon.http(PRODUCTION).send(Call::get(&url)).await.expect(200).json();
    let mut broken = document.clone();
    broken["paths"]["/oauth2/token"]["post"]["responses"] = json!([]);
    let folder = daemon.path("openapi");
    let valid = async |name: &str, document: &Value| {
        let mut command = python(&program, &folder);
        fs::write(folder.join(name), document.to_string()).expect("a file");
        command.args(["-m", "openapi_spec_validator", name]).output().await.expect("it runs")
    };
    let good = valid("served.json", &document).await;
    assert!(good.status.success(), "{}", said(&good));
    let bad = valid("broken.json", &broken).await;
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
}

/// How many operations `schemathesis.toml` leaves out, each with its reason there.
const LEFT_OUT: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn oauth_10_what_is_served_is_what_the_document_says() {
    let Some(program) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let folder = daemon.path("schemathesis");
    let output = python(&program.with_file_name("schemathesis"), &folder)
        .arg("--config-file")
        .arg(script("schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", rotator.place.issuer_url), "--tls-verify"])
        .arg(&rotator.place.ca_file)
        .args(["--report", "json", "--report-json-path", "report.json"])
        .env("SCHEMATHESIS_HOOKS", "openapi_hooks")
        .env("MARQUE_TEST_SVID", &rotator.svid)
        .output()
        .await
        .expect("it runs");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let report = fs::read(folder.join("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let operations = &report["operations"];
    let count = |name: &str| operations[name].as_u64().expect("a number");
    assert_eq!(count("tested") + LEFT_OUT, count("total"), "{operations}");
    for phase in ["examples", "coverage", "fuzzing", "stateful"] {
        assert_eq!(report["phases"][phase]["status"], "success", "{phase}: {said}");
    }
    assert!(report["test_cases"]["generated"].as_u64() > Some(CASES), "{said}");
    assert!(!daemon.output().contains(&rotator.svid), "the SVID is in the log");
}
