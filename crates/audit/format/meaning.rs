//! What a kind of event is called, how it went, and how much it matters: the same in every form.

use serde_json::Value;

use crate::{Event, EventKind};

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    Pending,
    /// What the event says of finished work, which the issuer neither allowed nor refused.
    Work(Done),
}

/// How finished work went, where it was not a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Failure,
    Partial,
    Unknown,
}

/// How much it matters to somebody who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As intended.
    Informational,
    /// Refused, as it should be.
    Low,
    /// Somebody should look at it in time.
    Medium,
    /// Somebody should look at it now.
    High,
}

/// How the event went.
pub(super) fn outcome(event: &Event) -> Outcome {
    if let Some(done) = work(event) {
        return Outcome::Work(done);
    }
    match event.kind {
        EventKind::IntentDenied
        | EventKind::ApprovalRefused
        | EventKind::ApproverLoginRefused
        | EventKind::ChangeRefused
        | EventKind::SigningRefused
        | EventKind::EntryRefused
        | EventKind::FolderReloadRefused
        | EventKind::TokenRefused
        | EventKind::WitnessRefused => Outcome::Failure,
        EventKind::IntentRequested
        | EventKind::IntentPending
        | EventKind::BreakGlassRequested
        | EventKind::KillLiftAsked => Outcome::Pending,
        // Served or refused, as the rule of the trust domain has it.
        EventKind::IdentityShared | EventKind::TokenRevoked if event.code.is_some() => {
            Outcome::Failure
        }
        EventKind::IntentApproved
        | EventKind::IntentCancelled
        | EventKind::IntentCompleted
        | EventKind::IntentClosedUnreported
        | EventKind::IntentExpired
        | EventKind::IntentPostChecked
        | EventKind::IntentHeard
        | EventKind::IntentRevoked
        | EventKind::PayloadSealed
        | EventKind::PayloadRead
        | EventKind::PayloadErased
        | EventKind::ApprovalRecorded
        | EventKind::ApprovalObjected
        | EventKind::ApprovalNarrowed
        | EventKind::CooldownBegan
        | EventKind::QuarantineBegan
        | EventKind::QuarantineReleased
        | EventKind::ApproverLoggedIn
        | EventKind::BreakGlassActivated
        | EventKind::BreakGlassUsed
        | EventKind::BreakGlassEnded
        | EventKind::BreakGlassReviewed
        | EventKind::TokenIssued
        | EventKind::TokenDerived
        | EventKind::TokenUsed
        | EventKind::TokenRevoked
        | EventKind::Kill
        | EventKind::KillLifted
        | EventKind::SsfReceived
        | EventKind::PostureSet
        | EventKind::PolicyObserved
        | EventKind::SvidIssued
        | EventKind::SvidBrokered
        | EventKind::EntryCreated
        | EventKind::EntryDeleted
        | EventKind::FederationAdded
        | EventKind::FederationRemoved
        | EventKind::BundleSet
        | EventKind::Restored
        | EventKind::FolderReloaded
        | EventKind::AuthorityCreated
        | EventKind::AuthorityPrepared
        | EventKind::AuthoritySignedDownstream
        | EventKind::AuthorityFollowed
        | EventKind::AuthorityActivated
        | EventKind::AuthorityTainted
        | EventKind::AuthorityRevoked
        | EventKind::AuthorityRetired
        | EventKind::AuthorityPruned
        | EventKind::IdentityShared => Outcome::Success,
    }
}

/// How the work of an intent went by its report and its post-check, where that is no success.
fn work(event: &Event) -> Option<Done> {
    let ends = matches!(
        event.kind,
        EventKind::IntentCompleted
            | EventKind::IntentClosedUnreported
            | EventKind::IntentPostChecked
            | EventKind::BreakGlassEnded
    );
    let said = |name: &str| event.detail.get(name).and_then(Value::as_str).filter(|_| ends);
    match (said("post_check"), said("outcome")) {
        (Some("failed"), _) | (_, Some("failure")) => Some(Done::Failure),
        (Some("unreachable"), _) | (_, Some("unknown")) => Some(Done::Unknown),
        (_, Some("partial")) => Some(Done::Partial),
        _ => None,
    }
}

