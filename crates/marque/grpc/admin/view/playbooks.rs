//! Playbooks as they are shown.

use serde::Serialize;
use serde_json::Value;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::fields::{json, seconds};

/// A playbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlaybookView {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// The digest of the document.
    pub digest: String,
    /// What it does, in one line.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// draft, active, deprecated or disabled.
    pub status: String,
    /// Who may ask, as patterns.
    pub agents: Vec<String>,
    /// What it is for; empty when not said.
    pub purpose: String,
    /// The JSON Schema of the parameters.
    pub parameters: Value,
    /// auto, rule or always.
    pub approval_mode: String,
    /// How many approvals it needs when a person has to approve.
    pub approvals: u32,
    /// Whose approvals count; any operator's when empty.
    pub approver_groups: Vec<String>,
    /// How many tokens one intent gives.
    pub uses: u32,
    /// How long a token lives at most, in seconds.
    pub token_lifetime_s: Option<u64>,
    /// When its owner has to review it.
    pub review_by: String,
    /// What a ticket looks like; empty when it takes none.
    pub ticket_pattern: String,
    /// Whether a ticket is needed.
    pub ticket_required: bool,
}

impl TryFrom<proto::Playbook> for PlaybookView {
    type Error = CallError;

    fn try_from(message: proto::Playbook) -> Result<Self, CallError> {
        let proto::Playbook {
            id,
            version,
            digest,
            title,
            owner,
            status,
            agents,
            purpose,
            parameters_schema_json,
            approval_mode,
            approvals,
            approver_groups,
            uses,
            token_lifetime,
            review_by,
            ticket_pattern,
            ticket_required,
        } = message;
        Ok(Self {
            id,
            version,
            digest,
            title,
            owner,
            status,
            agents,
            purpose,
            parameters: json("parameters_schema_json", &parameters_schema_json)?,
            approval_mode,
            approvals,
            approver_groups,
            uses,
            token_lifetime_s: seconds(token_lifetime),
            review_by,
            ticket_pattern,
            ticket_required,
        })
    }
}
