//! The present, handed in. [`HostClock`] is the only thing here that reads the host's clock.

use std::fmt;

use jiff::Timestamp;

/// Where the present comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The clock of the host, which somebody keeps right: a token's life is minutes.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostClock;

impl Clock for HostClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
