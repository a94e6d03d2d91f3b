//! What an agent learns about a playbook that it may ask for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApprovalMode, PhaseName, Playbook, PlaybookId, PlaybookStatus, WorkflowLabel};
use crate::delegators::Delegators;
use crate::digest::Digest;
use crate::evidence::{Category, Confidence};

/// What an agent learns about a playbook that it may ask for: how to ask, not what it would get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaybookSummary {
    /// The id.
    pub id: PlaybookId,
    /// The version.
    pub version: u64,
    /// The digest of the document.
    pub digest: Digest,
    /// The title.
    pub title: String,
    /// Whether it is in use.
    pub status: PlaybookStatus,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The JSON Schema of its parameters.
    pub parameters: Value,
    /// Whether it takes a change ticket; absent if it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketSummary>,
    /// How it is approved.
    pub approval: ApprovalMode,
    /// On whose behalf its grants may be used; absent if on nobody's but their own agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegators: Option<Delegators>,
    /// What a request has to say of the workflow.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub workflow: BTreeSet<WorkflowLabel>,
    /// The phases, of which a request names one; none where it is no staged task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseSummary>,
    /// What an agent should know before it relies on the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// One of these a request names as its `category`; empty if it names none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub categories: BTreeSet<Category>,
    /// The least `confidence` that a request states; absent if it need not state any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence_floor: Option<Confidence>,
    /// How many tokens one grant gives.
    pub uses: u32,
    /// How long one token lives at most, in seconds.
    pub token_lifetime_s: u64,
}

/// What a playbook wants of change tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketSummary {
    /// Whether a ticket must be named.
    pub required: bool,
    /// The pattern that its name fits.
    pub pattern: String,
}

/// One phase of a staged playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// The name.
    pub name: PhaseName,
    /// The phases that have to be completed with success before it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<PhaseName>,
}

impl Playbook {
    /// What an agent is told with each answer: that the playbook is about to go.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (self.status == PlaybookStatus::Deprecated)
            .then(|| format!("playbook `{}` is deprecated; its owner is `{}`", self.id, self.owner))
    }

    /// What an agent learns about a playbook that it may ask for.
    #[must_use]
    pub fn summary(&self) -> PlaybookSummary {
        PlaybookSummary {
            id: self.id.clone(),
            version: self.version.get(),
            digest: self.digest,
            title: self.title.clone(),
            status: self.status,
            purpose: self.purpose.clone(),
            parameters: self.parameters.schema().clone(),
            ticket: self.ticket.as_ref().map(|ticket| TicketSummary {
                required: ticket.required,
                pattern: ticket.pattern.as_str().to_owned(),
            }),
            approval: self.approval_mode,
            delegators: self.delegators.clone(),
            workflow: self.workflow.clone(),
            phases: self
                .phases()
                .map(|phase| PhaseSummary {
                    name: phase.name().clone(),
                    needs: phase.needs().clone(),
                })
                .collect(),
            warning: self.warning(),
            categories: self.demands.categories.clone(),
            confidence_floor: self.demands.confidence_floor,
            uses: self.time.uses,
            token_lifetime_s: self.time.token_lifetime().as_secs(),
        }
    }
}
