//! The verifiable log: leaves, Merkle tree, checkpoints, proofs and the folder that anyone can check.
//!
//! An [`Event`] says what happened; sealed at its place in the log it is a [`Leaf`], canonical JSON in a CloudEvents
//! envelope. Leaf hashes form an RFC 6962 tree ([`merkle`]), a [`Checkpoint`] states its size and root, and a
//! [`SignedCheckpoint`] is that statement as a C2SP signed note, which witnesses cosign
//! ([`cosignature`], [`witness`]). [`verify_log`] recomputes all of it and names what
//! was tampered with; [`folder`] lays the same log out as C2SP tlog-tiles, [`tree`] gives pieces of them, and a
//! [`TlogProof`] is one leaf with all that shows its place. [`trail`] and [`completeness`] ask what the leaves say, and
//! [`format`](mod@format) puts records into the forms that other systems read.
//!
//! Deliberately absent: who writes what (the rooms that own the effects build their events), where leaves are kept
//! ([`LogStore`] is implemented elsewhere), where the signing key lives ([`CheckpointSigner`] is handed in), and time.

pub mod checkpoint;
pub mod completeness;
pub mod correlation;
pub mod cosignature;
pub mod event;
pub mod find;
pub mod folder;
pub mod format;
pub mod hash;
pub mod leaf;
pub mod log;
pub mod measured;
pub mod merkle;
pub mod note;
pub mod sequencer;
pub mod tlog_proof;
pub mod trail;
pub mod tree;
pub mod verify;
pub mod witness;

mod error;
#[cfg(test)]
mod testing;

pub use checkpoint::Checkpoint;
pub use correlation::{Correlation, RequestId, SpanId, TraceId};
pub use cosignature::{Cosignature, CosignerKey, UnwitnessedError, WitnessPolicy};
pub use error::AuditError;
pub use event::{Event, EventKind, PlaybookPin, PolicyPin};
pub use hash::Hash;
pub use leaf::Leaf;
pub use log::{LogError, LogStore, StoredCheckpoint};
pub use measured::{Monotonic, PrevCheckpoint};
pub use note::{CheckpointSigner, SignedCheckpoint, VerifierKey};
pub use sequencer::Sequencer;
pub use tlog_proof::{ProvenLeaf, TlogProof, TlogProofError};
pub use tree::{LogTree, TreeError};
pub use verify::{LogVerifier, VerifiedLog, VerifyError, verify_log};
