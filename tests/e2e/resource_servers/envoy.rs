//! examples/envoy: `jwt_authn` and `rbac` before a service that knows nothing of tokens.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::stage::{ELSEWHERE, PERMITTED, RESOURCE, Stage};
use crate::support::envoy::{Envoy, program};
use crate::support::http::Call;
use crate::support::server::plain_service;

/// The configuration as it ships, at home in this test.
async fn start(stage: &Stage, program: &Path, resource: &str) -> (Envoy, String) {
    let place = &stage.rotator.place;
    let port = place.issuer_url.rsplit(':').next().unwrap();
    let mut config = fs::read_to_string(Stage::example("envoy/envoy.yaml")).unwrap();
    let service = format!("port_value: {}", plain_service().await);
    for (written, own, times) in [
        ("port_value: 8080", "port_value: 0", 1),
        ("port_value: 8081", &*service, 1),
        ("port_value: 8443", &*format!("port_value: {port}"), 1),
        ("https://localhost:8443", &*place.issuer_url, 2),
        ("certs-dev/ca.pem", &*place.ca_file.display().to_string(), 1),
        ("https://ingress.prod.example.org", resource, 1),
    ] {
        assert_eq!(config.matches(written).count(), times, "{written}");
        config = config.replace(written, own);
    }
    let folder = stage.daemon.path(if resource == RESOURCE { "e" } else { "f" });
    let envoy = Envoy::start_configured(program, &folder, "envoy.yaml", &config).await;
    let base = format!("http://127.0.0.1:{}", envoy.port("api").await);
    (envoy, base)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envoy_example_takes_good_tokens_only() {
    let Some(program) = program() else { return };
    let stage = Stage::new().await;
    let (_envoy, server) = start(&stage, &program, RESOURCE).await;
    let (_other, elsewhere) = start(&stage, &program, ELSEWHERE).await;
    stage.takes_the_good_token_and_no_other(&server, &elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envoy_example_hands_on_the_claims_and_not_the_token() {
    let Some(program) = program() else { return };
    let stage = Stage::new().await;
    let (_envoy, server) = start(&stage, &program, RESOURCE).await;
    let (_intent, token) = stage.token().await;
    let call = Call::get(&format!("{server}{PERMITTED}"))
        .bearer(&token)
        .header("x-marque-claims", "forged");
    let seen = stage.rotator.send(call).await.expect(200).json();
    assert!(seen.get("authorization").is_none(), "{seen}");
    let claims = URL_SAFE_NO_PAD.decode(seen["x-marque-claims"].as_str().unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims, crate::support::tokens::claims(&token));
    let in_query = format!("{server}{PERMITTED}?access_token={token}");
    stage.rotator.send(Call::get(&in_query)).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_7_the_envoy_example_refuses_bound_tokens() {
    let Some(program) = program() else { return };
    let stage = Stage::lasting().await;
    let (_envoy, server) = start(&stage, &program, RESOURCE).await;
    stage.refuses_bound_tokens(&server).await;
}
