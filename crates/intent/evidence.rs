//! What was found out about a request beside what it says (specs/intents.md 3): policy sees it, the grant pins it, and
//! approvers are shown it.
//!
//! Nothing here is text of the agent's. Absent: how it is found out, which is the edge's work before a request is
//! resolved.

mod history;
mod risk;
mod ticket;
mod window;

use serde::{Deserialize, Serialize};

pub use self::history::History;
pub use self::risk::{RiskAssessment, RiskFactor};
pub use self::ticket::TicketEvidence;
pub use self::window::WindowEvidence;

/// Everything that was found out about one request. What nobody looked for is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What the ticket system says of the change ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketEvidence>,
    /// Where the request stands in change windows and blackouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowEvidence>,
    /// Why the risk score is what it is.
    #[serde(default, skip_serializing_if = "RiskAssessment::is_empty")]
    pub risk: RiskAssessment,
    /// What came before.
    #[serde(default, skip_serializing_if = "History::is_empty")]
    pub history: History,
}

impl Evidence {
    /// Whether nothing was found out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
