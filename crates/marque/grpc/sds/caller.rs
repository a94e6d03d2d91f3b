//! Who is at the other end of a stream, and what it is told of changes.

use std::sync::Arc;

use envoy_types::pb::google::rpc;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use marque_attest::Peer;
use marque_workload::X509Update;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::super::accounts::CallRate;
use super::super::offer::Profile;
use super::super::workload::{Caller as Process, Watch, WorkloadDoor};
use crate::error;

/// How much of what a client says of an error goes to the log.
const MAX_ERROR_TEXT: usize = 200;

/// The process that opened a stream.
pub(super) struct Caller {
    door: WorkloadDoor,
    peer: Arc<Peer>,
    rate: CallRate,
    shutdown: CancellationToken,
}

/// Full states of a caller's SVIDs and bundles, the first at once. Dropping a future loses nothing.
pub(super) struct Updates(Option<BoxStream<'static, Result<X509Update, Status>>>);

impl Caller {
    pub(super) fn new(
        door: WorkloadDoor,
        peer: Arc<Peer>,
        rate: CallRate,
        shutdown: CancellationToken,
    ) -> Self {
        Self { door, peer, rate, shutdown }
    }

    /// Counts a request of an open stream like a call of its own: it costs as much.
    pub(super) fn asks_again(&self) -> Result<(), Status> {
        self.rate.once_more().map_err(error::over_limit)
    }

    /// Attests the caller and subscribes for it.
    pub(super) async fn subscribe(&self) -> Result<Updates, Status> {
        let process = Process { door: self.door.clone(), peer: Arc::clone(&self.peer) };
        let watch = Watch::begin(process, Profile::EnvoySds, self.shutdown.clone()).await?;
        Ok(Updates(Some(watch.x509_svids(X509Update::clone))))
    }

    /// Waits for whatever ends a stream on which nothing is pushed.
    pub(super) async fn ended(&self) -> Status {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => error::shutting_down(),
            () = self.peer.exited() => error::peer_exited(),
        }
    }

    /// Puts on record that the client could not use what it was sent. The text is the client's own: only the beginning
    /// of it is kept, and nothing of it where it could hold a piece of what was sent.
    pub(super) fn rejected(&self, version: &str, detail: &rpc::Status) {
        let text: String = detail.message.chars().take(MAX_ERROR_TEXT).collect();
        let text = if text.contains("-----BEGIN") { "(withheld)" } else { &text };
        tracing::warn!(
            uid = self.peer.uid(),
            version,
            code = detail.code,
            detail = ?text,
            "an Envoy could not use its secrets"
        );
    }
}

impl Updates {
    /// Nothing yet: for a stream that has not said what it wants.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The next state; never, before there is a subscription.
    pub(super) async fn next(&mut self, caller: &Caller) -> Result<X509Update, Status> {
        match &mut self.0 {
            // INVARIANT: a watch ends with an error, and is not asked again after it.
            Some(updates) => updates.next().await.unwrap_or_else(|| Err(error::shutting_down())),
            None => Err(caller.ended().await),
        }
    }
}
