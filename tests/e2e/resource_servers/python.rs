//! examples/python: joserfc, and introspection as the service that it is.

use serde_json::json;
use tokio::process::Command;

use super::bound::Ath;
use super::stage::{ELSEWHERE, RESOURCE, Stage};
use crate::support::daemon::PRODUCTION;
use crate::support::oauth::INGRESS;
use crate::support::python::{interpreter, own_interpreter};
use crate::support::server::Server;

/// Two servers of the example: one for the tokens' audience, which introspects, and one elsewhere, which asks nobody.
async fn start(stage: &Stage) -> Option<(Server, Server)> {
    let python = interpreter()?;
    let program = own_interpreter(&python, &stage.daemon.path(""), "python-ingress");
    let id = stage.rotator.place.id(INGRESS.path);
    stage.daemon.operator(PRODUCTION).register(&id, "service", &program).await;
    let command = |resource: &str| {
        let mut command = Command::new(&program);
        command
            .arg(Stage::example("python/server.py"))
            .args(stage.arguments(resource))
            .arg("--ca")
            .arg(&stage.rotator.place.ca_file)
            .env("SPIFFE_ENDPOINT_SOCKET", stage.rotator.place.workload_api())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let folder = stage.daemon.path("python");
    let server = Server::start(command(RESOURCE), &folder, "server").await;
    let mut offline = command(ELSEWHERE);
    offline.arg("--offline");
    Some((server, Server::start(offline, &folder, "elsewhere").await))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_takes_good_tokens_only() {
    let stage = Stage::new().await;
    let Some((server, elsewhere)) = start(&stage).await else { return };
    stage.takes_the_good_token_and_no_other(&server.base, &elsewhere.base).await;
    stage.permits_only_what_the_details_say(&server.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_refuses_a_token_whose_intent_is_completed() {
    let stage = Stage::new().await;
    let Some((server, _elsewhere)) = start(&stage).await else { return };
    let (intent, token) = stage.token().await;
    stage.bearer(&server.base, &token).await.expect(200);
    stage.rotator.end(&intent, "complete", &json!({"outcome": "success"})).await.expect(200);
    stage.bearer(&server.base, &token).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_python_example_takes_a_bound_token_with_its_proof() {
    let stage = Stage::lasting().await;
    let Some((server, _elsewhere)) = start(&stage).await else { return };
    stage.takes_a_bound_token_with_its_proof(&server.base, Ath::Checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_11_the_python_example_refuses_a_revoked_token() {
    let stage = Stage::lasting().await;
    let Some((server, _elsewhere)) = start(&stage).await else { return };
    stage.refuses_a_revoked_token(&server.base).await;
}
