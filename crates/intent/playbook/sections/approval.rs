//! `[approval]`: who says yes; silence never does.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::approval::{ApprovalRule, GroupName, MAX_APPROVALS};
use crate::playbook::report::{MAX_ITEMS, Report};

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] =
    &["approval.auto_if", "approval.mfa", "approval.levels.*.any.*.distinct_groups"];

/// How a playbook is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// By policy, never in production.
    Auto,
    /// By policy, or by a person where policy asks for one.
    Rule,
    /// By a person, whatever policy would approve.
    Always,
}

impl ApprovalMode {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rule => "rule",
            Self::Always => "always",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalSection {
    pub(crate) mode: ApprovalMode,
    #[serde(default)]
    pub(crate) levels: Vec<Level>,
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    pub(crate) on_timeout: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Level {
    pub(crate) any: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) approve: u32,
    pub(crate) deny: Option<u32>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
}

pub(crate) fn read(section: &ApprovalSection, report: &mut Report<'_>) -> Option<ApprovalRule> {
    report.require(
        section.on_timeout == "deny",
        "approval.on_timeout",
        "is `deny`: silence never approves",
    );
    for (index, name) in section.exclude.iter().enumerate() {
        let path = format!("approval.exclude.{index}");
        // The requester is a workload and an approver never is, so this one always holds.
        let message =
            format!("excluding `{name}` is not supported yet; `requester` is always excluded");
        report.require(name == "requester", &path, message);
    }
    let level = match section.levels.as_slice() {
        [] => {
            let message = "names at least one level, unless `mode` is `auto`";
            report.require(section.mode == ApprovalMode::Auto, "approval.levels", message);
            return None;
        }
        [level] => level,
        _ => {
            report.refuse("approval.levels", "more than one level is not supported yet");
            return None;
        }
    };
    let [rule] = level.any.as_slice() else {
        report.refuse(
            "approval.levels.0.any",
            "has exactly one rule; alternatives are not supported yet",
        );
        return None;
    };
    let path = "approval.levels.0.any.0";
    report.require(
        rule.deny.is_none_or(|deny| deny == 1),
        &format!("{path}.deny"),
        "is 1: one refusal is final; other counts are not supported yet",
    );
    let message = format!("is 1 to {MAX_APPROVALS}");
    report.require(rule.approve <= MAX_APPROVALS, &format!("{path}.approve"), &message);
    let approve =
        report.keep(&format!("{path}.approve"), NonZeroU32::new(rule.approve).ok_or(message))?;
    report.require(
        rule.groups.len() <= MAX_ITEMS,
        &format!("{path}.groups"),
        "has too many groups",
    );
    let groups: BTreeSet<GroupName> = rule
        .groups
        .iter()
        .filter_map(|group| report.parse(&format!("{path}.groups"), group))
        .collect();
    Some(ApprovalRule { approve, groups })
}
