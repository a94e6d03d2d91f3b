//! What an agent may do, held against what a person with the same job may (M 133).

use marque_intent::{HumanJob, Playbook};
use serde_json::json;

use super::{Finding, Sources, Which};

/// Playbooks that permit more than the role of the person whose job they do, with the grants that did.
pub(super) fn over_grant(sources: &Sources<'_>) -> Vec<Finding> {
    let roles = sources.playbooks.roles().iter();
    roles
        .flat_map(|role| {
            role.playbooks().iter().filter_map(|id| {
                let playbook = sources.playbooks.find(id)?;
                let more = role.lacks(playbook);
                (!more.is_empty()).then(|| finding(sources, role, playbook, &more))
            })
        })
        .collect()
}

fn finding(
    sources: &Sources<'_>,
    role: &HumanJob,
    playbook: &Playbook,
    more: &[String],
) -> Finding {
    let id = playbook.id().to_string();
    let grants = sources.ledger.intents();
    let grants = grants.filter(|told| told.playbook == id && told.approved.is_some()).count();
    let all = playbook.permissions().len().max(1);
    let told = format!("an agent may do what a {} may not: {}", role.name(), more.join(", "));
    Finding::new(Which::OverGrant, id, told)
        .owned_by(playbook.owner())
        .fact("role", role.name())
        .fact("excess_percent", 100 * more.len() / all)
        .fact("more", json!(more))
        .fact("grants", grants)
}
