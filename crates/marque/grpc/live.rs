//! Limits that may change while connections are open.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::serve::Limits;

/// The limits of a trust domain's sockets. Each is asked for where it counts: another value holds from the next connection or
/// call on, for connections that are open too wherever HTTP/2 has not agreed on it with the client.
#[derive(Clone)]
pub struct LiveLimits(Arc<ArcSwap<Limits>>);

impl LiveLimits {
    /// The limits of now.
    #[must_use]
    pub fn now(&self) -> Limits {
        **self.0.load()
    }

    /// Has these limits hold.
    pub fn change(&self, limits: Limits) {
        self.0.store(Arc::new(limits));
    }
}

impl From<Limits> for LiveLimits {
    fn from(limits: Limits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(limits)))
    }
}

impl fmt::Debug for LiveLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveLimits").field(&self.now()).finish()
    }
}

/// A service whose messages may be as large as the limits of the moment say.
#[derive(Clone)]
pub(super) struct Sized<S> {
    server: S,
    limits: LiveLimits,
    /// The server with another limit.
    with: fn(S, usize) -> S,
}

impl<S> Sized<S> {
    pub(super) fn new(server: S, limits: &LiveLimits, with: fn(S, usize) -> S) -> Self {
        Self { server, limits: limits.clone(), with }
    }
}

impl<S: NamedService> NamedService for Sized<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>> + Clone> Service<Request<Body>> for Sized<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Generated servers are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        (self.with)(self.server.clone(), self.limits.now().message_bytes).call(request)
    }
}
