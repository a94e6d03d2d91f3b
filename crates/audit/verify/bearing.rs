//! What each kind of event bears on in a verification: the one place where every kind is looked at.

use crate::EventKind;

/// What an event changes of the grants, tokens and kills that a verification follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearing {
    /// From here on tokens are issued for the intent.
    Approves,
    /// From here on none are, and those that there are do not stand.
    EndsIntent,
    Issues,
    Derives,
    Uses,
    Revokes,
    Kills,
    Lifts,
    /// Whatever it says, no token comes or goes by it.
    Nothing,
}

impl From<EventKind> for Bearing {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::IntentApproved => Self::Approves,
            EventKind::IntentDenied
            | EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentClosedUnreported
            | EventKind::IntentExpired
            | EventKind::IntentRevoked => Self::EndsIntent,
            EventKind::TokenIssued => Self::Issues,
            EventKind::TokenDerived => Self::Derives,
            EventKind::TokenUsed => Self::Uses,
            EventKind::TokenRevoked => Self::Revokes,
            EventKind::Kill => Self::Kills,
            EventKind::KillLifted => Self::Lifts,
            EventKind::IntentRequested
            | EventKind::IntentPending
            | EventKind::IntentHeard
            | EventKind::IntentPostChecked
            | EventKind::PayloadSealed
            | EventKind::PayloadRead
            | EventKind::PayloadErased
            | EventKind::ApprovalRecorded
            | EventKind::ApprovalNarrowed
            | EventKind::ApprovalObjected
            | EventKind::ApprovalRefused
            | EventKind::ApproverLoggedIn
            | EventKind::ApproverLoginRefused
            | EventKind::ChangeRefused
            | EventKind::BreakGlassRequested
            | EventKind::BreakGlassActivated
            | EventKind::BreakGlassUsed
            | EventKind::BreakGlassEnded
            | EventKind::BreakGlassReviewed
            | EventKind::CooldownBegan
            | EventKind::QuarantineBegan
            | EventKind::QuarantineReleased
            | EventKind::TokenRefused
            | EventKind::KillLiftAsked
            | EventKind::PostureSet
            | EventKind::PolicyObserved
            | EventKind::SvidIssued
            | EventKind::SvidBrokered
            | EventKind::EntryCreated
            | EventKind::EntryDeleted
            | EventKind::FederationAdded
            | EventKind::FederationRemoved
            | EventKind::BundleSet
            | EventKind::EntryRefused
            | EventKind::Restored
            | EventKind::FolderReloaded
            | EventKind::FolderReloadRefused
            | EventKind::AuthorityCreated
            | EventKind::SigningRefused
            | EventKind::AuthorityPrepared
            | EventKind::AuthorityActivated
            | EventKind::AuthorityTainted
            | EventKind::AuthorityRevoked
            | EventKind::AuthorityRetired
            | EventKind::AuthoritySignedDownstream
            | EventKind::AuthorityFollowed
            | EventKind::AuthorityPruned
            | EventKind::IdentityShared
            | EventKind::SsfReceived
            | EventKind::WitnessRefused => Self::Nothing,
        }
    }
}
