//! Whether what playbooks say of tickets and calendars is there: a control that names nothing would hold nobody.

use marque_intent::{CalendarSet, Playbook, PlaybookSet, TicketCondition};
use marque_registry::{Finding, FindingCode, TrustDomainFolder};

/// Calendars and ticket systems that a playbook names and that the folder does not have, and what such a system cannot tell.
pub(super) fn unknown(
    folder: &TrustDomainFolder,
    playbooks: &PlaybookSet,
    calendars: &CalendarSet,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for playbook in playbooks.iter() {
        let missing = playbook.blackouts().iter().filter(|name| calendars.find(name).is_none());
        for name in missing {
            let message = format!(
                "`time.blackout`: there is no calendar `{name}`: no `calendars/{name}.toml`"
            );
            findings.push(of(folder, playbook, message));
        }
        let Some(condition) = playbook.ticket_condition() else { continue };
        let messages = untold(folder, condition);
        findings.extend(messages.into_iter().map(|message| of(folder, playbook, message)));
    }
    findings
}

/// What a ticket system does not tell of what a playbook wants to know.
fn untold(folder: &TrustDomainFolder, condition: &TicketCondition) -> Vec<String> {
    let name = &condition.system;
    let mut systems = folder.document.ticket_systems().iter();
    let Some(system) = systems.find(|system| system.name() == name.as_str()) else {
        return vec![format!(
            "`change.ticket.validator`: there is no [[ticket_systems]] with the name `{name}`"
        )];
    };
    let mut messages = Vec::new();
    let unread = condition.bind.iter().filter(|field| !system.fields().contains_key(*field));
    for field in unread {
        messages.push(format!(
            "`change.ticket.bind`: `{name}` has no `{field}` in its [ticket_systems.fields]"
        ));
    }
    if let Some(states) = system.states() {
        let never = |state: &&String| !states.values().any(|known| known == *state);
        for state in condition.states.iter().filter(never) {
            messages.push(format!(
                "`change.ticket.states`: `{name}` never says `{state}` by its [ticket_systems.states]"
            ));
        }
    }
    for state in condition.states.iter().filter(|state| system.closed().contains(*state)) {
        messages.push(format!("`change.ticket.states`: `{state}` is an end by `{name}`"));
    }
    if condition.revoke_on_close && system.closed().is_empty() {
        messages.push(format!(
            "`change.ticket.revoke_on_close`: `{name}` says of no state that it is an end"
        ));
    }
    messages
}

fn of(folder: &TrustDomainFolder, playbook: &Playbook, message: String) -> Finding {
    let file = folder.path.join("playbooks").join(format!("{}.toml", playbook.id()));
    Finding::about(&file, message).coded(FindingCode::ReferenceUnknown)
}
