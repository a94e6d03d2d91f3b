//! `[on_complete]`: what is done when the work is reported as done.

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["on_complete"];
