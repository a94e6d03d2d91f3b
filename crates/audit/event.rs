//! What happened, in the words of the log: one [`Event`] per grant, use, denial, revocation, kill and entry.
//!
//! An event carries identifiers, digests and decisions. It never carries a token, a key, a prompt or any other
//! secret: `token_id` is the `jti`, not the token.

mod kind;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::kind::{EventKind, UnknownEventKind};
use crate::correlation::{Correlation, RequestId, TraceId};
use crate::measured::{Monotonic, PrevCheckpoint};

/// The playbook that an event is about, pinned by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaybookPin {
    /// The playbook's id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its canonical document.
    pub digest: String,
}

/// What policy said, and which policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyPin {
    /// SHA-256 of the policy set that decided.
    pub digest: String,
    /// The ids of the determining policies.
    pub rules: Vec<String>,
}

/// One thing that happened. What an event does not say is left out of the log, not written as null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When it happened, by the clock of the room that saw it.
    pub time: Timestamp,
    /// The agent whose request, grant or identity it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<SpiffeId>,
    /// The intent's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The playbook, pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<PlaybookPin>,
    /// The grant's digest (specs/intents.md 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_digest: Option<String>,
    /// The change ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The state of the change ticket by its system's word, when the grant was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_state: Option<String>,
    /// The tenant's label: the grant's, otherwise the trust domain's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The approver or operator who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The audiences of the grant or token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// The stable code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The class of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The `jti` of the token; never the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// When the thing recorded ends: an issued token; an approved intent's grant, which no token of it outlives; in any
    /// other state the clock that runs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Uses left after this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// The kill switch's epoch at this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What policy said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyPin>,
    /// The request that it came of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The trace that the request belongs to: by the caller's word, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// How long the request had taken when the log took this, in whole microseconds by a clock that nobody sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// When the log took it, by the clock of its host that nobody sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic: Option<Monotonic>,
    /// The newest checkpoint that was kept when the log took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_checkpoint: Option<PrevCheckpoint>,
    /// What else operators need: no secrets, no free text of agents beyond what the room bounded.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

impl Event {
    /// An event that says only what happened and when; the `with_…` methods add the rest.
    #[must_use]
    pub fn new(kind: EventKind, time: Timestamp) -> Self {
        Self {
            kind,
            time,
            agent: None,
            intent: None,
            playbook: None,
            grant_digest: None,
            ticket: None,
            ticket_state: None,
            tenant: None,
            actor: None,
            audience: Vec::new(),
            code: None,
            class: None,
            token_id: None,
            expires_at: None,
            uses_left: None,
            epoch: None,
            policy: None,
            request_id: None,
            trace_id: None,
            latency_us: None,
            monotonic: None,
            prev_checkpoint: None,
            detail: Map::new(),
        }
    }

    /// Names the request that it came of, unless one is named already.
    #[must_use]
    pub fn of_request(mut self, correlation: &Correlation) -> Self {
        if self.request_id.is_none() && self.trace_id.is_none() {
            self.request_id = Some(correlation.request);
            self.trace_id = Some(correlation.trace);
        }
        self
    }

    /// Names the agent.
    #[must_use]
    pub fn with_agent(mut self, agent: SpiffeId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Names the intent.
    #[must_use]
    pub fn with_intent(mut self, intent: impl Into<String>) -> Self {
        self.intent = Some(intent.into());
        self
    }

    /// Pins the playbook.
    #[must_use]
    pub fn with_playbook(mut self, playbook: PlaybookPin) -> Self {
        self.playbook = Some(playbook);
        self
    }

    /// Pins the grant.
    #[must_use]
    pub fn with_grant_digest(mut self, digest: impl Into<String>) -> Self {
        self.grant_digest = Some(digest.into());
        self
    }

    /// Names the change ticket.
    #[must_use]
    pub fn with_ticket(mut self, ticket: impl Into<String>) -> Self {
        self.ticket = Some(ticket.into());
        self
    }

    /// Says in which state the change ticket was.
    #[must_use]
    pub fn with_ticket_state(mut self, state: impl Into<String>) -> Self {
        self.ticket_state = Some(state.into());
        self
    }

    /// Names the tenant, unless one is named already.
    #[must_use]
    pub fn of_tenant(mut self, tenant: impl Into<String>) -> Self {
        if self.tenant.is_none() {
            self.tenant = Some(tenant.into());
        }
        self
    }

    /// Names the approver or operator.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Names the audiences.
    #[must_use]
    pub fn with_audience(mut self, audience: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.audience = audience.into_iter().map(Into::into).collect();
        self
    }

    /// Gives the code and class of a refusal.
    #[must_use]
    pub fn with_denial(mut self, code: impl Into<String>, class: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self.class = Some(class.into());
        self
    }

    /// Names the token by its `jti`.
    #[must_use]
    pub fn with_token_id(mut self, token_id: impl Into<String>) -> Self {
        self.token_id = Some(token_id.into());
        self
    }

    /// Says when the token or grant ends, or the clock that runs in the intent's state.
    #[must_use]
    pub fn with_expires_at(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Says how many uses are left.
    #[must_use]
    pub fn with_uses_left(mut self, uses_left: u32) -> Self {
        self.uses_left = Some(uses_left);
        self
    }

    /// Gives the kill switch's epoch.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Says what policy said.
    #[must_use]
    pub fn with_policy(mut self, policy: PolicyPin) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Adds one member to the detail.
    #[must_use]
    pub fn with_detail(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.detail.insert(name.into(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_its_own_name_and_serde_agrees() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse::<EventKind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), Value::from(kind.as_str()));
        }
        assert!("org.marque.unheard".parse::<EventKind>().is_err());
    }

    #[test]
    fn what_an_event_does_not_say_is_left_out() {
        let event = Event::new(EventKind::Kill, Timestamp::UNIX_EPOCH);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 2);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
