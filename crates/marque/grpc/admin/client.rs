//! The admin API as the command line uses it.

mod authorities;
mod deliveries;
mod entries;
mod federation;
mod folder;
mod intents;
mod kills;
mod log;
mod pace;
mod tokens;

use std::path::Path;

use futures::stream::BoxStream;
use tonic::transport::Channel;

use super::super::client::{CallError, connect};
use super::super::proto::admin as proto;
use super::super::proto::admin::admin_client::AdminClient as Client;
use super::super::time::timestamp;
use super::view::{LeafView, StatusView};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// A client of one admin socket.
#[derive(Debug, Clone)]
pub struct AdminClient {
    inner: Client<Channel>,
}

/// Leaves of the log, in order.
pub type LeafStream = BoxStream<'static, Result<LeafView, CallError>>;

impl AdminClient {
    /// Connects to the socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(socket: &Path) -> Result<Self, CallError> {
        let inner = Client::new(connect(socket).await?);
        // Lists of entries and plans are as long as the trust domain's folder is large.
        Ok(Self { inner: inner.max_decoding_message_size(MAX_ANSWER) })
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// As every call: a refusal, or an answer that does not read.
    pub async fn status(&mut self) -> Result<StatusView, CallError> {
        self.inner.get_status(proto::GetStatusRequest {}).await?.into_inner().try_into()
    }

    /// What the daemon's process counts and measures, in the Prometheus text format.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn metrics(&mut self) -> Result<String, CallError> {
        let answer = self.inner.get_metrics(proto::GetMetricsRequest {}).await?.into_inner();
        let proto::GetMetricsResponse { text } = answer;
        Ok(text)
    }
}
