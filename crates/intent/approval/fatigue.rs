//! What keeps approvers from waving requests through: how many one may approve in an hour, how many may wait for one group,
//! and how long decisions took (specs/intents.md 11).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApprovalPlan, GroupName};
use crate::denial::{Denial, DenialCode};
use crate::id::IntentId;
use crate::lifecycle::plus;

/// A median below this many milliseconds is a rubber stamp.
pub const RUBBER_STAMP_MS: u64 = 3_000;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How long decisions are remembered, and how many of one approver at most.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_MARKS: usize = 500;
/// How many requests may wait in all groups together.
pub(crate) const MAX_WAITING: usize = 2_000;

/// How much approvers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalLimits {
    /// How many approvals one approver may give in an hour: 1 to 500.
    pub max_per_hour: u32,
    /// How many requests may wait for one group of approvers.
    pub max_pending: u32,
}

impl Default for ApprovalLimits {
    fn default() -> Self {
        Self { max_per_hour: 60, max_pending: 200 }
    }
}

/// One decision of an approver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionMark {
    /// When.
    pub at: Timestamp,
    /// Whether it was an approval.
    pub approved: bool,
    /// How long they had it before their eyes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// What is remembered of one approver's decisions: those of the last 30 days, the last 500 at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecord {
    marks: Vec<DecisionMark>,
}

/// What a record says in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecisionSummary {
    /// How many approvals.
    pub approved: u32,
    /// How many refusals.
    pub refused: u32,
    /// The median time between showing and deciding, in milliseconds, where any is known.
    pub median_ms: Option<u64>,
}

impl DecisionSummary {
    /// Whether the approver decides faster than anybody reads.
    #[must_use]
    pub fn is_rubber_stamp(&self) -> bool {
        self.median_ms.is_some_and(|median| median < RUBBER_STAMP_MS)
    }
}

impl DecisionRecord {
    /// Whether the approver may approve one more now.
    ///
    /// # Errors
    /// [`DenialCode::ApproverQueueFull`].
    pub fn may_approve(&self, limits: ApprovalLimits, now: Timestamp) -> Result<(), Denial> {
        let recent = self.marks.iter().filter(|mark| mark.approved && plus(mark.at, HOUR) > now);
        let count = u32::try_from(recent.count()).unwrap_or(u32::MAX);
        if count < limits.max_per_hour {
            return Ok(());
        }
        let detail = format!("the approver gave {count} approvals within an hour");
        Err(Denial::new(DenialCode::ApproverQueueFull, detail))
    }

    /// The record with one more decision.
    #[must_use]
    pub fn with(mut self, mark: DecisionMark) -> Self {
        self.marks.push(mark);
        self.marks.retain(|one| plus(one.at, REMEMBERED) > mark.at);
        let over = self.marks.len().saturating_sub(MAX_MARKS);
        self.marks.drain(..over);
        self
    }

    /// Until when there is anything to remember.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.marks.last().map_or(Timestamp::MIN, |mark| plus(mark.at, REMEMBERED))
    }

    /// In numbers.
    #[must_use]
    pub fn summary(&self) -> DecisionSummary {
        let count = |approved: bool| {
            let those = self.marks.iter().filter(|mark| mark.approved == approved);
            u32::try_from(those.count()).unwrap_or(u32::MAX)
        };
        let mut took: Vec<u64> = self.marks.iter().filter_map(|mark| mark.took_ms).collect();
        took.sort_unstable();
        let median_ms = took.get(took.len() / 2).copied();
        DecisionSummary { approved: count(true), refused: count(false), median_ms }
    }
}

/// What waits for approvers, by group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalQueue {
    waiting: BTreeMap<String, Waiting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    until: Timestamp,
    groups: BTreeSet<GroupName>,
}

