//! How a grant is approved: levels one after the other, who never approves, and with how many factors.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApprovalRule, Decider, Principal};
use crate::denial::{Denial, DenialCode};

/// The most levels of a plan.
pub const MAX_LEVELS: usize = 8;
/// The most rules of a level.
pub const MAX_ALTERNATIVES: usize = 8;

/// How a grant is approved. Its requester, which is a workload, never approves it.
///
/// In JSON a plan of one level with one rule, and nothing more, is that rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct ApprovalPlan {
    levels: Vec<ApprovalLevel>,
    exclude: BTreeSet<Exclusion>,
    excluded: BTreeSet<Principal>,
    mfa: bool,
}

/// One level: any of its rules is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalLevel {
    /// The rules.
    pub any: Vec<ApprovalRule>,
}

/// Who never approves, beside the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// On whose behalf the grant is used, and every agent in between.
    DelegationChain,
    /// Who answers for the agent, by its registration entry.
    AgentOwner,
    /// Who wrote the playbook, or who answers for it where it names no author.
    PlaybookAuthor,
}

/// The levels make no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a plan has 1 to {MAX_LEVELS} levels of 1 to {MAX_ALTERNATIVES} rules, and no rule wants more groups than it names"
)]
pub struct PlanError;

/// The text names nobody who could be excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is one of `requester`, `delegation_chain`, `agent_owner` and `playbook_author`")]
pub struct UnknownExclusion;

impl ApprovalPlan {
    /// A plan of these levels.
    ///
    /// # Errors
    /// There are none or too many, or a rule can never be satisfied.
    pub fn new(levels: Vec<ApprovalLevel>) -> Result<Self, PlanError> {
        let possible = |rule: &ApprovalRule| {
            !rule.distinct_groups
                || usize::try_from(rule.approve.get()).is_ok_and(|many| many <= rule.groups.len())
        };
        let fits = |level: &ApprovalLevel| {
            (1..=MAX_ALTERNATIVES).contains(&level.any.len()) && level.any.iter().all(possible)
        };
        if !(1..=MAX_LEVELS).contains(&levels.len()) || !levels.iter().all(fits) {
            return Err(PlanError);
        }
        Ok(Self { levels, exclude: BTreeSet::new(), excluded: BTreeSet::new(), mfa: false })
    }

    /// The same plan, which these never approve.
    #[must_use]
    pub fn excluding(mut self, exclude: impl IntoIterator<Item = Exclusion>) -> Self {
        self.exclude.extend(exclude);
        self
    }

    /// The same plan, for which a login with more than one factor is demanded or not.
    #[must_use]
    pub const fn with_mfa(mut self, required: bool) -> Self {
        self.mfa = required;
        self
    }

    /// The same plan, of which no rule wants more approvals than these.
    #[must_use]
    pub fn with_at_most(mut self, approvals: NonZeroU32) -> Self {
        for rule in self.levels.iter_mut().flat_map(|level| &mut level.any) {
            rule.approve = rule.approve.min(approvals);
        }
        self
    }

    /// The same plan with the people pinned whom [`Self::exclude`] means, by the names that owners and authors have.
    ///
    /// # Errors
    /// A name is no [`Principal`], so nobody could tell whether an approver is meant: [`DenialCode::SponsorMissing`].
    pub fn pinned(mut self, agent_owner: Option<&str>, author: &str) -> Result<Self, Denial> {
        for exclusion in &self.exclude {
            let (what, name) = match exclusion {
                Exclusion::DelegationChain => continue,
                Exclusion::AgentOwner => ("agent's owner", agent_owner.unwrap_or_default()),
                Exclusion::PlaybookAuthor => ("playbook's author", author),
            };
            let principal = name.parse().map_err(|error| {
                let detail =
                    format!("the {what} never approves, and `{name}` names nobody: {error}");
                Denial::new(DenialCode::SponsorMissing, detail)
            })?;
            self.excluded.insert(principal);
        }
        Ok(self)
    }

    /// The levels, in their order.
    #[must_use]
    pub fn levels(&self) -> &[ApprovalLevel] {
        &self.levels
    }

    /// Who never approves, beside the requester.
    #[must_use]
    pub const fn exclude(&self) -> &BTreeSet<Exclusion> {
        &self.exclude
    }

    /// Whom that means, by name.
    #[must_use]
    pub const fn excluded(&self) -> &BTreeSet<Principal> {
        &self.excluded
    }

    /// Whether an approver has to have logged in with more than one factor, lately.
    #[must_use]
    pub const fn demands_mfa(&self) -> bool {
        self.mfa
    }

    /// Every rule, of whatever level.
    pub fn rules(&self) -> impl Iterator<Item = &ApprovalRule> {
        self.levels.iter().flat_map(|level| &level.any)
    }

    /// The least number of approvals that it takes.
    #[must_use]
    pub fn approvals_needed(&self) -> u32 {
        self.levels.iter().map(ApprovalLevel::least).fold(0, u32::saturating_add)
    }

