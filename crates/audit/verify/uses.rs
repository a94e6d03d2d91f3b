//! Every token has its approved intent: the part of the verification that knows what the events mean.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::VerifyError;
use super::kills::Kills;
use super::tokens::Tokens;
use crate::{Event, EventKind, Leaf};

/// The intents that may be used at this point of the log.
#[derive(Debug, Default)]
pub(super) struct Uses {
    open: HashMap<String, Approved>,
    /// Every intent that was ever approved: it is approved once.
    approved: HashSet<String>,
    kills: Kills,
    tokens: Tokens,
}

#[derive(Debug)]
struct Approved {
    grant_digest: Option<String>,
    expires_at: Option<Timestamp>,
    uses_left: Option<u32>,
    audience: Vec<String>,
}

impl Uses {
    /// Takes up what the leaf says of an intent.
    pub(super) fn record(&mut self, leaf: &Leaf) -> Result<(), VerifyError> {
        let event = leaf.event();
        // Both are told, whatever the first one finds: a verification may go on behind it.
        let of_token = self.tokens.record(leaf.seq(), event);
        let of_intent = self.of_intent(leaf.seq(), event);
        of_token.and(of_intent)
    }

    fn of_intent(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        match event.kind {
            EventKind::IntentApproved => return self.open(seq, event),
            EventKind::TokenIssued => return self.spend(seq, event),
            EventKind::TokenDerived => return self.derive(seq, event),
            EventKind::IntentDenied
            | EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentClosedUnreported
            | EventKind::IntentExpired
            | EventKind::IntentRevoked => self.close(event),
            EventKind::Kill => self.kills.record(event),
            EventKind::KillLifted => self.kills.lift(event),
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
            | EventKind::TokenUsed
            | EventKind::TokenRevoked
            | EventKind::TokenRefused
            | EventKind::KillLiftAsked
            | EventKind::PostureSet
            | EventKind::PolicyObserved
            | EventKind::SvidIssued
            | EventKind::SvidBrokered
            | EventKind::EntryCreated
            | EventKind::EntryDeleted
            | EventKind::AuthorityCreated
            | EventKind::IdentityShared
            | EventKind::SsfReceived => {}
        }
        Ok(())
    }

    fn open(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if let Some(intent) = &event.intent {
            if !self.approved.insert(intent.clone()) {
                return Err(VerifyError::ApprovedTwice { seq });
            }
            let approved = Approved {
                grant_digest: event.grant_digest.clone(),
                expires_at: event.expires_at,
                uses_left: event.uses_left,
                audience: event.audience.clone(),
            };
            self.open.insert(intent.clone(), approved);
        }
        Ok(())
    }

    fn spend(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if self.kills.stop(event) {
            return Err(VerifyError::UseAfterKill { seq });
        }
        let intent = event.intent.as_deref().unwrap_or_default();
        let approved = self.open.get_mut(intent).ok_or(VerifyError::UseWithoutGrant { seq })?;
        let within = approved.permits(seq, event);
        approved.uses_left = event.uses_left;
        if approved.uses_left == Some(0) {
            self.open.remove(intent);
        }
        within
    }

    /// A token that derives from another spends no use; that the other one stands was looked at before.
    fn derive(&self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if self.kills.stop(event) || self.kills.stop_holder(event) {
            return Err(VerifyError::UseAfterKill { seq });
        }
        Ok(())
    }

    fn close(&mut self, event: &Event) {
        if let Some(intent) = &event.intent {
            self.open.remove(intent);
        }
    }
}

impl Approved {
    /// Whether a token is within its grant.
    fn permits(&self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if self.grant_digest != event.grant_digest {
            return Err(VerifyError::OtherGrant { seq });
        }
        if let (Some(token), Some(grant)) = (event.expires_at, self.expires_at)
            && token > grant
        {
            return Err(VerifyError::OutlivesGrant { seq });
        }
        // An approval of before audiences were recorded says nothing of them; a grant for another server is for that one.
        let access = event.detail.get("kind").is_none_or(|kind| kind == "access_token");
        if access
            && !self.audience.is_empty()
            && event.audience.iter().any(|audience| !self.audience.contains(audience))
        {
            return Err(VerifyError::OtherAudience { seq });
        }
        // A use takes exactly one from what was left before it.
        if let (Some(before), Some(after)) = (self.uses_left, event.uses_left)
            && before.checked_sub(1) != Some(after)
        {
            return Err(VerifyError::UseWithoutGrant { seq });
        }
        Ok(())
    }
}
