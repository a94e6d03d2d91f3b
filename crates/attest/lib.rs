//! Who is at the other end of a socket: peer credentials, process facts and selectors.
//!
//! The way through: [`Peer::capture`] pins the process when its connection is accepted;
//! [`Attestors::attest`] gathers selectors from every [`Attestor`] and then compares the pin with
//! what the kernel says *now*, so that selectors are never those of another process, of another
//! executable or of another user than the one that was at the other end when it was accepted.
//!
//! Deliberately absent: which identity a set of selectors earns (`marque-registry`), and every
//! fact that the attested process could write itself (its command line, its environment, its mount
//! table).
//!
//! # What a selector proves
//! `unix:uid` and `unix:gid` separate processes. `unix:path` and `unix:sha256` only narrow a user:
//! processes of one uid that may trace one another, or start one another with a library preloaded,
//! are one security domain.

mod attestor;
mod error;
mod hash;
mod lineage;
mod peer;
mod pin;
mod proc;
mod unix;

pub use attestor::{Attestation, Attestor, Attestors, Fingerprint};
pub use error::AttestError;
pub use lineage::MAX_LINEAGE;
pub use peer::Peer;
pub use pin::ProcessPin;
pub use unix::{UnixAttestor, UnixAttestorConfig};

/// How many supplementary groups an attested process may be in.
pub const MAX_SUPPLEMENTARY_GROUPS: usize = 1024;

#[cfg(test)]
mod processes;
