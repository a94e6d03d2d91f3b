//! The log behind an admin socket, as a [`LogStore`] to read: what verifies and exports a stored log does so for a
//! running daemon's, over the exact bytes that it serves.

use futures::StreamExt;
use futures::future::BoxFuture;
use marque_audit::log::AlteredLeaf;
use marque_audit::merkle::Frontier;
use marque_audit::{Event, Leaf, LogError, LogStore, StoredCheckpoint};
use tokio::sync::watch;

use super::super::client::CallError;
use super::client::AdminClient;
use super::view::{LeafView, LogInfoView};

/// A daemon's log up to the moment at which this was made.
#[derive(Debug)]
pub struct RemoteLog {
    admin: AdminClient,
    info: LogInfoView,
    size: watch::Sender<u64>,
}

/// The log behind a socket is only read.
#[derive(Debug, thiserror::Error)]
#[error("the log of a running daemon can only be read")]
struct ReadOnly;

impl RemoteLog {
    /// Asks how the log stands and keeps to that: leaves that come later are not part of it.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub async fn open(mut admin: AdminClient) -> Result<Self, CallError> {
        let info = admin.log_info().await?;
        let (size, _) = watch::channel(info.size);
        Ok(Self { admin, info, size })
    }

    /// How the log stood.
    #[must_use]
    pub fn info(&self) -> &LogInfoView {
        &self.info
    }

    async fn page(&self, from: u64, limit: usize) -> Result<Vec<Leaf>, LogError> {
        let left = usize::try_from(self.info.size.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut stream = self
            .admin
            .clone()
            .leaves(from, false)
            .await
            .map_err(unavailable)?
            .take(limit.min(left));
        let mut leaves = Vec::new();
        while let Some(leaf) = stream.next().await {
            let LeafView { seq, bytes } = leaf.map_err(unavailable)?;
            let altered = |error| LogError::Altered { seq, source: AlteredLeaf::Form(error) };
            leaves.push(Leaf::from_bytes(seq, bytes).map_err(altered)?);
        }
        Ok(leaves)
    }
}

impl LogStore for RemoteLog {
    fn size(&self) -> BoxFuture<'_, Result<u64, LogError>> {
        Box::pin(std::future::ready(Ok(self.info.size)))
    }

    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>> {
        Box::pin(self.page(from, limit))
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>> {
        let text = Some(self.info.checkpoint.clone()).filter(|text| !text.is_empty());
        // Only a sequencer wants the frontier, and none runs here.
        let stored = text.map(|text| StoredCheckpoint { text, frontier: Frontier::new() });
        Box::pin(std::future::ready(Ok(stored)))
    }

    fn save_checkpoint(
        &self,
        _checkpoint: StoredCheckpoint,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(std::future::ready(Err(LogError::Unavailable(Box::new(ReadOnly)))))
    }

    fn append(&self, _event: Event) -> BoxFuture<'_, Result<u64, LogError>> {
        Box::pin(std::future::ready(Err(LogError::Unavailable(Box::new(ReadOnly)))))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }
}

fn unavailable(error: CallError) -> LogError {
    LogError::Unavailable(Box::new(error))
}
