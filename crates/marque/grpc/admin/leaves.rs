//! The log's leaves as a stream, page by page, and on as they come if asked to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use marque_audit::{Leaf, LogError, LogStore, StoredCheckpoint};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::super::answers::Answers;
use super::super::proto::admin as proto;
use super::calls::LeavesStream;
use crate::error;

/// How many leaves are read from the store at a time.
const PAGE: usize = 256;
/// How long a checkpoint over all that is recorded is waited for; they come 50 ms apart.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(1);
/// How often it is looked for meanwhile.
const CHECKPOINT_LOOK: Duration = Duration::from_millis(10);

/// The checkpoint that covers all that is recorded by now, so that a copy of the log lacks nothing that was answered
/// before it was asked for. The newest there is where none that does is signed within a second; `None` before the first.
pub(super) async fn whole_checkpoint(
    log: &dyn LogStore,
) -> Result<Option<StoredCheckpoint>, LogError> {
    let recorded = log.size().await?;
    let covering = async {
        loop {
            match log.checkpoint().await? {
                Some(kept) if kept.frontier.size() >= recorded => return Ok(Some(kept)),
                _ => tokio::time::sleep(CHECKPOINT_LOOK).await,
            }
        }
    };
    match tokio::time::timeout(CHECKPOINT_WAIT, covering).await {
        Ok(covering) => covering,
        Err(_elapsed) => log.checkpoint().await,
    }
}

/// The leaves from number `from` on; with `follow`, new ones as they come, until `shutdown`.
pub(super) fn stream(
    log: Arc<dyn LogStore>,
    from: u64,
    follow: bool,
    shutdown: CancellationToken,
) -> LeavesStream {
    let changed = log.changed();
    let cursor = Cursor { log, next: from, page: VecDeque::new(), changed, follow, shutdown };
    cursor.stream()
}

struct Cursor {
    log: Arc<dyn LogStore>,
    next: u64,
    page: VecDeque<Leaf>,
    changed: watch::Receiver<u64>,
    follow: bool,
    shutdown: CancellationToken,
}

impl Answers for Cursor {
    type Answer = proto::StreamLeavesResponse;

    async fn next(&mut self) -> Result<Option<Self::Answer>, Status> {
        loop {
            if let Some(leaf) = self.page.pop_front() {
                self.next = leaf.seq() + 1;
                return Ok(Some(message(&leaf)));
            }
            // Seen before the read, so that a leaf which comes in between wakes us.
            self.changed.mark_unchanged();
            self.page = self.log.leaves(self.next, PAGE).await.map_err(error::log)?.into();
            if !self.page.is_empty() {
                continue;
            }
            if !self.follow {
                return Ok(None);
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(error::shutting_down()),
                changed = self.changed.changed() => if changed.is_err() { return Ok(None) },
            }
        }
    }
}

fn message(leaf: &Leaf) -> proto::StreamLeavesResponse {
    proto::StreamLeavesResponse { seq: leaf.seq(), leaf: leaf.bytes().to_vec() }
}
