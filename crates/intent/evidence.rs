//! What was found out about a request beside what it says (specs/intents.md 3): policy sees it, the grant pins it, and
//! approvers are shown it.
//!
//! Nothing here is text of the agent's. Absent: how it is found out, which is the edge's work before a request is
//! resolved.

mod history;
mod inputs;
mod posture;
mod risk;
mod standing;
mod ticket;
mod window;

use serde::{Deserialize, Serialize};

pub use self::history::History;
pub use self::posture::{Posture, PostureError, PostureScope, PostureSignal, PostureState};
pub use self::risk::{
    MAX_RISK, RiskAssessment, RiskFactor, RiskInputs, RiskName, RiskRules, UnknownRiskName,
    WorkingDay, WorkingDayError, WorkingHours,
};
pub use self::standing::{
    AgentStanding, Category, CategoryError, Confidence, ConfidenceError, Demands,
};
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
    /// What is known of the agent.
    #[serde(default, skip_serializing_if = "AgentStanding::is_empty")]
    pub standing: AgentStanding,
    /// Whether nothing was approved before for what the agent attests as now; only looked at where it weighs something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_build: bool,
    /// How alert somebody is about the agent, the playbook or the trust domain.
    #[serde(default, skip_serializing_if = "Posture::is_normal")]
    pub posture: Posture,
    /// How sure the agent says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// The business justification, as a category of the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// What the request is about, by the playbook's `object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl Evidence {
    /// Whether nothing was found out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
