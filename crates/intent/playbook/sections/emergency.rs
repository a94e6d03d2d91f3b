//! `emergency` and `[responders]`: playbooks for when the usual path is too slow.

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["emergency"];
