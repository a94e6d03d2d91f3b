//! The tree of a stored log in pieces: tiles and proofs at the cost of two blocks of leaves, however long the log is.
//!
//! What is kept is one hash for every 256 leaves and what follows from those, in memory: 32 bytes for a block. It is made
//! from the leaves, behind the commits, and made anew with the process. Consistency
//! proofs are for witnesses; whoever reads tiles makes them.

mod top;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use self::top::{Block, Top};
use crate::folder::{TileKind, TilePath, bundle_bytes};
use crate::{
    AuditError, Checkpoint, Hash, Leaf, LogError, LogStore, SignedCheckpoint, TlogProof,
    VerifierKey, merkle,
};

/// Leaves in a block, hashes in a full tile.
pub const BLOCK: u64 = WIDTH as u64;
const WIDTH: usize = 256;
/// How many blocks a request makes up for at most: what has just been recorded.
const BLOCKS_AT_ONCE: usize = 16;
/// How many pieces are made at once: whoever reads the log takes little from those who write it.
const PIECES_AT_ONCE: usize = 2;
/// How long a piece waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(1);

/// Why a piece of the tree is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There is no such tile, no such leaf or no checkpoint yet.
    #[error("the log has no such piece")]
    NotThere,
    /// The upper part of the tree is still being made from the leaves: in a moment it is there.
    #[error("the tree is behind its leaves")]
    Behind,
    /// Too many pieces are being made: its turn did not come in time.
    #[error("too many read the log")]
    Busy,
    /// The log could not be read, or was altered.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// The kept checkpoint is not this log's own, or a leaf does not fit its bundle.
    #[error("what the log keeps beside its leaves does not fit them")]
    Kept(#[source] AuditError),
    /// What was made from the leaves is not what the checkpoint was signed for.
    #[error("the leaves are not those which the checkpoint was signed for")]
    Altered(#[source] merkle::ProofError),
}

/// A stored log as a tree.
#[derive(Debug)]
pub struct LogTree {
    store: Arc<dyn LogStore>,
    key: VerifierKey,
    top: RwLock<Top>,
    growing: Mutex<()>,
    turns: Semaphore,
}

impl LogTree {
    /// The tree of a log whose checkpoints `key` verifies. Nothing of it is read yet.
    #[must_use]
    pub fn new(store: Arc<dyn LogStore>, key: VerifierKey) -> Self {
        let turns = Semaphore::new(PIECES_AT_ONCE);
        Self { store, key, top: RwLock::default(), growing: Mutex::default(), turns }
    }

    /// The log itself.
    #[must_use]
    pub fn log(&self) -> &dyn LogStore {
        &*self.store
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// The log cannot be read, or what is kept as its checkpoint is not its own.
    pub async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, TreeError> {
        let Some(kept) = self.store.checkpoint().await? else { return Ok(None) };
        SignedCheckpoint::verify(&kept.text, &self.key).map(Some).map_err(TreeError::Kept)
    }

    /// Reads up to `blocks` blocks of leaves that it does not know yet; whether it knows all that are full now.
    ///
    /// # Errors
    /// The log cannot be read, or a leaf was altered.
    pub async fn grow(&self, blocks: usize) -> Result<bool, LogError> {
        let _one_at_a_time = self.growing.lock().await;
        let full = self.store.size().await? / BLOCK;
        for _ in 0..blocks {
            let known = self.top(Top::blocks);
            if known >= full {
                return Ok(true);
            }
            let hashes = self.store.hashes(known * BLOCK, WIDTH).await?;
            if hashes.len() != WIDTH {
                return Ok(true);
            }
            let mut top = self.top.write().unwrap_or_else(PoisonError::into_inner);
            top.push(merkle::root(&hashes));
        }
        Ok(self.top(Top::blocks) >= full)
    }

    /// The bytes of a tile or an entry bundle, as far as the newest checkpoint covers it.
    ///
    /// # Errors
    /// See [`TreeError`].
    pub async fn tile(&self, tile: &TilePath) -> Result<Vec<u8>, TreeError> {
        let _turn = self.turn().await?;
        let signed = self.checkpoint().await?.ok_or(TreeError::NotThere)?;
        let size = signed.checkpoint().size;
        let (first, width) = (tile.first().ok_or(TreeError::NotThere)?, tile.width() as u64);
        let there = match tile.kind() {
            TileKind::Entries => size,
            TileKind::Level(level) => {
                u32::try_from(level * 8).ok().and_then(|bits| size.checked_shr(bits)).unwrap_or(0)
            }
        };
        if first.checked_add(width).is_none_or(|end| end > there) {
            return Err(TreeError::NotThere);
        }
        match tile.kind() {
            TileKind::Entries => {
                let leaves = self.leaves(first, tile.width()).await?;
                bundle_bytes(&leaves).map_err(TreeError::Kept)
            }
            TileKind::Level(0) => Ok(bytes_of(&self.hashes(first, tile.width()).await?)),
            TileKind::Level(level) => {
                self.make_up_for(size).await?;
                let hashes = self.top(|top| top.hashes(level - 1, first, tile.width()));
                hashes.map(|hashes| bytes_of(&hashes)).ok_or(TreeError::Behind)
            }
        }
    }

    /// The proof that leaf number `index` is in the log, with the leaf and the newest checkpoint. It was verified.
    ///
    /// # Errors
    /// [`TreeError::NotThere`] while no checkpoint covers the leaf; see [`TreeError`].
    pub async fn prove(&self, index: u64) -> Result<TlogProof, TreeError> {
        let signed = self.checkpoint().await?.ok_or(TreeError::NotThere)?;
        self.prove_under(index, &signed).await
    }

    /// As [`Self::prove`], under a checkpoint of one's own choice.
    ///
    /// # Errors
    /// [`TreeError::NotThere`] where the checkpoint does not cover the leaf; see [`TreeError`].
    pub async fn prove_under(
        &self,
        index: u64,
        signed: &SignedCheckpoint,
    ) -> Result<TlogProof, TreeError> {
        let _turn = self.turn().await?;
        let size = signed.checkpoint().size;
        if index >= size {
            return Err(TreeError::NotThere);
        }
        let leaf = self.leaves(index, 1).await?.pop().ok_or(TreeError::NotThere)?;
        self.make_up_for(size).await?;
        let own = self.block(index, size).await?;
        let last = self.block(size - 1, size).await?;
        let path = self.top(|top| top.inclusion(index, size, &[&own, &last]));
        let path = path.ok_or(TreeError::Behind)?;
        let root = &signed.checkpoint().root;
        merkle::verify_inclusion(&leaf.hash(), index, size, &path, root)
            .map_err(TreeError::Altered)?;
        Ok(TlogProof::new(&leaf, path, signed))
    }

    /// The proof that what `signed` covers begins with the first `old` leaves, and the root of these. It was verified. From
    /// nothing on there is nothing to prove.
    ///
    /// # Errors
    /// [`TreeError::NotThere`] where `signed` covers fewer leaves; see [`TreeError`].
    pub async fn consistency(
        &self,
        old: u64,
        signed: &SignedCheckpoint,
    ) -> Result<(Vec<Hash>, Hash), TreeError> {
        let Checkpoint { origin: _, size, root } = signed.checkpoint();
        if old > *size {
            return Err(TreeError::NotThere);
        }
        if old == 0 {
            return Ok((Vec::new(), Hash::of_empty_tree()));
        }
        let _turn = self.turn().await?;
        self.make_up_for(*size).await?;
        let (of_old, last) =
            (self.block(old - 1, *size).await?, self.block(size - 1, *size).await?);
        let proof = self.top(|top| top.consistency(old, *size, &[&of_old, &last]));
        let (proof, old_root) = proof.ok_or(TreeError::Behind)?;
        merkle::verify_consistency(old, &old_root, *size, root, &proof)
            .map_err(TreeError::Altered)?;
        Ok((proof, old_root))
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, TreeError> {
        match timeout(TURN_WITHIN, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(TreeError::Busy),
        }
    }

    async fn block(&self, index: u64, size: u64) -> Result<Block, TreeError> {
        let number = index / BLOCK;
        let width = usize::try_from((size - number * BLOCK).min(BLOCK)).unwrap_or(WIDTH);
        Ok(Block { number, hashes: self.hashes(number * BLOCK, width).await? })
    }

    /// Makes up for the little that was recorded since it was last grown.
    async fn make_up_for(&self, size: u64) -> Result<(), TreeError> {
        if self.top(Top::blocks) < size / BLOCK {
            self.grow(BLOCKS_AT_ONCE).await?;
        }
        if self.top(Top::blocks) < size / BLOCK { Err(TreeError::Behind) } else { Ok(()) }
    }

    async fn leaves(&self, from: u64, count: usize) -> Result<Vec<Leaf>, TreeError> {
        let leaves = self.store.leaves(from, count).await?;
        if leaves.len() == count { Ok(leaves) } else { Err(TreeError::NotThere) }
    }

    async fn hashes(&self, from: u64, count: usize) -> Result<Vec<Hash>, TreeError> {
        let hashes = self.store.hashes(from, count).await?;
        if hashes.len() == count { Ok(hashes) } else { Err(TreeError::NotThere) }
    }

    fn top<T>(&self, read: impl FnOnce(&Top) -> T) -> T {
        read(&self.top.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[cfg(test)]
mod tests;
