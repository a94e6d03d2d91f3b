//! One rule of a level: how many, of which groups, and how many refusals are final.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Decider, GroupName};

/// How many approvals are enough, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// How many different approvers have to approve.
    pub approve: NonZeroU32,
    /// The groups that they are from; empty is any approver.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// How many different approvers have to refuse for the refusal to be final.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub deny: NonZeroU32,
    /// Whether each of them has to stand for a group of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distinct_groups: bool,
}

impl ApprovalRule {
    /// So many approvals of these groups, or of anybody where there are none; one refusal is final.
    #[must_use]
    pub fn of(approve: NonZeroU32, groups: BTreeSet<GroupName>) -> Self {
        Self { approve, groups, deny: NonZeroU32::MIN, distinct_groups: false }
    }

    /// Whether somebody of these groups counts.
    #[must_use]
    pub fn admits(&self, decider: &Decider) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|group| decider.is_in(group))
    }

    /// How many of these count, all different people: with `distinct_groups`, how many groups they can stand for.
    #[must_use]
    pub(super) fn counted(&self, deciders: &[Decider]) -> u32 {
        let admitted: Vec<&Decider> =
            deciders.iter().filter(|decider| self.admits(decider)).collect();
        let count = if self.distinct_groups {
            let groups: Vec<&GroupName> = self.groups.iter().collect();
            matched(admitted.len(), groups.len(), |person, group| {
                let person = admitted.get(person);
                groups.get(group).is_some_and(|group| person.is_some_and(|one| one.is_in(group)))
            })
        } else {
            admitted.len()
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether whoever satisfies this rule satisfies `other`, and whatever refuses by `other` refuses by this one.
    #[must_use]
    pub(super) fn is_at_least(&self, other: &Self) -> bool {
        let no_others = other.groups.is_empty()
            || (!self.groups.is_empty() && self.groups.is_subset(&other.groups));
        let as_distinct = !other.distinct_groups || self.distinct_groups;
        self.approve >= other.approve && no_others && as_distinct && self.deny <= other.deny
    }
}

/// How many on the left can have one on the right each, none of which serves two: a maximum bipartite matching.
pub(super) fn matched(left: usize, right: usize, fits: impl Fn(usize, usize) -> bool) -> usize {
    let mut taken: Vec<Option<usize>> = vec![None; right];
    (0..left).filter(|person| seat(*person, &mut taken, &mut vec![false; right], &fits)).count()
}

fn seat(
    person: usize,
    taken: &mut [Option<usize>],
    tried: &mut [bool],
    fits: &impl Fn(usize, usize) -> bool,
) -> bool {
    for place in 0..taken.len() {
        let is_new = |tried: &mut bool| !std::mem::replace(tried, true);
        if !fits(person, place) || !tried.get_mut(place).is_some_and(is_new) {
            continue;
        }
        let holder = taken.get(place).copied().flatten();
        let free = match holder {
            None => true,
            Some(holder) => seat(holder, taken, tried, fits),
        };
        if free {
            if let Some(seat) = taken.get_mut(place) {
                *seat = Some(person);
            }
            return true;
        }
    }
    false
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

const fn is_one(count: &NonZeroU32) -> bool {
    count.get() == 1
}
