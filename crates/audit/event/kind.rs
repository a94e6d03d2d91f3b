//! What can happen: the kinds of records, by their names in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// A CA certificate was signed for a server below.
    #[serde(rename = "org.marque.authority.signed_downstream")]
    AuthoritySignedDownstream,
    /// The bundle of the upstream says something else than before, and the own one with it.
    #[serde(rename = "org.marque.authority.followed")]
    AuthorityFollowed,
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
    pub const ALL: [Self; 63] = [
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
        Self::AuthoritySignedDownstream,
        Self::AuthorityFollowed,
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
            Self::AuthoritySignedDownstream => "org.marque.authority.signed_downstream",
            Self::AuthorityFollowed => "org.marque.authority.followed",
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
