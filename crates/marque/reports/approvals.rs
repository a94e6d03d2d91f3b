//! How people decide: how fast, and how often they say yes. Whoever says yes to everything within seconds reads nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Finding, Sources, Which};

/// A median below this is a rubber stamp (specs/intents.md 11).
const RUBBER_STAMP: Duration = Duration::from_secs(3);
/// From so few decisions nothing is told.
const LEAST_DECISIONS: usize = 5;

/// One finding for each approver.
pub(super) fn decisions(sources: &Sources<'_>) -> Vec<Finding> {
    let mut by_person: BTreeMap<&str, (Vec<Duration>, usize)> = BTreeMap::new();
    for told in sources.ledger.intents() {
        let Some(requested) = told.requested else { continue };
        for (who, at, yes) in &told.decided {
            let (taken, approved) = by_person.entry(who).or_default();
            taken.push(at.duration_since(requested).unsigned_abs());
            *approved += usize::from(*yes);
        }
    }
    by_person
        .into_iter()
        .map(|(who, (mut taken, approved))| {
            taken.sort();
            let median = taken.get(taken.len() / 2).copied().unwrap_or_default();
            let rate = 100 * approved / taken.len().max(1);
            let stamp = taken.len() >= LEAST_DECISIONS && median < RUBBER_STAMP;
            let told = format!(
                "{} decisions, {rate} % of them yes, half of them within {}s{}",
                taken.len(),
                median.as_secs(),
                if stamp { ": nobody reads that fast" } else { "" }
            );
            let finding = Finding::new(Which::Approvals, who, told)
                .fact("decisions", taken.len())
                .fact("approve_rate_percent", rate)
                .fact("median_decision_s", median.as_secs());
            if stamp { finding } else { finding.figure() }
        })
        .collect()
}
