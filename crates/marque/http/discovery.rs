//! What anybody may read: metadata, keys, and whether the server is alive and ready.
//!
//! Deliberately absent: anything about agents, intents or tokens.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use marque_exchange::{Endpoint, INTENTS_API_PATH, METADATA_PATH, RESOURCE_METADATA_PATH};
use serde_json::Value;

use super::{HttpState, routes::Routes};

/// How long the documents may be cached.
pub(super) const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// How long the key set may be cached at most, in seconds. It is not longer than the bundle's refresh hint, because a key is
/// published for three times that before it signs.
const KEYS_CACHED: u64 = 300;

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        // RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID puts it after.
        .route(&format!("{METADATA_PATH}{path}"), get(metadata))
        .route(&format!("{RESOURCE_METADATA_PATH}{path}{INTENTS_API_PATH}"), get(resource_metadata))
        .route(&format!("{path}/.well-known/openid-configuration"), get(openid_configuration))
        .route(&format!("{path}{}", Endpoint::Jwks.path()), get(jwks))
        .route("/live", get(async || "alive\n"))
        .route("/ready", get(ready))
}

async fn metadata(State(state): State<HttpState>) -> Response {
    cached(state.issuer.metadata())
}

async fn openid_configuration(State(state): State<HttpState>) -> Response {
    cached(state.issuer.openid_configuration())
}

async fn resource_metadata(State(state): State<HttpState>) -> Response {
    cached(state.issuer.resource_metadata())
}

async fn jwks(State(state): State<HttpState>) -> Response {
    let age = state.issuer.bundle().refresh_hint().as_secs().min(KEYS_CACHED);
    let mut response = Json(state.issuer.jwks()).into_response();
    if let Ok(cached) = HeaderValue::try_from(format!("public, max-age={age}")) {
        response.headers_mut().insert(header::CACHE_CONTROL, cached);
    }
    response
}

async fn ready(State(state): State<HttpState>) -> Response {
    if state.issuer.is_ready().await {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

fn cached(document: Value) -> Response {
    let mut response = Json(document).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}
