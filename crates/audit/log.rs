//! The log as rooms and tools see it, wherever it is kept.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::merkle::Frontier;
use crate::{AuditError, Event, Hash, Leaf};

/// Where leaves are kept. Sequence numbers start at 0 and have no gaps; a leaf never changes.
pub trait LogStore: std::fmt::Debug + Send + Sync {
    /// How many leaves the log has.
    fn size(&self) -> BoxFuture<'_, Result<u64, LogError>>;

    /// Up to `limit` leaves from number `from` on, in order; fewer at the end of the log, none behind it.
    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>>;

    /// The hashes of up to `limit` leaves from number `from` on, for whoever builds the tree. The stored bytes of each were
    /// held against its hash; whether they are a leaf of their place is for [`Self::leaves`] to say.
    fn hashes(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Hash>, LogError>> {
        let leaves = self.leaves(from, limit);
        async move { hashes_of(from, &leaves.await?) }.boxed()
    }

    /// The newest checkpoint that was kept.
    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>>;

    /// Keeps a checkpoint. One that is older than what is kept already changes nothing.
    fn save_checkpoint(&self, checkpoint: StoredCheckpoint) -> BoxFuture<'_, Result<(), LogError>>;

    /// Appends an event that has no other effect in the store, and answers its number once it is durable.
    fn append(&self, event: Event) -> BoxFuture<'_, Result<u64, LogError>>;

    /// The size of the log, followed as it grows.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// The hashes of leaves that must follow each other from number `from` on.
fn hashes_of(from: u64, leaves: &[Leaf]) -> Result<Vec<Hash>, LogError> {
    let in_place = |(expected, leaf): (u64, &Leaf)| match leaf.seq() {
        found if found == expected => Ok(leaf.hash()),
        found => Err(LogError::Gap { expected, found }),
    };
    (from..).zip(leaves).map(in_place).collect()
}

/// A signed checkpoint and the frontier it was computed from, so that a sequencer goes on where it stopped.
///
/// The frontier is a convenience: a sequencer uses it only if it yields the root which the checkpoint signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The signed note.
    pub text: String,
    /// The right edge of the tree at the checkpoint's size.
    pub frontier: Frontier,
}

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store is not there, read-only or full: nothing was recorded.
    #[error("the log is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored leaf is not what was stored: its hash, its form or its place is wrong.
    #[error("leaf {seq} was altered")]
    Altered {
        /// The leaf's number.
        seq: u64,
        /// What is wrong with it.
        #[source]
        source: AlteredLeaf,
    },
    /// The log has a hole, or its leaves are out of order.
    #[error("leaf {expected} is missing, leaf {found} stands in its place")]
    Gap {
        /// The number that had to come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The event cannot become a leaf.
    #[error("the event cannot be recorded")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is kept beside the leaves cannot be read.
    #[error("the log's own records are damaged")]
    Damaged(#[source] AuditError),
}

/// How a stored leaf differs from what was stored.
#[derive(Debug, thiserror::Error)]
pub enum AlteredLeaf {
    /// Its bytes do not have the hash that was stored with them.
    #[error("its bytes do not have the hash that was stored beside them")]
    Hash,
    /// Its bytes are not a leaf of this place.
    #[error("its bytes are not those of a leaf in this place")]
    Form(#[source] AuditError),
}

/// A time that never goes back, whatever the clock does: the later of `now` and what was recorded last.
#[must_use]
pub fn recorded_time(last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    last.map_or(now, |last| last.max(now))
}
