//! For tests only: a clock that stands still, seeded randomness, scratch authorities, a log in
//! memory, HTTP/2 by hand, and waiting for what has to happen.
//!
//! No security: keys are made on the spot and thrown away. Absent: whatever only one crate's tests need. Everything here
//! panics on failure, as a test does.
#![expect(clippy::expect_used, reason = "a failed preparation fails the test")]

mod authority;
mod clock;
pub mod http2;
mod log;
mod proof;
mod random;
mod signer;
mod wait;

pub use authority::{ScratchBundles, ScratchCa, ScratchTrustDomain, ScratchX509Svid};
pub use clock::{FixedClock, START};
pub use log::MemoryLog;
pub use proof::ScratchProof;
pub use random::SeededRandom;
pub use rcgen;
pub use signer::ScratchSigner;
pub use tempfile::TempDir;
pub use wait::until;

/// A new directory that goes away with the value.
///
/// # Panics
/// There is no room for it.
#[must_use]
pub fn temp_dir() -> TempDir {
    TempDir::new().expect("a temporary directory")
}
