//! `[approval]`: who says yes; silence never does.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::approval::{
    ApprovalLevel, ApprovalPlan, ApprovalRule, Exclusion, GroupName, MAX_ALTERNATIVES,
    MAX_APPROVALS, MAX_LEVELS,
};
use crate::playbook::report::{MAX_ITEMS, Report};

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["approval.auto_if"];

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
    pub(crate) mfa: Option<String>,
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
    #[serde(default)]
    pub(crate) distinct_groups: bool,
}

pub(crate) fn read(section: &ApprovalSection, report: &mut Report<'_>) -> Option<ApprovalPlan> {
    report.require(
        section.on_timeout == "deny",
        "approval.on_timeout",
        "is `deny`: silence never approves",
    );
    if let Some(mfa) = &section.mfa {
        report.require(mfa == "required", "approval.mfa", "is `required`, or absent");
    }
    let exclude = exclude(section, report);
    if section.levels.is_empty() {
        let message = "names at least one level, unless `mode` is `auto`";
        report.require(section.mode == ApprovalMode::Auto, "approval.levels", message);
        return None;
    }
    report.require(
        section.levels.len() <= MAX_LEVELS,
        "approval.levels",
        format!("has at most {MAX_LEVELS} levels"),
    );
    let levels: Option<Vec<ApprovalLevel>> = section
        .levels
        .iter()
        .enumerate()
        .map(|(index, written)| level(&format!("approval.levels.{index}.any"), written, report))
        .collect();
    let plan = report.keep("approval.levels", ApprovalPlan::new(levels?))?;
    Some(plan.excluding(exclude).with_mfa(section.mfa.is_some()))
}

/// The requester is a workload and an approver never is, so that one always holds.
fn exclude(section: &ApprovalSection, report: &mut Report<'_>) -> BTreeSet<Exclusion> {
    let named = section.exclude.iter().enumerate().filter(|(_, name)| *name != "requester");
    named
        .filter_map(|(index, name)| report.parse(&format!("approval.exclude.{index}"), name))
        .collect()
}

fn level(path: &str, level: &Level, report: &mut Report<'_>) -> Option<ApprovalLevel> {
    report.require(
        (1..=MAX_ALTERNATIVES).contains(&level.any.len()),
        path,
        format!("has 1 to {MAX_ALTERNATIVES} rules"),
    );
    let rules = level.any.iter().enumerate();
    let any = rules.map(|(index, written)| rule(&format!("{path}.{index}"), written, report));
    let any: Option<Vec<ApprovalRule>> = any.collect();
    Some(ApprovalLevel { any: any? })
}

fn rule(path: &str, rule: &Rule, report: &mut Report<'_>) -> Option<ApprovalRule> {
    let mut count = |name: &str, number: u32| {
        let path = format!("{path}.{name}");
        let message = format!("is 1 to {MAX_APPROVALS}");
        report.require(number <= MAX_APPROVALS, &path, &message);
        report.keep(&path, NonZeroU32::new(number).ok_or(message))
    };
    let approve = count("approve", rule.approve);
    let deny = count("deny", rule.deny.unwrap_or(1));
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
    let (approve, deny) = (approve?, deny?);
    let enough = usize::try_from(approve.get()).is_ok_and(|many| many <= groups.len());
    report.require(
        !rule.distinct_groups || enough,
        &format!("{path}.distinct_groups"),
        "wants an approver of each of more groups than the rule names",
    );
    Some(ApprovalRule { approve, groups, deny, distinct_groups: rule.distinct_groups })
}
