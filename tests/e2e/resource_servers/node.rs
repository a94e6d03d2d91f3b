//! examples/node: oauth4webapi and jose.

use tokio::process::Command;

use super::bound::Ath;
use super::stage::{ELSEWHERE, RESOURCE, Stage};
use crate::support::node::{modules, script};
use crate::support::server::Server;

async fn start(stage: &Stage, resource: &str) -> Option<Server> {
    let modules = modules()?;
    let folder = stage.daemon.path("node");
    let server = script(&modules, &Stage::example("node/server.mjs"), &folder);
    let mut command = Command::new("node");
    command
        .arg(server)
        .args(stage.arguments(resource))
        .env("NODE_EXTRA_CA_CERTS", &stage.rotator.place.ca_file);
    let name = resource.split(['/', '.']).nth(2).unwrap_or_default().to_owned();
    Some(Server::start(command, &folder, &name).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_example_takes_good_tokens_only() {
    let stage = Stage::new().await;
    let Some(server) = start(&stage, RESOURCE).await else { return };
    let Some(elsewhere) = start(&stage, ELSEWHERE).await else { return };
    stage.takes_the_good_token_and_no_other(&server.base, &elsewhere.base).await;
    stage.permits_only_what_the_details_say(&server.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_node_example_takes_a_bound_token_with_its_proof() {
    let stage = Stage::lasting().await;
    let Some(server) = start(&stage, RESOURCE).await else { return };
    stage.takes_a_bound_token_with_its_proof(&server.base, Ath::Checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_15_the_node_example_reads_the_status_list() {
    let stage = Stage::lasting().await;
    let Some(server) = start(&stage, RESOURCE).await else { return };
    stage.refuses_a_revoked_token(&server.base).await;
}
