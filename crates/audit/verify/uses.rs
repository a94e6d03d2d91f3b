//! Every token has its approved intent: the part of the verification that knows what the events mean.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::VerifyError;
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

/// Whom the kills so far stop.
#[derive(Debug, Default)]
struct Kills {
    everybody: bool,
    agents: HashSet<String>,
    playbooks: HashSet<String>,
}

#[derive(Debug)]
struct Approved {
    grant_digest: Option<String>,
    expires_at: Option<Timestamp>,
    uses_left: Option<u32>,
}

impl Uses {
    /// Takes up what the leaf says of an intent.
    pub(super) fn record(&mut self, leaf: &Leaf) -> Result<(), VerifyError> {
        let event = leaf.event();
        self.tokens.record(leaf.seq(), event)?;
        match event.kind {
            EventKind::IntentApproved => return self.open(leaf.seq(), event),
            EventKind::TokenIssued => return self.spend(leaf.seq(), event),
            EventKind::TokenDerived => return self.derive(leaf.seq(), event),
            EventKind::IntentDenied
            | EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentClosedUnreported
            | EventKind::IntentExpired
            | EventKind::IntentRevoked => self.close(event),
            EventKind::Kill => self.kills.record(event),
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
            | EventKind::PostureSet
            | EventKind::PolicyObserved
            | EventKind::SvidIssued
            | EventKind::SvidBrokered
            | EventKind::EntryCreated
            | EventKind::EntryDeleted
            | EventKind::AuthorityCreated
            | EventKind::IdentityShared => {}
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
        if approved.grant_digest != event.grant_digest {
            return Err(VerifyError::OtherGrant { seq });
        }
        if let (Some(token), Some(grant)) = (event.expires_at, approved.expires_at)
            && token > grant
        {
            return Err(VerifyError::OutlivesGrant { seq });
        }
        // A use takes exactly one from what was left before it.
        if let (Some(before), Some(after)) = (approved.uses_left, event.uses_left)
            && before.checked_sub(1) != Some(after)
        {
            return Err(VerifyError::UseWithoutGrant { seq });
        }
        approved.uses_left = event.uses_left;
        if approved.uses_left == Some(0) {
            self.open.remove(intent);
        }
        Ok(())
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

impl Kills {
    /// Takes up a kill, `{"scope": …, "selector": …}` in the event's detail. One of a scope that this version does not
    /// know stops everybody: it must not read as if nothing were stopped.
    fn record(&mut self, event: &Event) {
        let kill = event.detail.get("kill");
        let member = |name| kill.and_then(|kill| kill.get(name)).and_then(|value| value.as_str());
        match (member("scope"), member("selector")) {
            (Some("agent"), Some(agent)) => drop(self.agents.insert(agent.to_owned())),
            (Some("playbook"), Some(playbook)) => drop(self.playbooks.insert(playbook.to_owned())),
            _ => self.everybody = true,
        }
    }

    /// Whether the holder of a derived token, or anybody that it came through, is stopped.
    fn stop_holder(&self, event: &Event) -> bool {
        let through = event.detail.get("through").and_then(|through| through.as_array());
        let through = through.into_iter().flatten().filter_map(|agent| agent.as_str());
        event.actor.as_deref().into_iter().chain(through).any(|agent| self.agents.contains(agent))
    }

    fn stop(&self, event: &Event) -> bool {
        let agent = event.agent.as_ref().is_some_and(|agent| self.agents.contains(agent.as_str()));
        let playbook = event.playbook.as_ref().is_some_and(|pin| self.playbooks.contains(&pin.id));
        self.everybody || agent || playbook
    }
}
