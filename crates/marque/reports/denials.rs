//! Whether refusals are any good (M 129): repaired within an hour, or got round by breaking the glass.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::ledger::{Ledger, Refused};
use super::{Finding, Sources, Which};

/// How long after a refusal what follows it counts as its sequel.
const SEQUEL: Duration = Duration::from_secs(60 * 60);

/// What followed a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Followed {
    /// The same agent got the same playbook within the hour.
    Fixed,
    /// The same agent asked for an emergency playbook within the hour.
    BrokenGlass,
    /// Neither.
    Nothing,
}

impl Followed {
    /// What followed this refusal in the ledger.
    pub(crate) fn of(refused: &Refused, ledger: &Ledger) -> Self {
        let within = |at: Timestamp| {
            at >= refused.at && at.duration_since(refused.at).unsigned_abs() <= SEQUEL
        };
        let mut followed = Self::Nothing;
        for told in ledger.intents().filter(|told| told.agent == refused.agent) {
            if told.break_glass.is_some() && told.requested.is_some_and(within) {
                if told.code.is_none() {
                    return Self::BrokenGlass;
                }
            } else if told.playbook == refused.playbook && told.approved.is_some_and(within) {
                followed = Self::Fixed;
            }
        }
        followed
    }
}

#[derive(Default)]
struct Counted {
    all: u64,
    fixed: u64,
    broken_glass: u64,
}

/// By playbook and code, what became of refusals.
pub(super) fn quality(sources: &Sources<'_>) -> Vec<Finding> {
    let mut counted: BTreeMap<(&str, &str), Counted> = BTreeMap::new();
    for refused in sources.ledger.refusals() {
        let count = counted.entry((&refused.playbook, &refused.code)).or_default();
        count.all += 1;
        match Followed::of(refused, sources.ledger) {
            Followed::Fixed => count.fixed += 1,
            Followed::BrokenGlass => count.broken_glass += 1,
            Followed::Nothing => {}
        }
    }
    let mut findings: Vec<Finding> = counted
        .into_iter()
        .map(|((playbook, code), Counted { all, fixed, broken_glass })| {
            let told = format!(
                "{code}: {all} refused, {fixed} repaired within an hour, {broken_glass} followed by a broken glass"
            );
            let finding = Finding::new(Which::Denials, playbook, told)
                .owned_by(sources.owner_of(playbook))
                .fact("code", code)
                .fact("denied", all)
                .fact("fixed_within_1h", fixed)
                .fact("then_break_glass", broken_glass);
            // Refusals that people get round are the ones to look at.
            if broken_glass == 0 { finding.figure() } else { finding }
        })
        .collect();
    findings.sort_by_key(|finding| {
        let fact = |name| finding.facts.get(name).and_then(serde_json::Value::as_u64);
        std::cmp::Reverse((fact("then_break_glass"), fact("denied")))
    });
    findings
}