impl ApprovalQueue {
    /// The queue with one more request, which waits for every group of its plan until then.
    ///
    /// # Errors
    /// [`DenialCode::ApproverQueueFull`] when too many wait for one of its groups already; those that name no group wait
    /// for everybody together.
    pub fn with(
        mut self,
        id: &IntentId,
        plan: &ApprovalPlan,
        (now, until): (Timestamp, Timestamp),
        limits: ApprovalLimits,
    ) -> Result<Self, Denial> {
        self.waiting.retain(|_, waiting| waiting.until > now);
        let groups: BTreeSet<GroupName> =
            plan.rules().flat_map(|rule| rule.groups.iter().cloned()).collect();
        let full = |ahead: usize| u32::try_from(ahead).unwrap_or(u32::MAX) >= limits.max_pending;
        let for_nobody_else = self.waiting.values().filter(|one| one.groups.is_empty()).count();
        let mut groups_full = groups.iter().map(|group| {
            full(self.waiting.values().filter(|one| one.groups.contains(group)).count())
        });
        let no_room = if groups.is_empty() {
            full(for_nobody_else)
        } else {
            groups_full.any(|is_full| is_full)
        };
        if no_room || self.waiting.len() >= MAX_WAITING {
            let detail = "too many requests wait for the same approvers";
            return Err(Denial::new(DenialCode::ApproverQueueFull, detail));
        }
        self.waiting.insert(id.to_string(), Waiting { until, groups });
        Ok(self)
    }

    /// The queue without a request that waits no more.
    #[must_use]
    pub fn without(mut self, id: &IntentId) -> Self {
        self.waiting.remove(id.as_str());
        self
    }

    /// Whether the request waits in it.
    #[must_use]
    pub fn has(&self, id: &IntentId) -> bool {
        self.waiting.contains_key(id.as_str())
    }

    /// Until when the last of them waits.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.waiting.values().map(|one| one.until).max().unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, start};

    const LIMITS: ApprovalLimits = ApprovalLimits { max_per_hour: 2, max_pending: 2 };

    fn mark(seconds: i64, approved: bool, took_ms: u64) -> DecisionMark {
        DecisionMark { at: at(seconds), approved, took_ms: Some(took_ms) }
    }

    #[test]
    fn an_approver_approves_so_many_in_an_hour_and_refuses_as_many_as_they_like() {
        let mut record = DecisionRecord::default();
        for second in 0..5 {
            record = record.with(mark(second, false, 10_000));
        }
        assert!(record.may_approve(LIMITS, at(5)).is_ok());
        record = record.with(mark(10, true, 10_000)).with(mark(20, true, 10_000));
        let refused = record.may_approve(LIMITS, at(30)).unwrap_err();
        assert_eq!(refused.code(), DenialCode::ApproverQueueFull);
        assert!(record.may_approve(LIMITS, at(3609)).is_err());
        assert!(record.may_approve(LIMITS, at(3610)).is_ok());
    }

    #[test]
    fn a_median_under_three_seconds_is_a_rubber_stamp() {
        let record = DecisionRecord::default();
        assert!(!record.summary().is_rubber_stamp());
        let record = record.with(mark(0, true, 1)).with(mark(1, true, 2_999));
        let record = record.with(mark(2, false, 60_000));
        let summary = record.summary();
        assert_eq!((summary.approved, summary.refused), (2, 1));
        assert_eq!(summary.median_ms, Some(2_999));
        assert!(summary.is_rubber_stamp());
        assert!(!record.with(mark(3, true, 60_000)).summary().is_rubber_stamp());
    }

    #[test]
    fn a_record_remembers_thirty_days_and_five_hundred_decisions() {
        let mut record = DecisionRecord::default();
        for second in 0..600 {
            record = record.with(mark(second, true, 1));
        }
        assert_eq!(record.summary().approved, 500);
        let late = record.with(mark(40 * 24 * 3600, true, 1));
        assert_eq!(late.summary().approved, 1);
    }

    #[test]
    fn so_many_requests_wait_for_one_group_and_no_more() {
        let plan = |groups: &[&str]| -> ApprovalPlan {
            serde_json::from_value(serde_json::json!({"approve": 1, "groups": groups})).unwrap()
        };
        let id = |number: u8| -> IntentId { format!("int_{number:026}").parse().unwrap() };
        let times = (start(), at(60));
        let queue = ApprovalQueue::default();
        let queue = queue.with(&id(1), &plan(&["sre"]), times, LIMITS).unwrap();
        let queue = queue.with(&id(2), &plan(&["sre", "dev"]), times, LIMITS).unwrap();
        let full = queue.clone().with(&id(3), &plan(&["sre"]), times, LIMITS).unwrap_err();
        assert_eq!(full.code(), DenialCode::ApproverQueueFull);
        // Another group has room, and so has this one as soon as one is decided or its clock has run out.
        assert!(queue.clone().with(&id(3), &plan(&["dev"]), times, LIMITS).is_ok());
        assert!(queue.clone().without(&id(1)).with(&id(3), &plan(&["sre"]), times, LIMITS).is_ok());
        assert!(queue.with(&id(3), &plan(&["sre"]), (at(60), at(120)), LIMITS).is_ok());
    }
}