/// The member of an event's detail that says `false` where a request ended that was never approved.
const APPROVED: &str = "approved";

/// Whether a request ended before anything was granted, so that nothing was taken away.
pub(super) fn ended_ungranted(event: &Event) -> bool {
    let ends = matches!(
        event.kind,
        EventKind::IntentCancelled
            | EventKind::IntentExpired
            | EventKind::IntentRevoked
            | EventKind::BreakGlassEnded
    );
    let says = |name: &str, value: &Value| event.detail.get(name) == Some(value);
    ends && (says(APPROVED, &Value::Bool(false))
        || says("ended_for", &"request_ttl".into())
        || says("cause", &EventKind::IntentDenied.as_str().into()))
}

/// How much an event of the kind matters.
#[must_use]
pub fn severity(kind: EventKind) -> Severity {
    match kind {
        EventKind::Kill
        | EventKind::KillLiftAsked
        | EventKind::KillLifted
        | EventKind::SsfReceived
        | EventKind::WitnessRefused
        | EventKind::Restored
        | EventKind::QuarantineBegan
        | EventKind::SigningRefused
        | EventKind::AuthorityTainted
        | EventKind::AuthorityRevoked
        | EventKind::BreakGlassRequested
        | EventKind::BreakGlassActivated
        | EventKind::BreakGlassUsed => Severity::High,
        EventKind::CooldownBegan
        | EventKind::QuarantineReleased
        | EventKind::BreakGlassEnded
        | EventKind::BreakGlassReviewed
        | EventKind::IntentRevoked
        | EventKind::PayloadRead
        | EventKind::PayloadErased
        | EventKind::IntentClosedUnreported
        | EventKind::TokenRevoked
        | EventKind::PostureSet
        | EventKind::PolicyObserved
        | EventKind::EntryCreated
        | EventKind::EntryDeleted
        | EventKind::FederationAdded
        | EventKind::FederationRemoved
        | EventKind::BundleSet
        | EventKind::EntryRefused
        | EventKind::FolderReloaded
        | EventKind::FolderReloadRefused
        | EventKind::AuthorityCreated
        | EventKind::AuthorityPrepared
        | EventKind::AuthoritySignedDownstream
        | EventKind::AuthorityFollowed
        | EventKind::AuthorityActivated
        | EventKind::AuthorityRetired
        | EventKind::AuthorityPruned
        | EventKind::IdentityShared => Severity::Medium,
        EventKind::IntentDenied
        | EventKind::ApprovalObjected
        | EventKind::ApprovalRefused
        | EventKind::ApproverLoginRefused
        | EventKind::ChangeRefused
        | EventKind::TokenRefused => Severity::Low,
        EventKind::IntentRequested
        | EventKind::IntentPending
        | EventKind::IntentApproved
        | EventKind::IntentCancelled
        | EventKind::IntentCompleted
        | EventKind::IntentExpired
        | EventKind::IntentPostChecked
        | EventKind::PayloadSealed
        | EventKind::IntentHeard
        | EventKind::ApprovalRecorded
        | EventKind::ApprovalNarrowed
        | EventKind::ApproverLoggedIn
        | EventKind::TokenIssued
        | EventKind::TokenDerived
        | EventKind::TokenUsed
        | EventKind::SvidIssued
        | EventKind::SvidBrokered => Severity::Informational,
    }
}

/// The kind without the name of the product: `intent.requested`.
pub(super) fn short(kind: EventKind) -> &'static str {
    kind.as_str().strip_prefix("org.marque.").unwrap_or_default()
}

/// What happened, in a few words: `intent.requested by spiffe://… for int_…`.
pub(super) fn sentence(event: &Event) -> String {
    let mut sentence = short(event.kind).to_owned();
    let by = event.actor.as_deref().or_else(|| event.agent.as_ref().map(|agent| agent.as_str()));
    for (word, value) in
        [("by", by), ("of", event.intent.as_deref()), ("because", event.code.as_deref())]
    {
        if let Some(value) = value {
            sentence.push_str(&format!(" {word} {value}"));
        }
    }
    sentence
}
