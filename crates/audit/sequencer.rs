//! The tree behind the commits: reads what was recorded since the last checkpoint and signs the next one.
//!
//! Recording never waits for it. When to advance is the caller's business.

use std::sync::Arc;

use crate::merkle::Frontier;
use crate::{
    AuditError, Checkpoint, CheckpointSigner, LogError, LogStore, SignedCheckpoint,
    StoredCheckpoint, VerifierKey,
};

/// How many leaves are read at a time.
const PAGE: usize = 1024;

/// Why the sequencer stopped. It signs nothing that contradicts what was signed before.
#[derive(Debug, thiserror::Error)]
pub enum SequencerError {
    /// The log could not be read, or the checkpoint not be kept.
    #[error("the log could not be sequenced")]
    Log(#[from] LogError),
    /// The kept checkpoint was not signed by this sequencer's key.
    #[error("the kept checkpoint is not this log's own")]
    Kept(#[source] AuditError),
    /// The new checkpoint could not be signed.
    #[error("the next checkpoint could not be signed")]
    Sign(#[source] AuditError),
    /// The leaves are no longer those that a checkpoint was signed for.
    #[error(
        "the log was altered behind its checkpoint of {size} leaves: `marque audit verify` says where"
    )]
    Altered {
        /// The checkpoint's size.
        size: u64,
    },
    /// The log has fewer leaves than a checkpoint was signed for: an older state of the store was put in its place.
    #[error("the log has {found} leaves, and a checkpoint of {size} was signed")]
    Shrunk {
        /// How many leaves it has.
        found: u64,
        /// The checkpoint's size.
        size: u64,
    },
}

/// Builds the tree and signs checkpoints. One at a time per log; a second one does no harm, as both sign the same.
#[derive(Debug)]
pub struct Sequencer {
    store: Arc<dyn LogStore>,
    signer: Arc<dyn CheckpointSigner>,
    origin: String,
    /// The tree of the newest checkpoint; `None` until the kept one was taken up.
    frontier: Option<Frontier>,
}

impl Sequencer {
    /// A sequencer for the log of this origin, which is the name of the signer's key too.
    #[must_use]
    pub fn new(
        store: Arc<dyn LogStore>,
        signer: Arc<dyn CheckpointSigner>,
        origin: String,
    ) -> Self {
        Self { store, signer, origin, frontier: None }
    }

    /// Signs a checkpoint for all that is recorded; `None` when there is nothing new.
    ///
    /// # Errors
    /// See [`SequencerError`]. The next call starts again from what is kept.
    pub async fn advance(&mut self) -> Result<Option<SignedCheckpoint>, SequencerError> {
        let mut frontier = match self.frontier.take() {
            Some(frontier) => frontier,
            None => self.take_up().await?,
        };
        let (signed, found) = (frontier.size(), self.store.size().await?);
        if found < signed {
            self.frontier = Some(frontier);
            return Err(SequencerError::Shrunk { found, size: signed });
        }
        self.read_to(&mut frontier, found).await?;
        let checkpoint =
            if frontier.size() == signed { None } else { Some(self.sign(&frontier).await?) };
        self.frontier = Some(frontier);
        Ok(checkpoint)
    }

    /// The tree of the kept checkpoint, from the kept frontier or, where that does not fit, from the leaves.
    async fn take_up(&self) -> Result<Frontier, SequencerError> {
        let Some(kept) = self.store.checkpoint().await? else { return Ok(Frontier::new()) };
        let key = VerifierKey::of(self.signer.as_ref()).map_err(SequencerError::Kept)?;
        let signed = SignedCheckpoint::verify(&kept.text, &key).map_err(SequencerError::Kept)?;
        let Checkpoint { origin: _, size, root } = signed.checkpoint();
        if kept.frontier.size() == *size && kept.frontier.root() == *root {
            return Ok(kept.frontier);
        }
        let mut frontier = Frontier::new();
        self.read_to(&mut frontier, *size).await?;
        if frontier.size() == *size && frontier.root() == *root {
            Ok(frontier)
        } else {
            Err(SequencerError::Altered { size: *size })
        }
    }

    async fn read_to(&self, frontier: &mut Frontier, size: u64) -> Result<(), SequencerError> {
        while frontier.size() < size {
            let missing = usize::try_from(size - frontier.size()).unwrap_or(PAGE);
            let page = self.store.hashes(frontier.size(), missing.min(PAGE)).await?;
            if page.is_empty() {
                return Ok(());
            }
            page.into_iter().for_each(|hash| frontier.append(hash));
        }
        Ok(())
    }

    async fn sign(&self, frontier: &Frontier) -> Result<SignedCheckpoint, SequencerError> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let signed = SignedCheckpoint::sign(&checkpoint, self.signer.as_ref())
            .map_err(SequencerError::Sign)?;
        let kept = StoredCheckpoint { text: signed.text().to_owned(), frontier: frontier.clone() };
        self.store.save_checkpoint(kept).await?;
        Ok(signed)
    }
}

#[cfg(test)]
mod tests;
