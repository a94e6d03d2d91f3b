//! Routes in the making. They remember their paths, so that what is described can be held against what is served.
//!
//! Deliberately absent: handlers.

use std::convert::Infallible;

use axum::{
    Router,
    extract::Request,
    response::IntoResponse,
    routing::{MethodRouter, Route},
};
use tower::{Layer, Service};

use super::HttpState;

/// A router and the paths in it.
#[derive(Debug, Default)]
pub(super) struct Routes {
    router: Router<HttpState>,
    paths: Vec<String>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// As [`Router::route`].
    pub(super) fn route(mut self, path: &str, methods: MethodRouter<HttpState>) -> Self {
        self.paths.push(path.to_owned());
        Self { router: self.router.route(path, methods), paths: self.paths }
    }

    /// As [`Router::layer`].
    pub(super) fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self { router: self.router.layer(layer), paths: self.paths }
    }

    /// As [`Router::merge`].
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        Self { router: self.router.merge(other.router), paths: self.paths }
    }

    /// The templates of the paths.
    #[cfg(test)]
    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    pub(super) fn into_router(self) -> Router<HttpState> {
        self.router
    }
}
