//! What nobody answers for, and what is past the day on which somebody should have looked at it (M 27, M 73).

use std::collections::BTreeSet;

use marque_intent::{ExceptionStanding, OPERATORS};

use super::{Finding, Sources, Which};

/// Playbooks, entries and agents whose owner is nobody or a group that does not exist.
pub(super) fn unowned(sources: &Sources<'_>) -> Vec<Finding> {
    let operators = sources.document.operators().iter();
    let groups: BTreeSet<&str> = operators
        .flat_map(|operator| operator.groups().iter().map(String::as_str))
        .chain([OPERATORS])
        .collect();
    let wrong = |owner: &str| match owner.split_once(':') {
        Some(("group", name)) if groups.contains(name) => None,
        Some(("group", name)) => Some(format!("the group `{name}` has nobody in it")),
        Some((_, name)) if !name.trim().is_empty() => None,
        _ => Some("nobody answers for it".to_owned()),
    };
    let playbooks = sources.playbooks.iter().filter_map(|playbook| {
        let told = wrong(playbook.owner())?;
        let subject = format!("playbook {}", playbook.id());
        Some(Finding::new(Which::Unowned, subject, told).owned_by(playbook.owner()))
    });
    let entries = sources.registry.entries().iter().filter_map(|entry| {
        let told = wrong(entry.owner())?;
        let subject = format!("entry {} of {}", entry.id(), entry.spiffe_id());
        Some(Finding::new(Which::Unowned, subject, told).owned_by(entry.owner()))
    });
    let registered = |agent: &str| {
        agent.parse().is_ok_and(|id| sources.registry.entry_by_spiffe_id(&id).is_some())
    };
    let gone: BTreeSet<&str> = sources
        .ledger
        .intents()
        .filter(|told| told.approved.is_some() && told.ended.is_none())
        .map(|told| told.agent.as_str())
        .filter(|agent| !registered(agent))
        .collect();
    let agents = gone.into_iter().map(|agent| {
        let told = "it has a grant in force and no registration entry, so nobody answers for it";
        Finding::new(Which::Unowned, format!("agent {agent}"), told)
    });
    playbooks.chain(entries).chain(agents).collect()
}

/// Playbooks past their review, and exceptions that are past theirs or have ended and are still there.
pub(super) fn past_review(sources: &Sources<'_>) -> Vec<Finding> {
    let today = sources.now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let exceptions = sources.playbooks.exceptions().filter_map(|exception| {
        let told = match exception.standing(sources.now) {
            ExceptionStanding::NotBegun | ExceptionStanding::Live => return None,
            ExceptionStanding::ReviewOverdue => {
                format!("its review was due on {}", exception.review_by())
            }
            ExceptionStanding::Ended => {
                format!("it ended at {} and is still in the folder", exception.expires_at())
            }
        };
        let subject = format!("exception {}", exception.id());
        Some(Finding::new(Which::Exceptions, subject, told).owned_by(exception.owner()))
    });
    let playbooks = sources
        .playbooks
        .iter()
        .filter(|playbook| playbook.status().is_requestable() && playbook.review_by() < today)
        .map(|playbook| {
            let told = format!("its review was due on {}", playbook.review_by());
            Finding::new(Which::Exceptions, format!("playbook {}", playbook.id()), told)
                .owned_by(playbook.owner())
                .fact("review_by", playbook.review_by().to_string())
        });
    playbooks.chain(exceptions).collect()
}
