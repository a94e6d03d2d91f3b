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
    /// The log does not go as far as a checkpoint was signed for, or did not before what is new in it: an older state of the
    /// store was put in its place.
    #[error("the log went back to {found} leaves, and a checkpoint of {size} was signed")]
    Shrunk {
        /// How many leaves it has, or the checkpoint covers that it has kept.
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
    /// The tree of the newest checkpoint that this one took up or signed, whatever failed since; `None` until there is one.
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
    /// See [`SequencerError`]. The next call starts again from what was signed last.
    pub async fn advance(&mut self) -> Result<Option<SignedCheckpoint>, SequencerError> {
        let (mut frontier, is_new) = match &self.frontier {
            Some(frontier) => (frontier.clone(), false),
            None => (self.take_up().await?, true),
        };
        if is_new {
            self.frontier = Some(frontier.clone());
        }
        let (signed, found) = (frontier.size(), self.store.size().await?);
        if found < signed {
            return Err(SequencerError::Shrunk { found, size: signed });
        }
        // A store that went back may have grown past the old size since: what it has kept tells.
        if found > signed && signed > 0 && !is_new {
            self.go_on_to_kept(&mut frontier).await?;
        }
        self.read_to(&mut frontier, found).await?;
        let checkpoint =
            if frontier.size() == signed { None } else { Some(self.sign(&frontier).await?) };
        self.frontier = Some(frontier);
        Ok(checkpoint)
    }

    /// The tree of the kept checkpoint, from the kept frontier or, where that does not fit, from the leaves.
    async fn take_up(&self) -> Result<Frontier, SequencerError> {
        let Some((kept, frontier)) = self.kept().await? else { return Ok(Frontier::new()) };
        if is_tree_of(&frontier, &kept) {
            return Ok(frontier);
        }
        let mut frontier = Frontier::new();
        self.go_on_to(&mut frontier, &kept).await?;
        Ok(frontier)
    }

    /// Takes the tree that was signed here to the kept checkpoint, which may be another replica's by now. It covers no less:
    /// what was signed here was kept.
    async fn go_on_to_kept(&self, frontier: &mut Frontier) -> Result<(), SequencerError> {
        let (size, kept) = (frontier.size(), self.kept().await?);
        let found = kept.as_ref().map_or(0, |(kept, _)| kept.size);
        match kept {
            Some((kept, _)) if kept.size >= size => self.go_on_to(frontier, &kept).await,
            _ => Err(SequencerError::Shrunk { found, size }),
        }
    }

    /// The kept checkpoint, which has to be of this key, and the frontier that was kept with it.
    async fn kept(&self) -> Result<Option<(Checkpoint, Frontier)>, SequencerError> {
        let Some(kept) = self.store.checkpoint().await? else { return Ok(None) };
        let key = VerifierKey::of(self.signer.as_ref()).map_err(SequencerError::Kept)?;
        let signed = SignedCheckpoint::verify(&kept.text, &key).map_err(SequencerError::Kept)?;
        Ok(Some((signed.checkpoint().clone(), kept.frontier)))
    }

    /// Reads up to a checkpoint, which has to come out of the leaves.
    async fn go_on_to(
        &self,
        frontier: &mut Frontier,
        checkpoint: &Checkpoint,
    ) -> Result<(), SequencerError> {
        self.read_to(frontier, checkpoint.size).await?;
        if is_tree_of(frontier, checkpoint) {
            Ok(())
        } else {
            Err(SequencerError::Altered { size: checkpoint.size })
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

/// Whether a checkpoint is of this tree.
fn is_tree_of(frontier: &Frontier, checkpoint: &Checkpoint) -> bool {
    frontier.size() == checkpoint.size && frontier.root() == checkpoint.root
}

#[cfg(test)]
mod tests;
