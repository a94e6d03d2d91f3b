//! `[approvals]`: how much approvers are asked, and what a local operator's login is worth.

use crate::fields::{Fields, Log};

/// The most approvals in an hour, and the most requests that wait for a group, that may be allowed.
const MAX_PER_HOUR: u32 = 500;
const MAX_PENDING: u32 = 2_000;

/// `[approvals]`; everything may be absent.
///
/// ```toml
/// [approvals]
/// max_per_hour = 60                    # approvals that one approver may give in an hour: 1 to 500
/// max_pending = 200                    # requests that may wait for one group of approvers: 1 to 2000
/// operator_mfa = false                 # whether logging in to this machine takes more than one factor
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalSettings {
    /// How many approvals one approver may give in an hour.
    pub max_per_hour: u32,
    /// How many requests may wait for one group.
    pub max_pending: u32,
    /// Whether a local operator counts as logged in with more than one factor.
    pub operator_mfa: bool,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self { max_per_hour: 60, max_pending: 200, operator_mfa: false }
    }
}

/// Reads `[approvals]`.
pub(super) fn read(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> ApprovalSettings {
    let usual = ApprovalSettings::default();
    let line = table.line();
    let mut number = |key: &'static str, usual: u32, most: u32, log: &mut Log<'_>| {
        let number = table.optional_number(key, log).unwrap_or(usual);
        if !(1..=most).contains(&number) {
            log.at(line, format!("`{key}` in [approvals] is 1 to {most}"));
        }
        number
    };
    let max_per_hour = number("max_per_hour", usual.max_per_hour, MAX_PER_HOUR, log);
    let max_pending = number("max_pending", usual.max_pending, MAX_PENDING, log);
    let operator_mfa =
        table.optional_switch("operator_mfa", log).map_or(usual.operator_mfa, |field| field.value);
    table.finish(log);
    ApprovalSettings { max_per_hour, max_pending, operator_mfa }
}
