//! Standing privilege in disguise: grants that are renewed again and again, and playbooks that are nearly always in force
//! (M 73).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Finding, Sources, Told, Which};

/// More renewals than this in a period are too many.
const TOO_OFTEN: usize = 5;
/// A playbook that is in force for more than so many hundredths of the period is as good as permanent.
const NEARLY_ALWAYS: u64 = 50;
/// A share of less time than this says nothing.
const LEAST_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The same agent, playbook and parameters, approved more than [`TOO_OFTEN`] times.
pub(super) fn renewed(sources: &Sources<'_>) -> Vec<Finding> {
    let mut same: BTreeMap<(&str, &str, &str), Vec<&Told>> = BTreeMap::new();
    for told in sources.ledger.intents().filter(|told| told.approved.is_some()) {
        same.entry((&told.agent, &told.playbook, &told.parameters)).or_default().push(told);
    }
    let mut findings: Vec<Finding> = same
        .into_iter()
        .filter(|(_, all)| all.len() > TOO_OFTEN)
        .map(|((agent, playbook, parameters), all)| {
            let told = format!(
                "{agent} had {playbook} with the same parameters {} times: work that goes on needs a playbook of its own, \
                 or none",
                all.len()
            );
            Finding::new(Which::Renewed, playbook, told)
                .owned_by(sources.owner_of(playbook))
                .fact("agent", agent)
                .fact("parameters", parameters)
                .fact("times", all.len())
                .fact("last", all.last().map(|told| told.id.clone()).unwrap_or_default())
        })
        .collect();
    findings.sort_by_key(|finding| {
        std::cmp::Reverse(finding.facts.get("times").and_then(serde_json::Value::as_u64))
    });
    findings
}

/// Playbooks of which some grant was in force for most of the time since the first of them.
pub(super) fn near_permanent(sources: &Sources<'_>) -> Vec<Finding> {
    let mut by_playbook: BTreeMap<&str, Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for told in sources.ledger.intents() {
        if let Some(times) = told.in_force(sources.now) {
            by_playbook.entry(&told.playbook).or_default().push(times);
        }
    }
    let (since, until) = sources.ledger.period();
    by_playbook
        .into_iter()
        .filter_map(|(playbook, mut times)| {
            times.sort();
            // What was not there yet could not be in force: the share is of the time since its first grant.
            let first = times.first().map_or(since, |(from, _)| (*from).max(since));
            let period = until.duration_since(first).unsigned_abs();
            let active = covered(&times);
            let share = active.as_secs().saturating_mul(100).checked_div(period.as_secs())?;
            (period >= LEAST_PERIOD && share > NEARLY_ALWAYS).then(|| {
                let told = format!(
                    "some grant of {playbook} was in force for {share} % of the time: that is standing privilege"
                );
                Finding::new(Which::NearPermanent, playbook, told)
                    .owned_by(sources.owner_of(playbook))
                    .fact("share_percent", share)
                    .fact("grants", times.len())
                    .fact("active_s", active.as_secs())
                    .fact("period_s", period.as_secs())
            })
        })
        .collect()
}

/// How long at least one of these was in force; they come by their beginning.
fn covered(times: &[(Timestamp, Timestamp)]) -> Duration {
    let mut total = Duration::ZERO;
    let mut reached = Timestamp::MIN;
    for (from, to) in times {
        let from = (*from).max(reached);
        if *to > from {
            total += to.duration_since(from).unsigned_abs();
            reached = *to;
        }
    }
    total
}
