//! A proof that one leaf is in the log, in one file that nobody has to be asked about: C2SP tlog-proof@v1.
//!
//! The file's `extra` data is the leaf itself, so that whoever has the file and the log's key has everything. Neither is to
//! be trusted before [`TlogProof::verify`]. Witness
//! cosignatures are in its checkpoint, where whoever wants them finds them ([`crate::WitnessPolicy`]).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::MAX_CHECKPOINT_BYTES;
use crate::leaf::MAX_LEAF_BYTES;
use crate::merkle::{ProofError, verify_inclusion};
use crate::{AuditError, Checkpoint, Hash, Leaf, SignedCheckpoint, VerifierKey};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// More hashes than the tree of the longest log has levels.
const MAX_HASHES: usize = 64;
/// The most bytes of a proof: a checkpoint, a leaf in base64, and a hash for each level. Anything larger is refused unread.
pub const MAX_PROOF_BYTES: usize = MAX_CHECKPOINT_BYTES + 2 * MAX_LEAF_BYTES + 8 * 1024;

/// A proof as it was made or read; what it says is unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    leaf: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: String,
}

/// A leaf that is in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvenLeaf {
    /// The leaf.
    pub leaf: Leaf,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

/// Why a proof does not prove anything.
#[derive(Debug, thiserror::Error)]
pub enum TlogProofError {
    /// The text is not a proof.
    #[error("not a proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint was not signed by the expected key.
    #[error("the checkpoint of the proof cannot be trusted")]
    Checkpoint(#[source] AuditError),
    /// What is proven is no leaf of this place in the log.
    #[error("what the proof is about is not leaf {index} of the log")]
    Leaf {
        /// The place.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: AuditError,
    },
    /// The leaf is not where the proof says it is.
    #[error("leaf {index} is not in the log that the checkpoint was signed for")]
    NotIncluded {
        /// The place.
        index: u64,
        /// How it shows.
        #[source]
        source: ProofError,
    },
}

impl TlogProofError {
    /// A stable name of the kind of finding, for machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "proof_malformed",
            Self::Checkpoint(_) => "checkpoint_untrusted",
            Self::Leaf { .. } => "leaf_altered",
            Self::NotIncluded { .. } => "leaf_not_included",
        }
    }
}

impl TlogProof {
    /// The proof of a leaf by its audit path, lowest first, up to a checkpoint.
    #[must_use]
    pub fn new(leaf: &Leaf, path: Vec<Hash>, checkpoint: &SignedCheckpoint) -> Self {
        let (index, checkpoint) = (leaf.seq(), checkpoint.text().to_owned());
        Self { leaf: Some(leaf.bytes().to_vec()), index, path, checkpoint }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// When the text is larger than [`MAX_PROOF_BYTES`] or not in the one form that the specification has.
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(TlogProofError::Malformed("it is too long"));
        }
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(TlogProofError::Malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::Malformed(
                "its first line is not `c2sp.org/tlog-proof@v1`",
            ));
        }
        let leaf = lines.next_if(|line| line.starts_with("extra "));
        let leaf = leaf.and_then(|line| line.strip_prefix("extra ")).map(|extra| {
            STANDARD
                .decode(extra)
                .map_err(|_not_base64| TlogProofError::Malformed("its extra data is not base64"))
        });
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(number).ok_or(TlogProofError::Malformed("it has no index"))?;
        let path = lines.take(MAX_HASHES + 1).map(str::parse).collect::<Result<Vec<Hash>, _>>();
        let path = path.map_err(|_no_hash| TlogProofError::Malformed("a line of it is no hash"))?;
        if path.len() > MAX_HASHES {
            return Err(TlogProofError::Malformed("it has too many hashes"));
        }
        Ok(Self { leaf: leaf.transpose()?, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// The place of the leaf that it is about.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint that it leads to, unverified.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let extra = self.leaf.as_ref().map(|leaf| format!("extra {}\n", STANDARD.encode(leaf)));
        let path: String = self.path.iter().map(|hash| format!("{hash}\n")).collect();
        let (extra, index) = (extra.unwrap_or_default(), self.index);
        format!("{HEADER}\n{extra}index {index}\n{path}\n{}", self.checkpoint)
    }

    /// Shows that its leaf is in the log whose checkpoints `key` signs.
    ///
    /// # Errors
    /// See [`TlogProofError`].
    pub fn verify(&self, key: &VerifierKey) -> Result<ProvenLeaf, TlogProofError> {
        let index = self.index;
        let signed =
            SignedCheckpoint::verify(&self.checkpoint, key).map_err(TlogProofError::Checkpoint)?;
        let bytes = self.leaf.clone().ok_or(TlogProofError::Malformed("it has no leaf"))?;
        let Checkpoint { origin: _, size, root } = signed.checkpoint();
        verify_inclusion(&Hash::of_leaf(&bytes), index, *size, &self.path, root)
            .map_err(|source| TlogProofError::NotIncluded { index, source })?;
        let leaf = Leaf::from_bytes(index, bytes)
            .map_err(|source| TlogProofError::Leaf { index, source })?;
        Ok(ProvenLeaf { leaf, checkpoint: signed.checkpoint().clone() })
    }
}

/// A number has one spelling.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests;
