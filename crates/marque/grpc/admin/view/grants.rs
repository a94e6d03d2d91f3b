//! What an intent permits, as it is shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use marque_intent::{
    ApprovalPlan, Conditions, Constraints, Delegators, Emergency, Evidence, Limits, OnBehalf,
    ParentIntent, ToolBounds, ToolId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;
use super::fields::{json, seconds};

/// What an approved intent permits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrantView {
    /// What an approval binds to.
    pub digest: String,
    /// The playbook.
    pub playbook: String,
    /// The playbook's version.
    pub playbook_version: u64,
    /// The digest of the playbook's document.
    pub playbook_digest: String,
    /// What the playbook does.
    pub title: String,
    /// What it is for.
    pub purpose: String,
    /// The parameters.
    pub parameters: Value,
    /// The change ticket.
    pub ticket: String,
    /// Who may be spoken to.
    pub audiences: Vec<String>,
    /// What may be done.
    pub scopes: Vec<String>,
    /// The RFC 9396 details.
    pub authorization_details: Value,
    /// What may be touched.
    pub resources: Vec<String>,
    /// How many tokens it gives.
    pub uses: u32,
    /// Whether each is used up by the first resource server that introspects it.
    pub single_use_tokens: bool,
    /// How long one token lives at most, in seconds.
    pub token_lifetime_s: Option<u64>,
    /// How long after its approval the first use may be, in seconds.
    pub start_within_s: Option<u64>,
    /// How long after the first use everything ends, in seconds.
    pub max_duration_s: Option<u64>,
    /// Not before.
    pub not_before: Option<Timestamp>,
    /// Not at or after.
    pub not_after: Option<Timestamp>,
    /// From 0 to 100.
    pub risk: u32,
    /// How many approvals it needs when a person has to approve.
    pub approvals: u32,
    /// Whose approvals count; any operator's when empty.
    pub approver_groups: Vec<String>,
    /// The tenant's label.
    pub tenant: String,
    /// Who answers for the playbook.
    pub playbook_owner: String,
    /// The classes of data that it touches.
    pub data_classes: Vec<String>,
    /// The tools that may be called, and how.
    pub tools: BTreeMap<ToolId, ToolBounds>,
    /// What resources are narrowed to.
    pub constraints: Constraints,
    /// The numbers that bound it in all.
    pub limits: Limits,
    /// Whether and to whom it may be handed on.
    pub on_behalf: Option<OnBehalf>,
    /// On whose behalf it may be used; on nobody's but its own agent's where there is no rule.
    pub delegators: Option<Delegators>,
    /// From which live intent of another agent it was asked for, and from which that one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentIntent>,
    /// What holds for it as a break-glass grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// What the agent calls its session: untrusted.
    pub session: String,
    /// What the agent calls its task: untrusted.
    pub task: String,
    /// How it reaches the agent.
    pub delivery: String,
    /// The digest of what the agent attested as; empty where that is not known.
    pub attestation: String,
    /// The digest of the policies that decided.
    pub policy_set_digest: String,
    /// What was found out about the request.
    pub evidence: Evidence,
    /// What it is bound to beside its clocks.
    pub conditions: Conditions,
    /// How a person approves it; absent where nobody can.
    #[serde(default)]
    pub approval: Option<ApprovalPlan>,
}

impl TryFrom<proto::Grant> for GrantView {
    type Error = CallError;

    fn try_from(message: proto::Grant) -> Result<Self, CallError> {
        let proto::Grant {
            digest,
            playbook_id,
            playbook_version,
            playbook_digest,
            title,
            parameters_json,
            ticket,
            audiences,
            scopes,
            authorization_details_json,
            resources,
            uses,
            token_lifetime,
            not_before,
            not_after,
            risk,
            approvals,
            approver_groups,
            purpose,
            start_within,
            max_duration,
            single_use_tokens,
            tenant,
            playbook_owner,
            data_classes,
            tools_json,
            constraints_json,
            limits_json,
            on_behalf_json,
            delegators_json,
            parent_json,
            emergency_json,
            session,
            task,
            delivery,
            attestation,
            policy_set_digest,
            evidence_json,
            conditions_json,
            approval_json,
        } = message;
        Ok(Self {
            digest,
            playbook: playbook_id,
            playbook_version,
            playbook_digest,
            title,
            purpose,
            parameters: json("parameters_json", &parameters_json)?,
            ticket,
            audiences,
            scopes,
            authorization_details: json("authorization_details_json", &authorization_details_json)?,
            resources,
            uses,
            single_use_tokens,
            token_lifetime_s: seconds(token_lifetime),
            start_within_s: seconds(start_within),
            max_duration_s: seconds(max_duration),
            not_before: not_before.and_then(from_timestamp),
            not_after: not_after.and_then(from_timestamp),
            risk,
            approvals,
            approver_groups,
            tenant,
            playbook_owner,
            data_classes,
            tools: json("tools_json", &tools_json)?,
            constraints: json("constraints_json", &constraints_json)?,
            limits: json("limits_json", &limits_json)?,
            on_behalf: json("on_behalf_json", &on_behalf_json)?,
            delegators: json("delegators_json", &delegators_json)?,
            parent: json("parent_json", &parent_json)?,
            emergency: json("emergency_json", &emergency_json)?,
            session,
            task,
            delivery,
            attestation,
            policy_set_digest,
            evidence: json("evidence_json", &evidence_json)?,
            conditions: json("conditions_json", &conditions_json)?,
            approval: json("approval_json", &approval_json)?,
        })
    }
}