    /// Whether somebody's approval counts at this level, from 0.
    ///
    /// # Errors
    /// [`DenialCode::SelfApprovalForbidden`] for somebody who is excluded; [`DenialCode::ApproverNotEligible`] for
    /// somebody in none of the level's groups, and for a login that does not do.
    pub fn admits(&self, level: usize, decider: &Decider, now: Timestamp) -> Result<(), Denial> {
        let who = &decider.approver;
        if let Some(name) = self.excluded.iter().find(|name| decider.is_named(name)) {
            let detail = format!("{who} is `{name}`, who never approves this");
            return Err(Denial::new(DenialCode::SelfApprovalForbidden, detail));
        }
        let of_level = self.levels.get(level);
        if !of_level.is_some_and(|level| level.any.iter().any(|rule| rule.admits(decider))) {
            let detail = format!("{who} is in none of the approver groups of level {}", level + 1);
            return Err(Denial::new(DenialCode::ApproverNotEligible, detail));
        }
        if self.mfa && !decider.mfa.as_ref().is_some_and(|shown| shown.is_fresh(now)) {
            let detail = format!("{who} has not logged in with more than one factor lately");
            return Err(Denial::new(DenialCode::ApproverNotEligible, detail));
        }
        Ok(())
    }

    /// Whether somebody's refusal counts: in a group of any level. Who may not approve may refuse all the same.
    ///
    /// # Errors
    /// [`DenialCode::ApproverNotEligible`].
    pub fn hears(&self, decider: &Decider) -> Result<(), Denial> {
        if self.rules().any(|rule| rule.admits(decider)) {
            return Ok(());
        }
        let detail = format!("{} is in none of the playbook's approver groups", decider.approver);
        Err(Denial::new(DenialCode::ApproverNotEligible, detail))
    }

    /// With everybody shut out whom `other` shuts out, too: who may not approve above may not approve below.
    #[must_use]
    pub fn shutting_out_as(mut self, other: &Self) -> Self {
        self.exclude.extend(other.exclude.iter().copied());
        self.excluded.extend(other.excluded.iter().cloned());
        self.mfa |= other.mfa;
        self
    }

    /// Whether this plan asks for all that `other` asks for, level by level; more levels and more exclusions are more.
    #[must_use]
    pub fn is_at_least(&self, other: &Self) -> bool {
        let mut own = self.levels.iter();
        let each = other.levels.iter().all(|level| own.any(|mine| mine.is_at_least(level)));
        each && self.exclude.is_superset(&other.exclude)
            && self.excluded.is_superset(&other.excluded)
            && (self.mfa || !other.mfa)
    }
}

impl ApprovalLevel {
    /// The least number of approvals that it takes.
    #[must_use]
    pub fn least(&self) -> u32 {
        self.any.iter().map(|rule| rule.approve.get()).min().unwrap_or(u32::MAX)
    }

    fn is_at_least(&self, other: &Self) -> bool {
        self.any.iter().all(|rule| other.any.iter().any(|theirs| rule.is_at_least(theirs)))
    }
}

impl From<ApprovalRule> for ApprovalPlan {
    fn from(rule: ApprovalRule) -> Self {
        Self {
            levels: vec![ApprovalLevel { any: vec![rule] }],
            exclude: BTreeSet::new(),
            excluded: BTreeSet::new(),
            mfa: false,
        }
    }
}

impl Exclusion {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DelegationChain => "delegation_chain",
            Self::AgentOwner => "agent_owner",
            Self::PlaybookAuthor => "playbook_author",
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Exclusion {
    type Err = UnknownExclusion;

    fn from_str(text: &str) -> Result<Self, UnknownExclusion> {
        [Self::DelegationChain, Self::AgentOwner, Self::PlaybookAuthor]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or(UnknownExclusion)
    }
}

/// The plan in JSON: what was pinned when there was one rule alone still reads, and has its digest.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    One(ApprovalRule),
    Many(Parts),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    levels: Vec<ApprovalLevel>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    exclude: BTreeSet<Exclusion>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    excluded: BTreeSet<Principal>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mfa: bool,
}

impl TryFrom<Form> for ApprovalPlan {
    type Error = PlanError;

    fn try_from(form: Form) -> Result<Self, PlanError> {
        let Parts { levels, exclude, excluded, mfa } = match form {
            Form::One(rule) => return Self::new(vec![ApprovalLevel { any: vec![rule] }]),
            Form::Many(parts) => parts,
        };
        Ok(Self { exclude, excluded, mfa, ..Self::new(levels)? })
    }
}

impl From<ApprovalPlan> for Form {
    fn from(plan: ApprovalPlan) -> Self {
        let ApprovalPlan { levels, exclude, excluded, mfa } = plan;
        let plain = exclude.is_empty() && excluded.is_empty() && !mfa;
        match levels.as_slice() {
            [ApprovalLevel { any }] if plain => match any.as_slice() {
                [rule] => Self::One(rule.clone()),
                _ => Self::Many(Parts { levels, exclude, excluded, mfa }),
            },
            _ => Self::Many(Parts { levels, exclude, excluded, mfa }),
        }
    }
}

#[cfg(test)]
mod tests;
