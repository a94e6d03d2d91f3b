//! `[change]`: what a playbook wants of change tickets.

use serde::Deserialize;

use crate::playbook::LinearPattern;
use crate::playbook::report::Report;

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &[
    "change.ticket.validator",
    "change.ticket.states",
    "change.ticket.bind",
    "change.ticket.revoke_on_close",
];

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
}

/// What a playbook wants of change tickets.
#[derive(Debug, Clone)]
pub(crate) struct TicketDemand {
    pub(crate) required: bool,
    pub(crate) pattern: LinearPattern,
}

pub(crate) fn read(section: ChangeSection, report: &mut Report<'_>) -> Option<TicketDemand> {
    let ChangeSection { ticket: TicketSection { required, pattern } } = section;
    let pattern = report.keep("change.ticket.pattern", LinearPattern::parse(&pattern))?;
    Some(TicketDemand { required, pattern })
}
