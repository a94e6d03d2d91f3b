//! Whether anybody could approve at all, as far as the trust domain knows who there is.

use std::collections::BTreeSet;

use super::rule::matched;
use super::{ApprovalLevel, ApprovalPlan, ApprovalRule, Decider, GroupName};
use crate::denial::{Denial, DenialCode};

/// How many ways to satisfy a plan are looked at.
const MAX_WAYS: usize = 256;

/// Everybody who could approve, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownApprovers {
    /// Those who are known one by one, the operators, in every group that they are ever in.
    pub people: Vec<Decider>,
    /// The groups that others may be in as well, whom only their identity provider knows.
    pub open_groups: BTreeSet<GroupName>,
    /// Whether there are others in no group at all who could approve where a rule names none.
    pub open: bool,
}

impl ApprovalPlan {
    /// Whether enough eligible people exist, none of whom counts twice.
    ///
    /// # Errors
    /// [`DenialCode::QuorumUnreachable`] when no way to satisfy every level is left.
    pub fn is_reachable(&self, known: &KnownApprovers) -> Result<(), Denial> {
        let eligible: Vec<&Decider> = known
            .people
            .iter()
            .filter(|who| !self.excluded().iter().any(|name| who.is_named(name)))
            .collect();
        if let Some(level) =
            self.levels().iter().position(|level| !reaches(level, &eligible, known))
        {
            let detail = format!("too few people could approve level {}", level + 1);
            return Err(Denial::new(DenialCode::QuorumUnreachable, detail));
        }
        let ways = self.levels().iter().map(|level| level.any.len()).product::<usize>();
        if ways > MAX_WAYS || (0..ways).any(|way| suffices(&self.rules_of(way), &eligible, known)) {
            return Ok(());
        }
        let detail = "too few people could approve: each counts at one level alone";
        Err(Denial::new(DenialCode::QuorumUnreachable, detail))
    }

    /// One rule of each level: the way with that number.
    fn rules_of(&self, way: usize) -> Vec<&ApprovalRule> {
        let mut rest = way;
        let pick = |level: &'_ ApprovalLevel, rest: &mut usize| {
            let index = *rest % level.any.len();
            *rest /= level.any.len();
            index
        };
        self.levels().iter().filter_map(|level| level.any.get(pick(level, &mut rest))).collect()
    }
}

fn is_open(rule: &ApprovalRule, known: &KnownApprovers) -> bool {
    if rule.groups.is_empty() { known.open } else { !rule.groups.is_disjoint(&known.open_groups) }
}

fn reaches(level: &ApprovalLevel, eligible: &[&Decider], known: &KnownApprovers) -> bool {
    let people: Vec<Decider> = eligible.iter().map(|one| (*one).clone()).collect();
    level.any.iter().any(|rule| is_open(rule, known) || rule.counted(&people) >= rule.approve.get())
}

/// Whether every approval that these rules want can come from somebody else.
fn suffices(rules: &[&ApprovalRule], eligible: &[&Decider], known: &KnownApprovers) -> bool {
    let places: Vec<&ApprovalRule> = rules
        .iter()
        .filter(|rule| !is_open(rule, known))
        .flat_map(|rule| (0..rule.approve.get()).map(|_| *rule))
        .collect();
    let seated = matched(places.len(), eligible.len(), |place, person| {
        let rule = places.get(place);
        eligible.get(person).is_some_and(|who| rule.is_some_and(|rule| rule.admits(who)))
    });
    seated == places.len()
}
