//! What serves a request: the routes of the moment at which it began, to its end.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
};
use tower_http::timeout::TimeoutLayer;

use super::super::problem;

/// Routes that can be replaced while requests are served. A request that has begun keeps those that it began with.
#[derive(Clone)]
pub struct Routers {
    current: Arc<ArcSwap<Router>>,
    /// How long one request may take.
    request: Duration,
}

impl Routers {
    pub(super) fn new(router: Router, request: Duration) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(bounded(router, request))), request }
    }

    /// Serves every request that begins from here on by these routes.
    pub fn replace(&self, router: Router) {
        self.current.store(Arc::new(bounded(router, self.request)));
    }

    pub(super) fn current(&self) -> Router {
        Router::clone(&self.current.load())
    }
}

impl fmt::Debug for Routers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routers").field("request", &self.request).finish_non_exhaustive()
    }
}

fn bounded(router: Router, request: Duration) -> Router {
    router
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, request))
        // The router's own layers never see the answer to a request that took too long.
        .layer(axum::middleware::map_response(async |response: Response<Body>| {
            match response.status() {
                StatusCode::REQUEST_TIMEOUT => problem::never_stored(response),
                _ => response,
            }
        }))
}
