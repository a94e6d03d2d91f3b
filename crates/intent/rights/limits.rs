//! Numbers that bound what a grant may do in all. Whatever derives from a grant draws from the same counters, so that
//! a child's numbers bound the child and never add to the parent's.

use serde::{Deserialize, Serialize};

use super::{Dimension, Widening};

/// Bounds of a grant; what is absent is not bounded by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most records that may be touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u64>,
    /// The most calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// The most calls of destructive tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_destructive: Option<u64>,
    /// The most bytes that may come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_out: Option<u64>,
    /// The least time between two calls, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<u64>,
}

impl Limits {
    /// Whether it bounds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These, with the ones that `other` names in place of ours.
    pub(crate) fn overlaid(self, other: Self) -> Self {
        let Self { max_records, max_calls, max_destructive, max_bytes_out, min_interval_s } = other;
        Self {
            max_records: max_records.or(self.max_records),
            max_calls: max_calls.or(self.max_calls),
            max_destructive: max_destructive.or(self.max_destructive),
            max_bytes_out: max_bytes_out.or(self.max_bytes_out),
            min_interval_s: min_interval_s.or(self.min_interval_s),
        }
    }

    pub(crate) fn covers(&self, child: &Self) -> Result<(), Widening> {
        let Self { max_records, max_calls, max_destructive, max_bytes_out, min_interval_s } = *self;
        at_most(max_records, child.max_records, Dimension::MaxRecords)?;
        at_most(max_calls, child.max_calls, Dimension::MaxCalls)?;
        at_most(max_destructive, child.max_destructive, Dimension::MaxDestructive)?;
        at_most(max_bytes_out, child.max_bytes_out, Dimension::MaxBytesOut)?;
        at_least(min_interval_s, child.min_interval_s, Dimension::MinInterval)
    }
}

/// The child has a ceiling where the parent has one, and none that is higher.
pub(super) fn at_most<T: PartialOrd>(
    parent: Option<T>,
    child: Option<T>,
    dimension: Dimension,
) -> Result<(), Widening> {
    match (parent, child) {
        (Some(most), Some(value)) if value <= most => Ok(()),
        (None, _) => Ok(()),
        (Some(_), _) => Err(Widening::exceeds(dimension)),
    }
}

/// The child has a floor where the parent has one, and none that is lower.
pub(super) fn at_least<T: PartialOrd>(
    parent: Option<T>,
    child: Option<T>,
    dimension: Dimension,
) -> Result<(), Widening> {
    match (parent, child) {
        (Some(least), Some(value)) if value >= least => Ok(()),
        (None, _) => Ok(()),
        (Some(_), _) => Err(Widening::exceeds(dimension)),
    }
}
