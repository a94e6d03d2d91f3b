//! What happened, in the words of the log: one [`Event`] per grant, use, denial, revocation, kill and entry.
//!
//! An event carries identifiers, digests and decisions. It never carries a token, a key, a prompt or any other
//! secret: `token_id` is the `jti`, not the token.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::correlation::{Correlation, RequestId, TraceId};
use crate::measured::{Monotonic, PrevCheckpoint};

/// The kinds of events, each a CloudEvents `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// An agent asked for a playbook.
    #[serde(rename = "org.marque.intent.requested")]
    IntentRequested,
    /// The request waits for approvers.
    #[serde(rename = "org.marque.intent.pending")]
    IntentPending,
    /// Policy or an approver refused the request.
    #[serde(rename = "org.marque.intent.denied")]
    IntentDenied,
    /// The grant may be used from now on.
    #[serde(rename = "org.marque.intent.approved")]
    IntentApproved,
    /// The requester or an operator withdrew the intent.
    #[serde(rename = "org.marque.intent.cancelled")]
    IntentCancelled,
    /// The agent reported how it went.
    #[serde(rename = "org.marque.intent.completed")]
    IntentCompleted,
    /// Every use of the intent was spent, and its agent never said how it went.
    #[serde(rename = "org.marque.intent.closed_unreported")]
    IntentClosedUnreported,
    /// A clock of the intent ran out, or what it hung on ended.
    #[serde(rename = "org.marque.intent.expired")]
    IntentExpired,
    /// Whoever was asked whether reported work was done has said so, or gave no answer.
    #[serde(rename = "org.marque.intent.post_checked")]
    IntentPostChecked,
    /// The intent's agent, or somebody who was shown a token of it, was heard of.
    #[serde(rename = "org.marque.intent.heard")]
    IntentHeard,
    /// Somebody ended the intent, or the rules that it was given under changed.
    #[serde(rename = "org.marque.intent.revoked")]
    IntentRevoked,
    /// What an agent wrote about an intent was sealed beside the log.
    #[serde(rename = "org.marque.payload.sealed")]
    PayloadSealed,
    /// An operator read what an agent wrote and was sealed.
    #[serde(rename = "org.marque.payload.read")]
    PayloadRead,
    /// What an agent wrote about an intent was taken away; the log has its digest at most.
    #[serde(rename = "org.marque.payload.erased")]
    PayloadErased,
    /// One approver approved this digest; the intent may need more.
    #[serde(rename = "org.marque.approval.recorded")]
    ApprovalRecorded,
    /// One approver refused this digest; the intent may wait for others.
    #[serde(rename = "org.marque.approval.objected")]
    ApprovalObjected,
    /// An approver took something away of what was asked for; the digest is that of what is left.
    #[serde(rename = "org.marque.approval.narrowed")]
    ApprovalNarrowed,
    /// Somebody who may not approve tried to.
    #[serde(rename = "org.marque.approval.refused")]
    ApprovalRefused,
    /// An agent had too many refusals; nothing is granted to its family for a while.
    #[serde(rename = "org.marque.cooldown.began")]
    CooldownBegan,
    /// A family of agents had too many cooldowns; it has its baseline identity alone until a person releases it.
    #[serde(rename = "org.marque.quarantine.began")]
    QuarantineBegan,
    /// An operator released a family of agents.
    #[serde(rename = "org.marque.quarantine.released")]
    QuarantineReleased,
    /// Somebody logged in as an approver.
    #[serde(rename = "org.marque.approver.logged_in")]
    ApproverLoggedIn,
    /// Somebody tried to log in as an approver.
    #[serde(rename = "org.marque.approver.login_refused")]
    ApproverLoginRefused,
    /// An operator or an agent asked for a change of an intent that its rules do not allow.
    #[serde(rename = "org.marque.change.refused")]
    ChangeRefused,
    /// An emergency playbook was asked for.
    #[serde(rename = "org.marque.break_glass.requested")]
    BreakGlassRequested,
    /// A responder broke the glass: the grant may be used from now on.
    #[serde(rename = "org.marque.break_glass.activated")]
    BreakGlassActivated,
    /// A use of a break-glass grant was redeemed.
    #[serde(rename = "org.marque.break_glass.used")]
    BreakGlassUsed,
    /// A break-glass grant, or the request for one, has ended.
    #[serde(rename = "org.marque.break_glass.ended")]
    BreakGlassEnded,
    /// Somebody else than the responder looked at it afterwards.
    #[serde(rename = "org.marque.break_glass.reviewed")]
    BreakGlassReviewed,
    /// A use was redeemed for a token.
    #[serde(rename = "org.marque.token.issued")]
    TokenIssued,
    /// A token was derived from another one.
    #[serde(rename = "org.marque.token.derived")]
    TokenDerived,
    /// The only use of a token was made.
    #[serde(rename = "org.marque.token.used")]
    TokenUsed,
    /// A token was revoked, itself or because one that it derives from was.
    #[serde(rename = "org.marque.token.revoked")]
    TokenRevoked,
    /// The token service refused an exchange.
    #[serde(rename = "org.marque.token.refused")]
    TokenRefused,
    /// The kill switch was thrown.
    #[serde(rename = "org.marque.kill")]
    Kill,
    /// Somebody asked to lift or relax a kill, which another person has to confirm.
    #[serde(rename = "org.marque.kill.lift.asked")]
    KillLiftAsked,
    /// A kill was lifted or relaxed, by two people or by its own end.
    #[serde(rename = "org.marque.kill.lifted")]
    KillLifted,
    /// A posture signal was set or taken back.
    #[serde(rename = "org.marque.posture.set")]
    PostureSet,
    /// Policy would have refused an approval or a use, and the playbook is only observed.
    #[serde(rename = "org.marque.policy.observed")]
    PolicyObserved,
    /// An identity document was minted.
    #[serde(rename = "org.marque.svid.issued")]
    SvidIssued,
    /// A broker was given an identity document of another workload.
    #[serde(rename = "org.marque.svid.brokered")]
    SvidBrokered,
    /// A registration entry was added.
    #[serde(rename = "org.marque.entry.created")]
    EntryCreated,
    /// A registration entry was removed.
    #[serde(rename = "org.marque.entry.deleted")]
    EntryDeleted,
    /// Somebody added a relationship with another trust domain.
    #[serde(rename = "org.marque.federation.added")]
    FederationAdded,
    /// Somebody ended a relationship with another trust domain.
    #[serde(rename = "org.marque.federation.removed")]
    FederationRemoved,
    /// Somebody set the bundle of another trust domain by hand.
    #[serde(rename = "org.marque.bundle.set")]
    BundleSet,
    /// An identity was not given, because its template has given as many as it may.
    #[serde(rename = "org.marque.entry.refused")]
    EntryRefused,
    /// The trust domain was restored from a backup.
    #[serde(rename = "org.marque.restored")]
    Restored,
    /// The folder of the trust domain was read anew and put in force.
    #[serde(rename = "org.marque.folder.reloaded")]
    FolderReloaded,
    /// The folder of the trust domain was read anew and refused; what was in force stays.
    #[serde(rename = "org.marque.folder.reload_refused")]
    FolderReloadRefused,
    /// A signing authority was made.
    #[serde(rename = "org.marque.authority.created")]
    AuthorityCreated,
    /// The key that is to follow a signing authority was made, and published.
    #[serde(rename = "org.marque.authority.prepared")]
    AuthorityPrepared,
    /// A signing authority that was prepared signs from now on.
    #[serde(rename = "org.marque.authority.activated")]
    AuthorityActivated,
    /// A signing authority is believed to be in wrong hands: what it signed is issued anew.
    #[serde(rename = "org.marque.authority.tainted")]
    AuthorityTainted,
    /// A tainted signing authority was taken out of the bundle.
    #[serde(rename = "org.marque.authority.revoked")]
    AuthorityRevoked,
    /// A signing authority was taken out of the bundle after everything that it signed had ended.
    #[serde(rename = "org.marque.authority.retired")]
    AuthorityRetired,
    /// The record of a signing authority that left the bundle was deleted.
    #[serde(rename = "org.marque.authority.pruned")]
    AuthorityPruned,
    /// A key was asked to sign something outside of its ceiling, and did not.
    #[serde(rename = "org.marque.signing.refused")]
    SigningRefused,
    /// One identity was asked for by two programs within one window.
    #[serde(rename = "org.marque.identity.shared")]
    IdentityShared,
    /// A transmitter of shared signals said something about somebody here.
    #[serde(rename = "org.marque.ssf.received")]
    SsfReceived,
    /// A witness has seen another history of the log and does not cosign this one.
    #[serde(rename = "org.marque.witness.refused")]
    WitnessRefused,
}

