use std::sync::atomic::Ordering;

use marque_exchange::{Endpoint, Offers};

use super::{HttpLimits, Server, door::FakeDoor};

#[tokio::test]
async fn the_documents_are_where_their_standards_put_them() {
    let server = Server::start().await;
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let answer = server.get(path, "").await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("public, max-age=300")),
            "{path}"
        );
        assert_eq!(answer.json()["issuer"], "https://localhost:8443");
    }
    assert_eq!(server.get("/oauth2/jwks", "").await.json(), serde_json::json!({"keys": []}));
}

#[tokio::test]
async fn oauth_10_1_an_issuer_with_a_path_is_found_where_each_standard_looks() {
    let server =
        Server::with(FakeDoor::at("https://localhost:8443/prod/a"), HttpLimits::default()).await;
    for (path, status) in [
        ("/.well-known/oauth-authorization-server/prod/a", 200),
        ("/prod/a/.well-known/openid-configuration", 200),
        ("/.well-known/oauth-protected-resource/prod/a/v1", 200),
        ("/prod/a/oauth2/jwks", 200),
        ("/live", 200),
        ("/.well-known/oauth-authorization-server", 404),
        ("/prod/a/.well-known/oauth-authorization-server", 404),
        ("/.well-known/oauth-protected-resource", 404),
        ("/.well-known/oauth-protected-resource/v1", 404),
        ("/.well-known/openid-configuration", 404),
        ("/oauth2/jwks", 404),
    ] {
        assert_eq!(server.get(path, "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_ready_is_still_alive() {
    let server = Server::start().await;
    assert_eq!(server.get("/ready", "").await.status, 200);
    server.door.ready.store(false, Ordering::Relaxed);
    assert_eq!(server.get("/ready", "").await.status, 503);
    let answer = server.get("/live", "").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
}

#[tokio::test]
async fn nothing_else_is_there() {
    let server = Server::start().await;
    for path in ["/", "/oauth2", "/oauth2/token/", "/v1", "/v1/intents/x/approve", "/%2e%2e/live"] {
        let answer = server.get(path, "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(server.post("/oauth2/jwks", "", "").await.status, 405);
}

#[tokio::test]
async fn oauth_10_10_the_intents_api_has_metadata_of_its_own() {
    let server = Server::start().await;
    let answer = server.get("/.well-known/oauth-protected-resource/v1", "").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("public, max-age=300")));
    assert_eq!(answer.json()["resource"], "https://localhost:8443/v1");
}

#[tokio::test]
async fn oauth_10_5_an_endpoint_answers_where_it_is_offered_and_nowhere_else() {
    for offers in [Offers::ALL, super::door::NOTHING] {
        let server =
            Server::with(FakeDoor { offers, ..FakeDoor::default() }, HttpLimits::default()).await;
        for endpoint in Endpoint::ALL {
            let answers = [
                server.get(endpoint.path(), "").await.status,
                server.post(endpoint.path(), "", "").await.status,
            ];
            let there = answers.iter().all(|status| *status != 404);
            assert_eq!(there, endpoint.is_offered(&offers), "{endpoint:?}: {answers:?}");
        }
    }
}
