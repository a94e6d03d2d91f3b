//! Intents as they are shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;
use super::{
    ApprovalView, EligibilityView, GrantView, IrrevocableView, NarrowedView, ObjectionView,
};

/// An intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntentView {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: String,
    /// Whose it is.
    pub agent: String,
    /// Who answers for the agent; empty when its entry is gone.
    pub agent_owner: String,
    /// What it permits.
    pub grant: GrantView,
    /// The agent's own words: untrusted.
    pub justification: String,
    /// When it was asked for.
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    pub changed_at: Option<Timestamp>,
    /// When its running clock ends it.
    pub expires_at: Option<Timestamp>,
    /// The approvals so far.
    pub approvals: Vec<ApprovalView>,
    /// How many more it needs.
    pub approvals_missing: u32,
    /// How many uses are left.
    pub uses_left: u32,
    /// The uses so far.
    pub uses: Vec<UseView>,
    /// Why it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<DenialView>,
    /// Who ended it.
    pub ended_by: String,
    /// Why it was ended.
    pub reason: String,
    /// How it went: by the agent's word, as far as a post-check does not say otherwise.
    pub outcome: String,
    /// By the agent's word alone, where a post-check has to agree.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reported_outcome: String,
    /// What the post-check says of it; empty where nobody is asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub post_check: String,
    /// Whom the agent asks for an approval; empty when it does not say.
    pub asked_of: String,
    /// What the agent shows as well: untrusted.
    pub binding_message: String,
    /// Why it expired, was revoked or was closed without a report; empty if it was not.
    pub ended_for: String,
    /// What the agent says about the outcome: untrusted.
    pub report: String,
    /// Since when nothing was heard of it.
    pub heard_at: Option<Timestamp>,
    /// Whether every end of its tokens is heard of wherever they are used; where it is not, `irrevocable` says until when.
    #[serde(default = "yes")]
    pub revocable: bool,
    /// Where its tokens stay good until they expire, whatever is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irrevocable: Option<IrrevocableView>,
    /// The level of its plan at which it waits, from 1; 0 when it does not wait.
    #[serde(default)]
    pub open_level: u32,
    /// Refusals so far.
    #[serde(default)]
    pub objections: Vec<ObjectionView>,
    /// What approvers took away.
    #[serde(default)]
    pub narrowed: Vec<NarrowedView>,
    /// Whether the operator who asks may approve it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub you: Option<EligibilityView>,
    /// What the agent may do already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
}

/// What an agent may do by its other grants, used or not: all of them together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    /// The intents of these grants.
    pub intents: Vec<String>,
    /// Whom it may speak to.
    pub audiences: Vec<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What it may touch.
    pub resources: Vec<String>,
    /// What it may call.
    pub tools: Vec<String>,
}

/// One use, redeemed for one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseView {
    /// The token's id.
    pub token_id: String,
    /// When.
    pub at: Option<Timestamp>,
    /// When the token ends.
    pub token_expires_at: Option<Timestamp>,
}

/// Why an intent was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialView {
    /// The stable code.
    pub code: String,
    /// The code's class.
    pub class: String,
    /// What failed, for operators.
    pub detail: String,
}

/// What older daemons do not say.
const fn yes() -> bool {
    true
}

impl TryFrom<proto::Intent> for IntentView {
    type Error = CallError;

    fn try_from(message: proto::Intent) -> Result<Self, CallError> {
        let proto::Intent {
            id,
            state,
            agent,
            agent_owner,
            grant,
            justification,
            created_at,
            changed_at,
            expires_at,
            approvals,
            approvals_missing,
            uses_left,
            uses,
            denial,
            ended_by,
            reason,
            outcome,
            reported_outcome,
            post_check,
            asked_of,
            binding_message,
            ended_for,
            report,
            heard_at,
            open_level,
            objections,
            narrowed,
            you,
            held,
            irrevocable,
        } = message;
        Ok(Self {
            id,
            state: state_name(state)?.to_owned(),
            agent,
            agent_owner,
            grant: grant.ok_or(CallError::Malformed("grant"))?.try_into()?,
            justification,
            created_at: created_at.and_then(from_timestamp),
            changed_at: changed_at.and_then(from_timestamp),
            expires_at: expires_at.and_then(from_timestamp),
            approvals: approvals.into_iter().map(Into::into).collect(),
            approvals_missing,
            uses_left,
            uses: uses.into_iter().map(Into::into).collect(),
            denial: denial.map(|proto::Denial { code, class, detail }| DenialView {
                code,
                class,
                detail,
            }),
            ended_by,
            reason,
            outcome,
            reported_outcome,
            post_check,
            asked_of,
            binding_message,
            ended_for,
            report,
            heard_at: heard_at.and_then(from_timestamp),
            open_level,
            objections: objections.into_iter().map(Into::into).collect(),
            narrowed: narrowed.into_iter().map(Into::into).collect(),
            you: you.map(Into::into),
            held: held.map(Into::into),
            revocable: irrevocable.is_none(),
            irrevocable: irrevocable.map(Into::into),
        })
    }
}

impl From<proto::Held> for HeldView {
    fn from(message: proto::Held) -> Self {
        let proto::Held { intents, audiences, scopes, resources, tools } = message;
        Self { intents, audiences, scopes, resources, tools }
    }
}

impl From<proto::Use> for UseView {
    fn from(message: proto::Use) -> Self {
        let proto::Use { token_id, at, token_expires_at } = message;
        Self {
            token_id,
            at: at.and_then(from_timestamp),
            token_expires_at: token_expires_at.and_then(from_timestamp),
        }
    }
}

fn state_name(state: i32) -> Result<&'static str, CallError> {
    match proto::IntentState::try_from(state) {
        Ok(proto::IntentState::Pending) => Ok("pending"),
        Ok(proto::IntentState::Approved) => Ok("approved"),
        Ok(proto::IntentState::Active) => Ok("active"),
        Ok(proto::IntentState::Consumed) => Ok("consumed"),
        Ok(proto::IntentState::Denied) => Ok("denied"),
        Ok(proto::IntentState::Cancelled) => Ok("cancelled"),
        Ok(proto::IntentState::Expired) => Ok("expired"),
        Ok(proto::IntentState::Completed) => Ok("completed"),
        Ok(proto::IntentState::ClosedUnreported) => Ok("closed_unreported"),
        Ok(proto::IntentState::Revoked) => Ok("revoked"),
        Ok(proto::IntentState::Unspecified) | Err(_) => Err(CallError::Malformed("state")),
    }
}
