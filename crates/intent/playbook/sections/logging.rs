//! `[logging]`: what the log must be able to say of a grant.

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["logging"];
