//! examples/apache: mod_oauth2 before a service that knows nothing of tokens.

use std::fs;

use serde_json::Value;
use tokio::process::Command;

use super::bound::Ath;
use super::stage::{ELSEWHERE, PERMITTED, RESOURCE, Stage};
use crate::support::daemon::PRODUCTION;
use crate::support::http::{Answer, Call, Http};
use crate::support::oauth::{approved_rotation, exchange_fields};
use crate::support::server::{Server, free_port, plain_service};
use crate::support::tools::tool;

/// Starts Apache for this resource, with the switch of the example that says which tokens it takes, if any.
async fn start(stage: &Stage, resource: &str, switch: Option<&str>) -> Option<Server> {
    let program = tool("APACHE", "an apache2 beside which mod_oauth2 is installed")?;
    let folder =
        stage.daemon.path(if resource == RESOURCE { "apache" } else { "apache-elsewhere" });
    fs::create_dir_all(&folder).expect("a folder");
    let place = &stage.rotator.place;
    let port = free_port().await;
    let certificate = |name| stage.daemon.path("certs").join(name).display().to_string();
    let mut command = Command::new(program);
    for (name, value) in [
        ("RUN", folder.display().to_string()),
        ("PORT", port.to_string()),
        ("ISSUER_PORT", free_port().await.to_string()),
        ("SERVICE_PORT", plain_service().await.to_string()),
        ("ISSUER", place.issuer_url.clone()),
        ("RESOURCE", resource.to_owned()),
        ("CA_FILE", place.ca_file.display().to_string()),
        ("CERT_FILE", certificate("server.pem")),
        ("KEY_FILE", certificate("server.key")),
    ] {
        command.args(["-C", &format!("Define {name} {value}")]);
    }
    command.args(switch.map(|switch| format!("-D{switch}")));
    command.arg("-DFOREGROUND").arg("-f").arg(Stage::example("apache/resource-server.conf"));
    Some(Server::start_on(port, command, &folder, "apache").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apache_example_takes_good_tokens_only() {
    let stage = Stage::new().await;
    let Some(server) = start(&stage, RESOURCE, None).await else { return };
    let Some(elsewhere) = start(&stage, ELSEWHERE, None).await else { return };
    stage.takes_the_good_token_and_no_other(&server.base, &elsewhere.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apache_example_hands_on_the_claims_and_not_the_token() {
    let stage = Stage::new().await;
    let Some(server) = start(&stage, RESOURCE, None).await else { return };
    let (_intent, token) = stage.token().await;
    let call = Call::get(&format!("{}{PERMITTED}", server.base))
        .bearer(&token)
        .header("x-marque-sub", "forged");
    let answer = stage.rotator.send(call).await.expect(200);
    assert!(!answer.body.contains(&token), "{answer:?}");
    let seen = answer.json();
    assert_eq!(seen["x-marque-sub"], stage.rotator.place.id("/agent/cert-rotator/one"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_apache_example_refuses_bound_tokens_as_bearer_tokens() {
    let stage = Stage::lasting().await;
    let Some(server) = start(&stage, RESOURCE, None).await else { return };
    stage.refuses_bound_tokens(&server.base).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_apache_example_takes_a_bound_token_with_its_proof() {
    let stage = Stage::lasting().await;
    let Some(server) = start(&stage, RESOURCE, Some("DPOP")).await else { return };
    stage.takes_a_bound_token_with_its_proof(&server.base, Ath::NotChecked).await;
}

/// What somebody gets who shows this certificate, or none, and the token.
async fn over_tls(http: &Http, server: &Server, token: &str) -> Answer {
    let base = server.base.replace("http://127.0.0.1", "https://localhost");
    http.send(Call::get(&format!("{base}{PERMITTED}")).bearer(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_6_the_apache_example_takes_a_bound_token_with_its_certificate() {
    let mut stage = Stage::lasting().await;
    let Some(server) = start(&stage, RESOURCE, Some("MTLS")).await else { return };
    let svid = stage.rotator.workload.x509_svid().await.expect("an X.509-SVID");
    let der = |text: &Value| hex::decode(text.as_str().expect("a text")).expect("hexadecimal");
    let chain: Vec<Vec<u8>> = svid["chain"].as_array().expect("a chain").iter().map(der).collect();
    let holder = stage.daemon.http_with(PRODUCTION, &chain, &der(&svid["key"]));
    let intent = approved_rotation(&stage.daemon, &stage.rotator).await;
    let fields: Vec<_> = exchange_fields(&stage.rotator.svid, &intent)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("client_assertion"))
        .chain([("client_id", svid["id"].as_str().expect("an id").to_owned())])
        .collect();
    let answer = holder.send(Call::form(&stage.rotator.place.token_endpoint, &fields)).await;
    let token = answer.expect(200).text("access_token");
    over_tls(&holder, &server, &token).await.expect(200);
    let other = rcgen::generate_simple_self_signed(["other.example.org".to_owned()]).expect("one");
    let shown = [other.cert.der().to_vec()];
    let other = stage.daemon.http_with(PRODUCTION, &shown, &other.signing_key.serialize_der());
    for http in [&other, &stage.rotator.http] {
        over_tls(http, &server, &token).await.expect(401);
        // Nor is a token good that is bound to nothing.
        let (_intent, bearer) = stage.token().await;
        over_tls(http, &server, &bearer).await.expect(401);
    }
    over_tls(&holder, &server, &token).await.expect(200);
}
