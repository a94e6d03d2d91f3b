//! examples/rust-axum: axum behind `marque-verify`.

use serde_json::json;
use tokio::process::Command;

use super::bound::Ath;
use super::stage::{ELSEWHERE, RESOURCE, Stage};
use crate::support::http::Call;
use crate::support::server::{Server, example};

async fn start(stage: &Stage, resource: &str) -> Server {
    let mut command = Command::new(example("rust-axum"));
    command.args(stage.arguments(resource)).arg("--ca").arg(&stage.rotator.place.ca_file);
    Server::start(command, &stage.daemon.path("rust"), "rust-axum").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_example_takes_good_tokens_only() {
    let stage = Stage::new().await;
    let (server, elsewhere) = (start(&stage, RESOURCE).await, start(&stage, ELSEWHERE).await);
    stage.takes_the_good_token_and_no_other(&server.base, &elsewhere.base).await;
    stage.permits_only_what_the_details_say(&server.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_10_the_rust_example_says_where_its_tokens_come_from() {
    let stage = Stage::new().await;
    let server = start(&stage, RESOURCE).await;
    let refused = stage.ask(&server.base, "/secrets/x", None).await.expect(401);
    let told = refused.headers["www-authenticate"].to_str().unwrap();
    let metadata = format!("{RESOURCE}/.well-known/oauth-protected-resource");
    assert!(told.contains(&format!("resource_metadata=\"{metadata}\"")), "{told}");
    let url = format!("{}/.well-known/oauth-protected-resource", server.base);
    let told = stage.rotator.send(Call::get(&url)).await.expect(200).json();
    assert_eq!(told["resource"], RESOURCE);
    assert_eq!(told["authorization_servers"], json!([stage.rotator.place.issuer_url]));
    assert_eq!(told["scopes_supported"], json!(["secrets.update"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_rust_example_takes_a_bound_token_with_its_proof() {
    let stage = Stage::lasting().await;
    let server = start(&stage, RESOURCE).await;
    stage.takes_a_bound_token_with_its_proof(&server.base, Ath::Checked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_15_the_rust_example_reads_the_status_list() {
    let stage = Stage::lasting().await;
    let server = start(&stage, RESOURCE).await;
    stage.refuses_a_revoked_token(&server.base).await;
}
