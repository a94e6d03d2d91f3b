//! The ticket and the window of a grant, as its approver has to see them: what was found, when, and what it is held to.

use jiff::Timestamp;
use marque_intent::{Evidence, TicketCondition, TicketEvidence, Window, WindowEvidence};

use super::super::output::visible;
use super::super::text::{length, lines, moment, moment_from, or_dash};
use crate::grpc::admin::GrantView;

/// A row for the ticket, and one for time where something is said of it.
pub(super) fn rows(grant: &GrantView, now: Timestamp) -> Vec<(&'static str, String)> {
    let GrantView { evidence: Evidence { ticket, window, .. }, conditions, .. } = grant;
    let mut rows = vec![("ticket", ticket_row(grant, ticket.as_ref(), now))];
    if let Some(condition) = &conditions.ticket {
        rows.push(("held to", held_to(condition)));
    }
    if let Some(window) = window {
        rows.push(("window", standing(window, now)));
    }
    if !conditions.windows.is_empty() {
        rows.push(("windows", lines(&conditions.windows.iter().map(rule).collect::<Vec<_>>())));
    }
    if !conditions.blackouts.is_empty() {
        let names: Vec<String> = conditions.blackouts.iter().map(ToString::to_string).collect();
        rows.push(("never during", lines(&names)));
    }
    rows
}

fn ticket_row(grant: &GrantView, found: Option<&TicketEvidence>, now: Timestamp) -> String {
    let Some(found) = found else {
        return match grant.ticket.as_str() {
            "" => or_dash(""),
            name => format!("{name}, which no ticket system was asked about"),
        };
    };
    let TicketEvidence {
        system, state, title, checked_at, bound, planned_from, planned_until, ..
    } = found;
    let asked = moment_from(Some(*checked_at), now);
    let mut told = vec![format!("{}: {} by {system}, {asked}", grant.ticket, visible(state))];
    if !title.is_empty() {
        told.push(visible(title));
    }
    told.extend(bound.iter().map(|(name, value)| visible(&format!("{name} = {value}, as here"))));
    if let Some((from, until)) = planned_from.zip(*planned_until) {
        told.push(format!("planned {} to {}", moment(Some(from)), moment(Some(until))));
    }
    lines(&told)
}

fn held_to(condition: &TicketCondition) -> String {
    let states: Vec<&str> = condition.states.iter().map(String::as_str).collect();
    let states = visible(&states.join(" or "));
    let end = if condition.revoke_on_close { "; revoked when it is closed" } else { "" };
    format!("the ticket being {states} at approval and at use{end}")
}

fn standing(window: &WindowEvidence, now: Timestamp) -> String {
    let WindowEvidence { open, until, opens_at, blackout } = window;
    let next = match opens_at {
        Some(opens_at) => format!("opens {}", moment_from(Some(*opens_at), now)),
        None => "no opening is known".to_owned(),
    };
    match (open, blackout, until) {
        (true, _, Some(until)) => format!("open until {}", moment_from(Some(*until), now)),
        (true, _, None) => "open".to_owned(),
        (false, Some(calendar), _) => format!("blackout `{}`; {next}", visible(calendar)),
        (false, None, _) => format!("closed; {next}"),
    }
}

fn rule(window: &Window) -> String {
    format!("{} in {}, for {}", window.rule(), window.zone(), length(window.length().as_secs()))
}
