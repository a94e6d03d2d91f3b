//! `[[staged]]`: the phases of a long task.

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["staged"];
