//! What an operator is shown: the admin API's messages as plain values, which serialize to the command line's JSON.
//!
//! Everything in here came over a socket: text is text, to be made visible before it reaches a terminal.

mod approvals;
mod from;
mod inquiries;
mod tokens;

pub use inquiries::{
    DeclaredSharingView, EarnedView, ExplanationView, FindingView, HolderView, MissingView,
    NearView, ProfilesView, RefusedCallerView, SharedIdentityView, TemplateView,
};
pub use tokens::TokenView;
pub(super) use tokens::kept_token;

use std::collections::BTreeMap;

use jiff::Timestamp;
use marque_intent::{
    ApprovalPlan, Conditions, Constraints, Delegators, Emergency, Evidence, Limits, OnBehalf,
    ParentIntent, ToolBounds, ToolId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::upstream::UpstreamView;

/// How a daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusView {
    /// The trust domain.
    pub trust_domain: String,
    /// `production` or `non-production`.
    pub environment: &'static str,
    /// The daemon's version.
    pub version: String,
    /// Since when it runs.
    pub started_at: Option<Timestamp>,
    /// Rises with every kill.
    pub kill_epoch: u64,
    /// Rises with every change of the entries.
    pub registry_revision: u64,
    /// Rises with every change of the bundle.
    pub bundle_sequence: u64,
    /// How many registration entries there are.
    pub entries: u64,
    /// How many playbooks there are.
    pub playbooks: u64,
    /// How many leaves the log has.
    pub log_size: u64,
    /// How many rows of the store were found not to read.
    pub unreadable_rows: u64,
    /// Whether requests can be served.
    pub ready: bool,
    /// What keeps them from being served.
    pub not_ready: Vec<ReasonView>,
    /// How the folder in force stands to its files; absent where the daemon does not say.
    pub folder: Option<FolderView>,
    /// The upstream whose bundle the own one follows; absent where there is none.
    pub upstream: Option<UpstreamView>,
}

/// How the folder in force stands to its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderView {
    /// The digest of what was read.
    pub digest: String,
    /// When.
    pub loaded_at: Option<Timestamp>,
    /// Whether the files are others by now.
    pub differs: bool,
    /// The last reload, where it was refused.
    pub refused: Option<RefusedReloadView>,
}

/// A reload that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedReloadView {
    /// When.
    pub at: Option<Timestamp>,
    /// Who asked for it.
    pub by: String,
    /// Why; stable.
    pub code: String,
    /// The first of what stands in the way.
    pub first: String,
}

/// Why requests are not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonView {
    /// The stable code.
    pub code: String,
    /// What it means and what to do.
    pub detail: String,
}

/// A registration entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryView {
    /// Its id.
    pub id: String,
    /// The identity that it gives.
    pub spiffe_id: String,
    /// What a caller must have, all of it.
    pub selectors: Vec<String>,
    /// `agent` or `service`.
    pub role: &'static str,
    /// Who answers for it.
    pub owner: String,
    /// What the identity is for; empty when not said.
    pub hint: String,
    /// Names in its certificates.
    pub dns_names: Vec<String>,
    /// The other trust domains whose bundles its callers get.
    pub federates_with: Vec<String>,
    /// The lifetime of its X.509-SVIDs in seconds, if not the trust domain's.
    pub x509_svid_lifetime_s: Option<u64>,
    /// The lifetime of its JWT-SVIDs in seconds, if not the trust domain's.
    pub jwt_svid_lifetime_s: Option<u64>,
    /// Where its code was built from; empty when not said.
    pub repository: String,
    /// The only audiences of its JWT-SVIDs; any where there is none.
    pub audiences: Vec<String>,
    /// Whether it may hand on what it was granted.
    pub may_delegate: bool,
    /// Whether it may act for a person or another agent.
    pub may_act_for_others: bool,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// `file:line` where it is written, `template ID` when a template made it; empty when an operator added it.
    pub source: String,
}

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

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Who approved.
    pub approver: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The digest that was approved.
    pub digest: String,
    /// The level that it counts at, from 1.
    #[serde(default)]
    pub level: u32,
    /// The groups that the approver was in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How the approver had shown more than one factor; empty if they had not.
    #[serde(default)]
    pub mfa: String,
    /// What the approver used.
    #[serde(default)]
    pub client: String,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectionView {
    /// Who refused.
    pub approver: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// That an approver took something away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NarrowedView {
    /// Who.
    pub approver: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The digest that they were shown.
    pub from: String,
    /// The digest of what was left.
    pub to: String,
}

/// Whether the operator who asks may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EligibilityView {
    /// Whether they may.
    pub may_approve: bool,
    /// The groups that they are in now.
    pub groups: Vec<String>,
    /// Why not, as a code.
    pub code: String,
    /// Why not, in words.
    pub detail: String,
}

/// One approver's decisions in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApproverRecordView {
    /// Who.
    pub approver: String,
    /// How many approvals in the last 30 days.
    pub approved: u32,
    /// How many refusals.
    pub refused: u32,
    /// The median time between showing and deciding, in milliseconds.
    pub median_ms: Option<u64>,
    /// Whether that is less than anybody needs to read.
    pub rubber_stamp: bool,
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

/// Every kill that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStateView {
    /// Rises with every kill.
    pub epoch: u64,
    /// Oldest first.
    pub kills: Vec<KillView>,
    /// Wishes to lift a kill that another person may confirm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<LiftAskView>,
    /// Why those are not known, where they are not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asks_unknown: String,
    /// Something is in force at this replica of which no other can hear yet: it is ordered at each of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_here_only: bool,
}

/// The kill switch after a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KilledView {
    /// How it stands.
    #[serde(flatten)]
    pub state: KillStateView,
    /// Where what is stopped stays good until it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irrevocable: Option<IrrevocableView>,
}

/// Resource servers that hear of no token's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrrevocableView {
    /// Their audiences.
    pub audiences: Vec<String>,
    /// When the last token expires that is good there; absent while none is out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Somebody's wish to lift a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftAskView {
    /// Names exactly this wish.
    pub id: String,
    /// The id of the kill.
    pub kill: String,
    /// What it is relaxed to; it ends where it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Until when it may be confirmed.
    pub until: Option<Timestamp>,
}

/// One kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillView {
    /// What it stops.
    #[serde(flatten)]
    pub scope: KillScopeView,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub actor: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The epoch that it began.
    pub epoch: u64,
    /// Its id.
    pub id: String,
    /// How far it goes now.
    pub mode: String,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What a kill stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillScopeView {
    /// The kind of its scope.
    pub scope: String,
    /// What it selects within it; nothing where it takes everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// How the log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogInfoView {
    /// How many leaves it has.
    pub size: u64,
    /// The newest signed checkpoint; empty when there is none.
    pub checkpoint: String,
    /// The key that verifies checkpoints.
    pub verifier_key: String,
    /// The newest checkpoint that enough witnesses have cosigned; empty when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cosigned_checkpoint: String,
}

/// One leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafView {
    /// Its number.
    pub seq: u64,
    /// Its bytes, exactly as hashed.
    pub bytes: Vec<u8>,
}

/// One thing that a report says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportView {
    /// Which report.
    pub report: String,
    /// What it is about.
    pub subject: String,
    /// Who answers for that; empty when nobody is known to.
    pub owner: String,
    /// One sentence.
    pub summary: String,
    /// Whether somebody has to act; the others are figures.
    pub act: bool,
    /// The figures.
    pub facts: Value,
}

/// What older daemons do not say.
const fn yes() -> bool {
    true
}