impl EventKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 61] = [
        Self::IntentRequested,
        Self::IntentPending,
        Self::IntentDenied,
        Self::IntentApproved,
        Self::IntentCancelled,
        Self::IntentCompleted,
        Self::IntentClosedUnreported,
        Self::IntentExpired,
        Self::IntentPostChecked,
        Self::IntentHeard,
        Self::IntentRevoked,
        Self::PayloadSealed,
        Self::PayloadRead,
        Self::PayloadErased,
        Self::ApprovalRecorded,
        Self::ApprovalObjected,
        Self::ApprovalNarrowed,
        Self::ApprovalRefused,
        Self::CooldownBegan,
        Self::QuarantineBegan,
        Self::QuarantineReleased,
        Self::ApproverLoggedIn,
        Self::ApproverLoginRefused,
        Self::ChangeRefused,
        Self::BreakGlassRequested,
        Self::BreakGlassActivated,
        Self::BreakGlassUsed,
        Self::BreakGlassEnded,
        Self::BreakGlassReviewed,
        Self::TokenIssued,
        Self::TokenDerived,
        Self::TokenUsed,
        Self::TokenRevoked,
        Self::TokenRefused,
        Self::Kill,
        Self::KillLiftAsked,
        Self::KillLifted,
        Self::PostureSet,
        Self::PolicyObserved,
        Self::SvidIssued,
        Self::SvidBrokered,
        Self::EntryCreated,
        Self::EntryDeleted,
        Self::FederationAdded,
        Self::FederationRemoved,
        Self::BundleSet,
        Self::EntryRefused,
        Self::Restored,
        Self::FolderReloaded,
        Self::FolderReloadRefused,
        Self::AuthorityCreated,
        Self::AuthorityPrepared,
        Self::AuthorityActivated,
        Self::AuthorityTainted,
        Self::AuthorityRevoked,
        Self::AuthorityRetired,
        Self::AuthorityPruned,
        Self::SigningRefused,
        Self::IdentityShared,
        Self::SsfReceived,
        Self::WitnessRefused,
    ];

    /// The CloudEvents `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IntentRequested => "org.marque.intent.requested",
            Self::IntentPending => "org.marque.intent.pending",
            Self::IntentDenied => "org.marque.intent.denied",
            Self::IntentApproved => "org.marque.intent.approved",
            Self::IntentCancelled => "org.marque.intent.cancelled",
            Self::IntentCompleted => "org.marque.intent.completed",
            Self::IntentClosedUnreported => "org.marque.intent.closed_unreported",
            Self::IntentExpired => "org.marque.intent.expired",
            Self::IntentPostChecked => "org.marque.intent.post_checked",
            Self::IntentHeard => "org.marque.intent.heard",
            Self::IntentRevoked => "org.marque.intent.revoked",
            Self::PayloadSealed => "org.marque.payload.sealed",
            Self::PayloadRead => "org.marque.payload.read",
            Self::PayloadErased => "org.marque.payload.erased",
            Self::ApprovalRecorded => "org.marque.approval.recorded",
            Self::ApprovalObjected => "org.marque.approval.objected",
            Self::ApprovalNarrowed => "org.marque.approval.narrowed",
            Self::ApprovalRefused => "org.marque.approval.refused",
            Self::CooldownBegan => "org.marque.cooldown.began",
            Self::QuarantineBegan => "org.marque.quarantine.began",
            Self::QuarantineReleased => "org.marque.quarantine.released",
            Self::ApproverLoggedIn => "org.marque.approver.logged_in",
            Self::ApproverLoginRefused => "org.marque.approver.login_refused",
            Self::ChangeRefused => "org.marque.change.refused",
            Self::BreakGlassRequested => "org.marque.break_glass.requested",
            Self::BreakGlassActivated => "org.marque.break_glass.activated",
            Self::BreakGlassUsed => "org.marque.break_glass.used",
            Self::BreakGlassEnded => "org.marque.break_glass.ended",
            Self::BreakGlassReviewed => "org.marque.break_glass.reviewed",
            Self::TokenIssued => "org.marque.token.issued",
            Self::TokenDerived => "org.marque.token.derived",
            Self::TokenUsed => "org.marque.token.used",
            Self::TokenRevoked => "org.marque.token.revoked",
            Self::TokenRefused => "org.marque.token.refused",
            Self::Kill => "org.marque.kill",
            Self::KillLiftAsked => "org.marque.kill.lift.asked",
            Self::KillLifted => "org.marque.kill.lifted",
            Self::PostureSet => "org.marque.posture.set",
            Self::PolicyObserved => "org.marque.policy.observed",
            Self::SvidIssued => "org.marque.svid.issued",
            Self::SvidBrokered => "org.marque.svid.brokered",
            Self::EntryCreated => "org.marque.entry.created",
            Self::EntryDeleted => "org.marque.entry.deleted",
            Self::FederationAdded => "org.marque.federation.added",
            Self::FederationRemoved => "org.marque.federation.removed",
            Self::BundleSet => "org.marque.bundle.set",
            Self::EntryRefused => "org.marque.entry.refused",
            Self::Restored => "org.marque.restored",
            Self::FolderReloaded => "org.marque.folder.reloaded",
            Self::FolderReloadRefused => "org.marque.folder.reload_refused",
            Self::AuthorityCreated => "org.marque.authority.created",
            Self::AuthorityPrepared => "org.marque.authority.prepared",
            Self::AuthorityActivated => "org.marque.authority.activated",
            Self::AuthorityTainted => "org.marque.authority.tainted",
            Self::AuthorityRevoked => "org.marque.authority.revoked",
            Self::AuthorityRetired => "org.marque.authority.retired",
            Self::AuthorityPruned => "org.marque.authority.pruned",
            Self::SigningRefused => "org.marque.signing.refused",
            Self::IdentityShared => "org.marque.identity.shared",
            Self::SsfReceived => "org.marque.ssf.received",
            Self::WitnessRefused => "org.marque.witness.refused",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of event")]
pub struct UnknownEventKind;

impl FromStr for EventKind {
    type Err = UnknownEventKind;

    fn from_str(text: &str) -> Result<Self, UnknownEventKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownEventKind)
    }
}

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
    /// The state of the change ticket by its system's word, when it was last asked for this grant.
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
