//! What a grant is bound to beside its clocks: each is there only if its playbook or its request says so.
//!
//! Part of the approval digest like everything that is enforced. Absent: looking whether they hold, which is each room's
//! own work at exchange and at use.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ends::EndingRules;
use crate::provisions::Provisions;
use crate::ticket::TicketCondition;
use crate::window::{CalendarName, Window};

/// The conditions of one grant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// What ends it early, or closes it late.
    #[serde(default, skip_serializing_if = "EndingRules::is_empty")]
    pub ends: EndingRules,
    /// Phase, exception and what the log must know.
    #[serde(default, skip_serializing_if = "Provisions::is_empty")]
    pub provisions: Provisions,
    /// It is used inside one of these; always if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// It is never used while one of these calendars forbids it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blackouts: BTreeSet<CalendarName>,
    /// What its ticket has to be when it is approved and used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketCondition>,
}

impl Conditions {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
