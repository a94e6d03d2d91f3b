//! Time as a parameter.

use std::{fmt, pin::Pin};

use jiff::Timestamp;

/// Where the time comes from. The daemon has one that reads the wall clock; tests have one that stands still.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Completes once [`Clock::now`] is at or after `at`; at once when it already is.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

    /// The present instant on a clock that nobody sets; `None` where there is none.
    fn monotonic(&self) -> Option<MonotonicTime> {
        None
    }
}

/// An instant on a host's clock since its start: it never goes back, and is never set. Two of one start are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonotonicTime {
    /// Which start of which host.
    pub boot: [u8; 16],
    /// Microseconds since then, those in which it slept among them.
    pub micros: u64,
}
