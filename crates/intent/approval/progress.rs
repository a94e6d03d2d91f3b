//! How far a grant has come in its plan.

use super::{Approval, ApprovalPlan, Decider, Objection};

impl ApprovalPlan {
    /// The first level that these approvals do not satisfy, from 0; `None` if they satisfy all.
    #[must_use]
    pub fn open_level(&self, approvals: &[Approval]) -> Option<usize> {
        self.levels().iter().enumerate().map(|(level, _)| level).find(|level| {
            let given = of_level(approvals, *level);
            !self.levels().get(*level).is_some_and(|level| {
                level.any.iter().any(|rule| rule.counted(&given) >= rule.approve.get())
            })
        })
    }

    /// How many more approvals it takes at least.
    #[must_use]
    pub fn missing(&self, approvals: &[Approval]) -> u32 {
        let Some(open) = self.open_level(approvals) else { return 0 };
        let given = of_level(approvals, open);
        let here = self.levels().get(open).and_then(|level| {
            let left = level
                .any
                .iter()
                .map(|rule| rule.approve.get().saturating_sub(rule.counted(&given)));
            left.min()
        });
        let later = self.levels().iter().skip(open + 1).map(super::ApprovalLevel::least);
        later.fold(here.unwrap_or(u32::MAX), u32::saturating_add)
    }

    /// Whether so many refused that it is final.
    #[must_use]
    pub fn is_refused(&self, objections: &[Objection]) -> bool {
        let who: Vec<&Decider> = objections.iter().map(|one| &one.decider).collect();
        self.rules().any(|rule| {
            let count = who.iter().filter(|decider| rule.admits(decider)).count();
            u32::try_from(count).unwrap_or(u32::MAX) >= rule.deny.get()
        })
    }
}

fn of_level(approvals: &[Approval], level: usize) -> Vec<Decider> {
    approvals.iter().filter(|approval| approval.level() == level).map(Approval::decider).collect()
}
