//! The operators' view of a refusal: who asked for what, what failed, and what was wanted instead (M 112).

use jiff::Timestamp;
use marque_audit::Event;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use super::{Denial, DenialCode, DenialId};
use crate::id::IntentId;
use crate::lifecycle::{Intent, refused_request};
use crate::pace::Asked;
use crate::playbook::PlaybookId;
use crate::request::{IntentRequest, TicketRef};

/// A refusal of which no intent came, before it is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedRequest {
    /// What it will be found by.
    pub id: DenialId,
    /// Who asked, and what is counted of it.
    pub asked: Asked,
    /// What could be read of the request.
    pub request: Option<IntentRequest>,
    /// Why.
    pub denial: Denial,
    /// When.
    pub now: Timestamp,
}

impl RefusedRequest {
    /// The refusal as it goes on record.
    #[must_use]
    pub fn told(&self, told: Denial) -> Denial {
        told.recorded_as(self.id.clone())
    }

    /// What the log is told, where the agent is told `told`.
    #[must_use]
    pub fn event(&self, told: &Denial) -> Event {
        let event = refused_request(&self.asked.agent, self.request.as_ref(), told, self.now)
            .with_detail("request_id", self.id.as_str());
        match told.subject() {
            Some(intent) => event.with_detail("about", intent.as_str()),
            None => event,
        }
    }

    /// What is kept for operators, where the agent is told `told`.
    #[must_use]
    pub fn record(&self, told: &Denial) -> DenialRecord {
        let request = self.request.as_ref();
        DenialRecord {
            id: self.id.clone(),
            at: self.now,
            agent: self.asked.agent.clone(),
            playbook: request.map(|request| request.playbook().clone()),
            ticket: request.and_then(|request| request.ticket().cloned()),
            intent: None,
            denial: told.clone(),
        }
    }
}

/// A refusal on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenialRecord {
    /// What it is found by; the agent was told.
    pub id: DenialId,
    /// When.
    pub at: Timestamp,
    /// Who asked.
    pub agent: SpiffeId,
    /// For which playbook, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<PlaybookId>,
    /// For which change ticket, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketRef>,
    /// The intent that was refused, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// Why, with what operators may know.
    pub denial: Denial,
}

impl DenialRecord {
    /// The record of an intent that was refused with `denial`.
    #[must_use]
    pub fn of_intent(intent: &Intent, denial: &Denial, at: Timestamp) -> Self {
        Self {
            id: DenialId::of_intent(intent.id()),
            at,
            agent: intent.agent().clone(),
            playbook: Some(intent.grant().playbook.id.clone()),
            ticket: intent.grant().ticket.clone(),
            intent: Some(intent.id().clone()),
            denial: denial.clone(),
        }
    }
}

/// Which refusals to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenialFilter {
    /// Only of this agent.
    pub agent: Option<SpiffeId>,
    /// Only with this code.
    pub code: Option<DenialCode>,
    /// Only since then.
    pub since: Option<Timestamp>,
    /// At most so many; `None` and anything above are [`crate::MAX_LISTED`].
    pub limit: Option<usize>,
}

impl DenialFilter {
    /// How many to return at most.
    #[must_use]
    pub fn effective_limit(&self) -> usize {
        self.limit.unwrap_or(crate::MAX_LISTED).min(crate::MAX_LISTED)
    }
}
