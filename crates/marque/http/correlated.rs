//! One id for each request: in the daemon's log, in the leaves that it writes, in what goes to a collector, and in the
//! answer.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument as _, field::Empty, info_span};

use crate::telemetry;

/// The header that tells a caller how its request is called in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("marque-request-id");

/// Serves a request under an id of its own. What the caller says of its trace is taken as a hint.
pub(super) async fn correlated(request: Request, next: Next) -> Response {
    let correlation = telemetry::request(request.headers());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let begin = || {
        info_span!(
            "request",
            method = %request.method(),
            route,
            request_id = %correlation.request,
            trace_id = %correlation.trace,
            status = Empty,
        )
    };
    let span = correlation.enter(begin);
    let served = next.run(request).instrument(span.clone());
    let mut response = correlation.scope(served).await;
    span.record("status", response.status().as_u16());
    // Always a header value: it is hexadecimal.
    if let Ok(id) = HeaderValue::try_from(correlation.request.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
