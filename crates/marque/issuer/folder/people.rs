//! No agent is a person with a whole role (M 11): neither by one playbook, nor by all together that one identity may ask for.
//!
//! Absent: what playbooks permit beside scopes, which roles do not list.

use std::collections::BTreeSet;

use marque_intent::{Playbook, PlaybookSet, PlaybookStatus, Scope};
use marque_registry::{Entry, EntrySource, Finding, FindingCode, HumanRole, TrustDomainFolder};

/// Playbooks, and entries with their playbooks, that permit all that a role of people does.
pub(super) fn as_much(folder: &TrustDomainFolder, playbooks: &PlaybookSet) -> Vec<Finding> {
    let roles = folder.document.playbooks().human_roles();
    if roles.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for playbook in playbooks.iter() {
        let scopes = scopes(playbook);
        for role in roles.iter().filter(|role| is_all_of(&scopes, role)) {
            let file = folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
            let message = format!(
                "permits everything that the human role `{}` does; split it into narrower playbooks",
                role.name()
            );
            findings.push(Finding::about(&file, message).coded(FindingCode::PlaybookHumanRole));
        }
    }
    let together = folder.entries.iter().flat_map(|entry| together(entry, playbooks, roles));
    findings.extend(together);
    findings
}

/// Roles of which an identity may have everything by several playbooks, and by none of them alone.
fn together(entry: &Entry, playbooks: &PlaybookSet, roles: &[HumanRole]) -> Vec<Finding> {
    let EntrySource::File { path, line } = entry.source() else { return Vec::new() };
    let usable = |playbook: &Playbook| {
        matches!(playbook.status(), PlaybookStatus::Active | PlaybookStatus::Deprecated)
    };
    let open = playbooks.iter().filter(|playbook| {
        usable(playbook) && playbook.agents().iter().any(|one| one.matches(entry.spiffe_id()))
    });
    let open: Vec<(&str, BTreeSet<&str>)> =
        open.map(|playbook| (playbook.id().as_str(), scopes(playbook))).collect();
    let all: BTreeSet<&str> = open.iter().flat_map(|(_, scopes)| scopes).copied().collect();
    let by_one = |role: &HumanRole| open.iter().any(|(_, scopes)| is_all_of(scopes, role));
    let found = roles.iter().filter(|role| is_all_of(&all, role) && !by_one(role));
    let told = found.map(|role| {
        let gives =
            |scopes: &BTreeSet<&str>| role.scopes().iter().any(|one| scopes.contains(one.as_str()));
        let giving = open.iter().filter(|(_, scopes)| gives(scopes));
        let giving: Vec<String> = giving.map(|(id, _)| format!("`{id}`")).collect();
        let message = format!(
            "entry `{}` may ask for everything that the human role `{}` does, by the playbooks {}",
            entry.id(),
            role.name(),
            giving.join(" and ")
        );
        Finding::at(path, *line, message).coded(FindingCode::EntryHumanRole)
    });
    told.collect()
}

fn scopes(playbook: &Playbook) -> BTreeSet<&str> {
    playbook.scopes().iter().map(Scope::as_str).collect()
}

fn is_all_of(scopes: &BTreeSet<&str>, role: &HumanRole) -> bool {
    role.scopes().iter().all(|scope| scopes.contains(scope.as_str()))
}
