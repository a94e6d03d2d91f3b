//! The TCP listeners of a trust domain: those that are served, and those that were given up and are not closed yet.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::http::{HttpServer, ListenerHandle, LiveHttpLimits};

/// What listeners are bound with.
#[derive(Debug)]
pub(in crate::issuer) struct Entrances {
    limits: LiveHttpLimits,
    left: Mutex<Vec<ListenerHandle>>,
}

/// What has one listener be given up.
#[derive(Debug)]
pub(super) struct Closes {
    replaced: CancellationToken,
    /// Nothing of a Unix socket: nobody gets to it when its path is gone.
    listener: Option<ListenerHandle>,
}

impl Entrances {
    pub(super) fn new(limits: LiveHttpLimits) -> Self {
        Self { limits, left: Mutex::default() }
    }

    /// What clients of all of them may take.
    pub(super) fn limits(&self) -> &LiveHttpLimits {
        &self.limits
    }

    /// A server at this address. One that was given up there and still takes in whoever had come hands its socket over.
    ///
    /// # Errors
    /// The address is taken.
    pub(in crate::issuer) async fn bind(
        &self,
        address: SocketAddr,
        tls: Arc<ServerConfig>,
    ) -> io::Result<HttpServer> {
        let limits = self.limits.clone();
        if let Some(left) = self.left_at(address)
            && let Some(listener) = left.take_up().await
        {
            return Ok(HttpServer::on(listener, tls, limits));
        }
        HttpServer::bind(address, tls, limits).await
    }

    fn left_at(&self, address: SocketAddr) -> Option<ListenerHandle> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|one| !one.is_closed());
        left.iter().find(|one| one.address() == address).cloned()
    }

    /// Has a listener take in whoever has come, and then nobody any more.
    pub(super) fn close(&self, place: &mut Option<Closes>) {
        let Some(Closes { replaced, listener }) = place.take() else { return };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|one| !one.is_closed());
        left.extend(listener);
        replaced.cancel();
    }
}

impl Closes {
    pub(super) fn new(replaced: CancellationToken, listener: Option<ListenerHandle>) -> Self {
        Self { replaced, listener }
    }
}
