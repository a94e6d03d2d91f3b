//! `[change]`: what a playbook wants of change tickets.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::playbook::report::{MAX_ITEMS, Report, check_text};
use crate::playbook::{LinearPattern, Parameters};
use crate::ticket::{TicketCondition, TicketSystemName};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeSection {
    pub(crate) ticket: TicketSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketSection {
    pub(crate) required: bool,
    pub(crate) pattern: String,
    /// The ticket system that is asked; without one, the pattern is all that is looked at.
    pub(crate) validator: Option<String>,
    #[serde(default)]
    pub(crate) states: Vec<String>,
    #[serde(default)]
    pub(crate) bind: Vec<String>,
    #[serde(default)]
    pub(crate) revoke_on_close: bool,
}

/// What a playbook wants of change tickets.
#[derive(Debug, Clone)]
pub(crate) struct TicketDemand {
    pub(crate) required: bool,
    pub(crate) pattern: LinearPattern,
    pub(crate) condition: Option<TicketCondition>,
}

pub(crate) fn read(
    section: ChangeSection,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> Option<TicketDemand> {
    let TicketSection { required, pattern, validator, states, bind, revoke_on_close } =
        section.ticket;
    let pattern = report.keep("change.ticket.pattern", LinearPattern::parse(&pattern));
    let Some(validator) = validator else {
        let idle = [
            ("states", states.is_empty()),
            ("bind", bind.is_empty()),
            ("revoke_on_close", !revoke_on_close),
        ];
        for (name, absent) in idle {
            let message = "is for a `validator`: without one nobody asks a ticket system";
            report.require(absent, &format!("change.ticket.{name}"), message);
        }
        return Some(TicketDemand { required, pattern: pattern?, condition: None });
    };
    let system: Option<TicketSystemName> = report.parse("change.ticket.validator", &validator);
    let path = "change.ticket.states";
    report.require(!states.is_empty(), path, "names at least one state in which a ticket will do");
    for state in &states {
        check_text(report, path, state);
    }
    for name in &bind {
        let declared = parameters.is_none_or(|parameters| parameters.declares(name));
        report.require(declared, "change.ticket.bind", format!("there is no parameter `{name}`"));
    }
    for (name, count) in [("states", states.len()), ("bind", bind.len())] {
        let message = format!("has at most {MAX_ITEMS} entries");
        report.require(count <= MAX_ITEMS, &format!("change.ticket.{name}"), message);
    }
    let condition = TicketCondition {
        system: system?,
        states: states.into_iter().collect(),
        bind: bind.into_iter().collect::<BTreeSet<_>>(),
        revoke_on_close,
    };
    Some(TicketDemand { required, pattern: pattern?, condition: Some(condition) })
}
