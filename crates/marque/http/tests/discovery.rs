use std::sync::atomic::Ordering;

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
async fn an_issuer_with_a_path_is_found_by_both_standards() {
    let server =
        Server::with(FakeDoor::at("https://localhost:8443/prod/a"), HttpLimits::default()).await;
    for (path, status) in [
        ("/.well-known/oauth-authorization-server/prod/a", 200),
        ("/prod/a/.well-known/openid-configuration", 200),
        ("/prod/a/oauth2/jwks", 200),
        ("/live", 200),
        ("/.well-known/oauth-authorization-server", 404),
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
