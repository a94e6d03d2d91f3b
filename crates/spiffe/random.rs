//! Randomness as a parameter, wherever ring does not draw its own.

use std::fmt;

/// Where random bytes come from: the operating system in the daemon, a seed in tests.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills all of `out`.
    ///
    /// # Errors
    /// The source failed; `out` must not be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError>;
}

/// The source of randomness failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes are available")]
pub struct RandomError;
