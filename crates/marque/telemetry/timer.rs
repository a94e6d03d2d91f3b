//! How long checks take (M 138).

use std::time::Instant;

use super::described::CHECK;

/// Measures one check from when it was made until it is dropped.
#[derive(Debug)]
pub(crate) struct Timer {
    check: &'static str,
    since: Instant,
}

impl Timer {
    /// Begins to measure `check`.
    pub(crate) fn of(check: &'static str) -> Self {
        Self { check, since: Instant::now() }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        metrics::histogram!(CHECK, "check" => self.check).record(self.since.elapsed());
    }
}
