//! Time as a parameter.

use std::{fmt, pin::Pin};

use jiff::Timestamp;

/// Where the time comes from. The daemon has one that reads the wall clock; tests have one that stands still.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Completes once [`Clock::now`] is at or after `at`; at once when it already is.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>>;
}
