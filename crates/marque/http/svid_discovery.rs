//! What clouds fetch to verify JWT-SVIDs, where the trust domain publishes it.
//!
//! The documents follow the own keys in the bundle. Deliberately absent: a login; nobody ever comes here in a browser.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use marque_exchange::IssuerUrl;

use super::{HttpState, discovery::CACHED, problem, routes::Routes};
use crate::discovery::{AUTHORIZE_PATH, CONFIGURATION_PATH, KEYS_PATH, configuration, keys};

pub(super) fn routes(issuer: &IssuerUrl) -> Routes {
    let (path, of) = (issuer.path(), issuer.clone());
    Routes::new()
        .route(
            &format!("{path}{CONFIGURATION_PATH}"),
            get(async move |State(state): State<HttpState>| {
                cached(configuration(&of, &state.issuer.own_bundle()))
            }),
        )
        .route(
            &format!("{path}{KEYS_PATH}"),
            get(async |State(state): State<HttpState>| cached(keys(&state.issuer.own_bundle()))),
        )
        .route(&format!("{path}{AUTHORIZE_PATH}"), get(async || nobody_logs_in()))
}

fn nobody_logs_in() -> Response {
    let title = "nobody logs in here: this issuer names workloads, and they get their tokens from the Workload API";
    problem::plain(StatusCode::BAD_REQUEST, title)
}

fn cached(document: serde_json::Value) -> Response {
    let mut response = Json(document).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}
