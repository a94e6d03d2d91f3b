//! examples/apache: mod_oauth2 before a service that knows nothing of tokens.

use std::fs;

use tokio::process::Command;

use super::stage::{ELSEWHERE, PERMITTED, RESOURCE, Stage};
use crate::support::http::Call;
use crate::support::server::{Server, free_port, plain_service};
use crate::support::tools::tool;

async fn start(stage: &Stage, resource: &str) -> Option<Server> {
    let program = tool("APACHE", "an apache2 beside which mod_oauth2 is installed")?;
    let folder =
        stage.daemon.path(if resource == RESOURCE { "apache" } else { "apache-elsewhere" });
    fs::create_dir_all(&folder).expect("a folder");
    let place = &stage.rotator.place;
    let port = free_port().await;
    let mut command = Command::new(program);
    for (name, value) in [
        ("RUN", folder.display().to_string()),
        ("PORT", port.to_string()),
        ("ISSUER_PORT", free_port().await.to_string()),
        ("SERVICE_PORT", plain_service().await.to_string()),
        ("ISSUER", place.issuer_url.clone()),
        ("RESOURCE", resource.to_owned()),
        ("CA_FILE", place.ca_file.display().to_string()),
    ] {
        command.args(["-C", &format!("Define {name} {value}")]);
    }
    command.arg("-DFOREGROUND").arg("-f").arg(Stage::example("apache/resource-server.conf"));
    Some(Server::start_on(port, command, &folder, "apache").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apache_example_takes_good_tokens_only() {
    let stage = Stage::new().await;
    let Some(server) = start(&stage, RESOURCE).await else { return };
    let Some(elsewhere) = start(&stage, ELSEWHERE).await else { return };
    stage.takes_the_good_token_and_no_other(&server.base, &elsewhere.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apache_example_hands_on_the_claims_and_not_the_token() {
    let stage = Stage::new().await;
    let Some(server) = start(&stage, RESOURCE).await else { return };
    let (_intent, token) = stage.token().await;
    let call = Call::get(&format!("{}{PERMITTED}", server.base))
        .bearer(&token)
        .header("x-marque-sub", "forged");
    let seen = stage.rotator.send(call).await.expect(200).json();
    assert!(seen.get("authorization").is_none(), "{seen}");
    assert_eq!(seen["x-marque-sub"], stage.rotator.place.id("/agent/cert-rotator/one"), "{seen}");
}
