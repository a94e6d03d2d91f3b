//! `[risk]`: what a request for the playbook begins with.

use serde::Deserialize;

use crate::playbook::report::Report;

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["risk.deny_at", "risk.approve_at", "risk.weights"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RiskSection {
    base: u32,
}

/// How risky the playbook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RiskTerms {
    /// The score that a request starts from, 0 to 100.
    pub(crate) base: u32,
}

pub(crate) fn read(section: &RiskSection, report: &mut Report<'_>) -> RiskTerms {
    let RiskSection { base } = section;
    report.require(*base <= 100, "risk.base", "is 0 to 100");
    RiskTerms { base: *base }
}
