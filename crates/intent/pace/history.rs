//! What came before a request, for policy and approvers to see.

use std::time::Duration;

use jiff::Timestamp;

use super::rows::{DAY, HISTORY};
use super::{Asked, PaceKey, PaceRows, says_the_same};
use crate::evidence::History;
use crate::lifecycle::plus;

impl History {
    /// What the rows under [`Asked::keys`] say, with counts that the store has: of the agent's refusals in 30 days, and of its
    /// open grants.
    #[must_use]
    pub fn of(asked: &Asked, rows: &PaceRows, counts: &Self, now: Timestamp) -> Self {
        let mut history = counts.clone();
        let Some(resolved) = &asked.resolved else { return history };
        let since = |instants: &[Timestamp], length: Duration| {
            let recent = instants.iter().filter(|at| now < plus(**at, length)).count();
            u32::try_from(recent).unwrap_or(u32::MAX)
        };
        let request = rows.request(&PaceKey::Request(resolved.request));
        history.same_request = since(&request.asked, HISTORY);
        let targets = resolved.targets.iter().map(|key| rows.target(&PaceKey::Target(*key)));
        history.same_target =
            targets.map(|target| since(&target.asked, HISTORY)).max().unwrap_or_default();
        let mut all = resolved.within.iter().map(|key| rows.target(&PaceKey::Target(*key)));
        history.target_denied =
            all.any(|target| target.denied.is_some_and(|denied| now < plus(denied.at, DAY)));
        let standing = rows.standing(&asked.family);
        history.justification_repeated = resolved.justification.as_ref().is_some_and(|mine| {
            standing.said.iter().any(|said| {
                said.request != resolved.request
                    && now < plus(said.at, DAY)
                    && says_the_same(said.justification.as_str(), mine.as_str())
            })
        });
        history
    }
}
