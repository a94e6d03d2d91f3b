//! examples/rust-axum: axum behind `marque-verify`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::process::Command;

use super::bound::Ath;
use super::stage::{ELSEWHERE, RESOURCE, Stage};
use crate::support::daemon::{PRODUCTION, ROTATOR};
use crate::support::http::Call;
use crate::support::server::{Server, example};
use crate::support::wait::until;

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

#[tokio::test(flavor = "multi_thread")]
async fn m_119_the_rust_example_heeds_a_kill_within_seconds_and_refuses_while_it_is_cut_off() {
    let stage = Stage::lasting().await;
    let server = start(&stage, RESOURCE).await;
    let (_intent, token) = stage.token().await;
    stage.bearer(&server.base, &token).await.expect(200);
    let signal = |signal| nix::sys::signal::kill(stage.daemon.pid(), signal).expect("it runs");
    // The daemon answers nobody, as behind a cut cable; its ports stay open.
    signal(Signal::SIGSTOP);
    let cut = Instant::now();
    until("the refusal of whoever is cut off", async || {
        let asked = cut.elapsed();
        let status = stage.bearer(&server.base, &token).await.status;
        assert!(status == 503 || asked < Duration::from_secs(2), "{status} after {asked:?}");
        (status == 503).then_some(())
    })
    .await;
    signal(Signal::SIGCONT);
    until("the answer after it healed", async || {
        (stage.bearer(&server.base, &token).await.status == 200).then_some(())
    })
    .await;
    let agent = stage.rotator.place.id(ROTATOR.path);
    stage.daemon.operator(PRODUCTION).kill(&["agent", &agent]).await;
    let killed = Instant::now();
    until("the refusal of the killed agent's token", async || {
        (stage.bearer(&server.base, &token).await.status == 401).then_some(())
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
}
