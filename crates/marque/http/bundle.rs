//! The trust domain's own bundle for everybody who asks (SPIFFE Federation): on the HTTPS edge as profile `https_web`, and on the
//! listener of profile `https_spiffe` (`issuer/bundle_endpoint.rs`).
//!
//! Nobody has to say who they are (FE-6). Deliberately absent: TLS, and the bundles of others.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{HttpState, routes::Routes};

/// Where the bundle is, below the issuer.
pub const PATH: &str = "/spiffe/bundle";

pub(super) fn routes(path: &str) -> Routes {
    Routes::new().route(&format!("{path}{PATH}"), get(bundle))
}

/// The bundle and nothing else: where clients of other makes look, and where the HTTPS edge has it.
pub(super) fn alone() -> Routes {
    Routes::new().route("/", get(bundle)).route(PATH, get(bundle))
}

async fn bundle(State(state): State<HttpState>) -> Response {
    let bundle = state.issuer.bundle();
    // A cache on the way may delay a change by a part of what clients wait anyway, no more.
    let age = bundle.refresh_hint().as_secs() / 4;
    let mut response = Json(bundle.to_document()).into_response();
    if let Ok(cached) = HeaderValue::try_from(format!("public, max-age={age}")) {
        response.headers_mut().insert(header::CACHE_CONTROL, cached);
    }
    response
}
