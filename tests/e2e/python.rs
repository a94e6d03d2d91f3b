//! Clients of another language: PyPI's `spiffe`, `requests-oauth2client` and `joserfc`, each in a process that attests like any
//! agent. `MARQUE_TEST_PYTHON` names an interpreter that has them (see `.ci/requirements.txt`).

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::oauth::INGRESS;
use crate::support::place::Place;
use crate::support::python::{interpreter, own_interpreter};

/// Runs a script against one trust domain; what it prints is JSON.
pub(crate) async fn run(
    program: &Path,
    script: &str,
    place: &Place,
    arguments: &[&str],
    input: &str,
) -> Value {
    let mut child = Command::new(program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script))
        .args(arguments)
        .env("SPIFFE_ENDPOINT_SOCKET", place.workload_api())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("standard input");
    stdin.write_all(input.as_bytes()).await.expect("the script reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("the script ends");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {arguments:?}: {}\n{out}\n{err}", output.status);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{script}: {error}: {out}\n{err}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_spiffe_client_gets_and_validates_identities() {
    let Some(python) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let program = own_interpreter(&python, &daemon.path(""), "python-workload");
    let place = daemon.place(PRODUCTION);
    let id = place.id("/service/python");
    daemon.operator(PRODUCTION).register(&id, "service", &program).await;
    let told =
        run(&program, "spiffe_client.py", place, &["https://resource.example.org"], "").await;
    assert_eq!(told["x509_svid"], id, "{told}");
    assert_eq!(told["jwt_svid"], id, "{told}");
    assert_eq!(told["validated"], id, "{told}");
    assert_eq!(told["parsed_with_bundle"], id, "{told}");
    assert_eq!(told["trust_domain"], PRODUCTION, "{told}");
    assert_eq!(told["wrong_audience_refused"], true, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_jose_library_verifies_a_wit_svid_and_its_key() {
    let Some(python) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let program = own_interpreter(&python, &daemon.path(""), "python-holder");
    let place = daemon.place(NON_PRODUCTION);
    let id = place.id("/service/python");
    daemon.operator(NON_PRODUCTION).register(&id, "service", &program).await;
    let told = run(&program, "wit_client.py", place, &[], "").await;
    assert_eq!((&told["spiffe_id"], &told["subject"]), (&json!(id), &json!(id)), "{told}");
    assert_eq!((&told["type"], &told["uses"]), (&json!("wit+jwt"), &json!(["wit-svid"])), "{told}");
    assert_eq!(told["headers"], json!(["alg", "kid", "typ"]), "{told}");
    assert_eq!(told["claims"], json!(["cnf", "exp", "iat", "jti", "nbf", "sub"]), "{told}");
    for fact in ["thumbprint_is_kid", "same_thumbprint", "another_holder_refused"] {
        assert_eq!(told[fact], true, "{fact}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_oauth_client_exchanges_and_introspects() {
    let Some(python) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let agent = own_interpreter(&python, &daemon.path(""), "python-agent");
    let resource = own_interpreter(&python, &daemon.path(""), "python-resource");
    let place = daemon.place(PRODUCTION);
    let operator = daemon.operator(PRODUCTION);
    let id = place.id("/agent/cert-rotator/python");
    operator.register(&id, "agent", &agent).await;
    operator.register(&place.id(INGRESS.path), "service", &resource).await;
    let endpoints = daemon.endpoints_file().display().to_string();
    let call = async |program: &Path, arguments: &[&str], input: &str| {
        run(
            program,
            "oauth_client.py",
            place,
            &[&[endpoints.as_str(), PRODUCTION][..], arguments].concat(),
            input,
        )
        .await
    };

    let intent = call(&agent, &["ask"], "").await["id"].as_str().expect("an intent").to_owned();
    let pending = call(&agent, &["exchange", &intent], "").await;
    assert_eq!(
        (&pending["error"], &pending["code"]),
        (&"access_denied".into(), &"approval_pending".into())
    );
    operator.approve(&intent).await;
    let exchanged = call(&agent, &["exchange", &intent], "").await;
    assert_eq!(exchanged["scope"], INGRESS.scope, "{exchanged}");
    let token = exchanged["access_token"].as_str().expect("a token");
    for program in [&agent, &resource] {
        let told = call(program, &["introspect"], token).await;
        assert_eq!(told["active"], true, "{told}");
        assert_eq!(told["sub"], id, "{told}");
    }
    let again = call(&agent, &["exchange", &intent], "").await;
    assert_eq!(again["code"], "grant_consumed", "{again}");
    operator.kill(&["playbook", "ingress-cert-rotation"]).await;
    assert_eq!(call(&resource, &["introspect"], token).await["active"], false);
}
