//! Listeners between being bound and being served.

use std::path::{Path, PathBuf};

use marque_registry::TrustDomainDocument;

use super::super::broker::BrokerEndpoint;
use super::super::bundle_endpoint::BundleEndpoint;
use super::super::downstream::DownstreamServer;
use crate::endpoints::{DownstreamEndpoint, SpiffeBundleEndpoint};
use crate::http::HttpServer;

/// Listeners that are bound and take nobody in yet. They are given up when this is dropped.
#[derive(Debug, Default)]
pub(in crate::issuer) struct Opening {
    pub(super) https: Option<HttpServer>,
    pub(super) bundle: Option<BundleEndpoint>,
    pub(super) broker: Option<BrokerEndpoint>,
    pub(super) downstream: Option<DownstreamServer>,
}

impl Opening {
    /// The Broker API socket, where there is to be one.
    pub(in crate::issuer) fn broker_socket(&self) -> Option<PathBuf> {
        self.broker.as_ref().map(|broker| broker.socket.clone())
    }

    /// The bundle endpoint of profile `https_spiffe`, where there is to be one.
    pub(in crate::issuer) fn bundle_at(
        &self,
        document: &TrustDomainDocument,
    ) -> Option<SpiffeBundleEndpoint> {
        self.bundle.as_ref().map(|bundle| bundle.at(document))
    }

    /// The listener for servers below, where there is to be one.
    pub(in crate::issuer) fn downstream_at(&self) -> Option<DownstreamEndpoint> {
        self.downstream.as_ref().map(DownstreamServer::at)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(BrokerEndpoint { socket, .. }) = &self.broker {
            remove(socket);
        }
    }
}

/// Removes a socket that nobody serves any more; whoever serves it next replaces what is left of it.
pub(super) fn remove(socket: &Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::warn!(%error, socket = %socket.display(), "a socket could not be removed");
    }
}
