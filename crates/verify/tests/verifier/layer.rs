//! The layer before a service, the answers to refusals, and axum's way to have both.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use marque_verify::{Binding, Need, Refused, VerifiedToken, VerifyLayer, metadata_route};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{JWKS_URL, METADATA_URL, Stage};

const METADATA: &str =
    "resource_metadata=\"https://api.example.org/.well-known/oauth-protected-resource\"";

async fn who(token: VerifiedToken, headers: HeaderMap) -> String {
    let passed_on = headers.contains_key(AUTHORIZATION) || headers.contains_key("dpop");
    format!("{} {passed_on}", token.client_id())
}

async fn write(token: VerifiedToken) -> Result<&'static str, Refused> {
    token.require(&Need::new("file", "write").on("a"))?;
    Ok("written")
}

fn app(stage: &Stage) -> Router {
    let layer = VerifyLayer::new(Arc::clone(&stage.verifier));
    Router::new()
        .route("/who", get(who))
        .route("/write", get(write))
        .layer(layer.clone())
        .merge(Router::new().route("/admin", get(who)).layer(layer.with_scopes(["admin", "all"])))
        .merge(metadata_route(&stage.verifier))
        .route("/open", get(who))
}

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn challenges(response: &Response<Body>) -> Vec<String> {
    let all = response.headers().get_all(WWW_AUTHENTICATE).iter();
    all.map(|value| value.to_str().unwrap().to_owned()).collect()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_verified_request_goes_through_without_its_token() {
    let stage = Stage::new();
    let bearer = format!("Bearer {}", stage.token());
    let answer = ask(&app(&stage), "/who", &[("authorization", &bearer), ("dpop", "x")]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer).await, "spiffe://example.org/agent/one false");
}

#[tokio::test]
async fn oauth_10_a_request_without_a_token_is_told_where_to_get_one() {
    let stage = Stage::new();
    let answer = ask(&app(&stage), "/who", &[]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[CACHE_CONTROL]),
        (401, &"no-store".parse().unwrap())
    );
    let told = challenges(&answer);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], format!("Bearer {METADATA}"));
    assert!(told[1].starts_with("DPoP algs=\"RS256 ") && told[1].ends_with(METADATA), "{told:?}");
    assert_eq!(text(answer).await, "");
    let told = challenges(&ask(&app(&stage), "/admin", &[]).await);
    assert!(told[0].contains("scope=\"admin all\""), "{told:?}");
    let stage = Stage::with(|settings| settings.binding = Binding::Dpop);
    let told = challenges(&ask(&app(&stage), "/who", &[("authorization", "Basic eDp5")]).await);
    assert!(told.len() == 1 && told[0].starts_with("DPoP "), "{told:?}");
}

#[tokio::test]
async fn each_refusal_has_its_status_and_its_error() {
    let stage = Stage::new();
    let good = format!("Bearer {}", stage.token());
    let expired = format!("Bearer {}", stage.token_with(&json!({"exp": 1, "iat": 0})));
    let bound = format!("Bearer {}", stage.token_with(&json!({"cnf": {"jkt": "A".repeat(43)}})));
    for (path, header, status, scheme, error) in [
        ("/who", "Bearer", 400, "Bearer ", "error=\"invalid_request\""),
        ("/who", "Bearer a b", 400, "Bearer ", "error=\"invalid_request\""),
        ("/who?access_token=x", &*good, 400, "Bearer ", "error=\"invalid_request\""),
        ("/who", "Bearer x.y.z", 401, "Bearer ", "error=\"invalid_token\""),
        (
            "/who",
            &*expired,
            401,
            "Bearer ",
            "error=\"invalid_token\", error_description=\"the token has expired\"",
        ),
        ("/who", &*bound, 401, "DPoP ", "error=\"invalid_token\""),
        ("/admin", &*good, 403, "Bearer ", "error=\"insufficient_scope\""),
        ("/admin", &*good, 403, "Bearer ", "scope=\"admin all\""),
        ("/write", &*good, 403, "Bearer ", "error=\"insufficient_authorization_details\""),
    ] {
        let answer = ask(&app(&stage), path, &[("authorization", header)]).await;
        let told = challenges(&answer);
        assert_eq!(answer.status(), status, "{header}: {told:?}");
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        assert!(told.len() == 1 && told[0].starts_with(scheme), "{header}: {told:?}");
        assert!(told[0].contains(error) && told[0].contains(METADATA), "{header}: {told:?}");
        assert_eq!(text(answer).await, "", "{header}");
    }
}

#[tokio::test]
async fn a_verifier_that_cannot_judge_answers_503_and_blames_no_token() {
    let stage = Stage::new();
    stage.documents.remove(JWKS_URL);
    let bearer = format!("Bearer {}", stage.token());
    let answer = ask(&app(&stage), "/who", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key(RETRY_AFTER) && challenges(&answer).is_empty());
}

#[tokio::test]
async fn a_handler_without_the_layer_answers_nobody() {
    let stage = Stage::new();
    let bearer = format!("Bearer {}", stage.token());
    let answer = ask(&app(&stage), "/open", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), 500);
}

#[tokio::test]
async fn oauth_10_the_metadata_is_served_to_anybody() {
    let stage = Stage::new();
    let answer = ask(&app(&stage), "/.well-known/oauth-protected-resource", &[]).await;
    assert_eq!(answer.status(), 200);
    let served: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(served, stage.verifier.metadata());
    assert_eq!(stage.documents.calls_of(METADATA_URL), 0);
}

#[tokio::test]
async fn nothing_that_came_with_a_request_stands_in_its_answer() {
    let stage = Stage::new();
    for header in ["Bearer canary.canary.canary", "Bearer canary canary", "canary canary"] {
        let answer = ask(&app(&stage), "/who?canary", &[("authorization", header)]).await;
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
}
