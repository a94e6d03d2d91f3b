//! For axum: the token as an argument of a handler, a refusal as its answer, and the metadata as a route.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::request::Parts;

use crate::challenge::Refused;
use crate::token::VerifiedToken;
use crate::verifier::Verifier;

/// The token that the [`VerifyLayer`](crate::VerifyLayer) has verified. Where no such layer stands before the handler
/// every request is answered with 500: a handler that was left open by mistake answers nobody.
impl<S: Sync> FromRequestParts<S> for VerifiedToken {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!("a handler takes a verified token, and no layer verifies one");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Self::into_response::<axum::body::Body>(self)
    }
}

/// A route that serves the protected resource metadata (RFC 9728) to anybody. Merge it beside what is verified.
pub fn metadata_route<S: Clone + Send + Sync + 'static>(verifier: &Arc<Verifier>) -> Router<S> {
    let document = verifier.metadata();
    Router::new().route(&verifier.metadata_path(), get(async move || Json(document)))
}
