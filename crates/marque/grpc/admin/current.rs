//! Which door a call goes through: the one of the moment at which it came, to its end.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use marque_attest::Attestors;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::gate::{Gate, Lookups};
use super::{AdminDoor, AdminService};
use crate::grpc::live::LiveLimits;
use crate::grpc::proto::admin::admin_server::AdminServer;

/// Gives the door of the moment.
#[derive(Clone)]
pub struct AdminDoors(Arc<dyn Fn() -> Arc<dyn AdminDoor> + Send + Sync>);

impl AdminDoors {
    /// Asks `current` for the door of each call.
    pub fn new(current: impl Fn() -> Arc<dyn AdminDoor> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }
}

impl fmt::Debug for AdminDoors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminDoors").finish_non_exhaustive()
    }
}

/// The admin API, each call through the door of its moment.
#[derive(Clone)]
pub(super) struct CurrentAdmin {
    doors: AdminDoors,
    attestors: Arc<Attestors>,
    lookups: Lookups,
    limits: LiveLimits,
    shutdown: CancellationToken,
}

impl CurrentAdmin {
    pub(super) fn new(
        doors: AdminDoors,
        attestors: Arc<Attestors>,
        limits: LiveLimits,
        shutdown: CancellationToken,
    ) -> Self {
        Self { doors, attestors, lookups: Lookups::default(), limits, shutdown }
    }

    fn server(&self) -> AdminServer<AdminService> {
        let door = (self.doors.0)();
        let gate = Gate::new(Arc::clone(&door), Arc::clone(&self.attestors), self.lookups.clone());
        let service = AdminService { door, gate, shutdown: self.shutdown.clone() };
        AdminServer::new(service).max_decoding_message_size(self.limits.now().message_bytes)
    }
}

impl NamedService for CurrentAdmin {
    const NAME: &'static str = <AdminServer<AdminService> as NamedService>::NAME;
}

impl Service<Request<Body>> for CurrentAdmin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.server().call(request)
    }
}
