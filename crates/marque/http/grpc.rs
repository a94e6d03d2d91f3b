//! gRPC services behind the accept loop of this edge, where the caller's certificate counts.

use axum::Router;
use tonic::service::Routes;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::{correlated, problem};

/// The services, each request under an id of its own.
pub(crate) fn grpc_router(services: Routes) -> Router {
    services.prepare().into_axum_router().layer(
        ServiceBuilder::new()
            .layer(axum::middleware::from_fn(correlated::correlated))
            .layer(CatchPanicLayer::custom(problem::panicked)),
    )
}
