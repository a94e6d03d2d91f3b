//! `[concurrency]`: how many grants of the playbook may be open at once.

use serde::Deserialize;

use crate::open::Caps;
use crate::playbook::report::Report;

/// More at once is no bound on what one agent holds.
const MAX_OPEN: u32 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConcurrencySection {
    pub(crate) max_open_per_agent: Option<u32>,
    pub(crate) max_open_per_delegator: Option<u32>,
    pub(crate) max_open_per_target: Option<u32>,
}

pub(crate) fn read(section: Option<&ConcurrencySection>, report: &mut Report<'_>) -> Caps {
    let Some(section) = section else { return Caps::default() };
    let ConcurrencySection { max_open_per_agent, max_open_per_delegator, max_open_per_target } =
        section;
    let caps = Caps {
        per_agent: *max_open_per_agent,
        per_delegator: *max_open_per_delegator,
        per_target: *max_open_per_target,
    };
    report.require(caps != Caps::default(), "concurrency", "caps nothing; leave it out");
    for (name, cap) in [
        ("max_open_per_agent", caps.per_agent),
        ("max_open_per_delegator", caps.per_delegator),
        ("max_open_per_target", caps.per_target),
    ] {
        let fits = cap.is_none_or(|cap| (1..=MAX_OPEN).contains(&cap));
        report.require(fits, &format!("concurrency.{name}"), format!("is 1 to {MAX_OPEN}"));
    }
    caps
}
