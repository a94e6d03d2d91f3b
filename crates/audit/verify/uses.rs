//! Every token has its approved intent: the part of the verification that knows what the events mean.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::VerifyError;
use super::bearing::Bearing;
use super::kills::Kills;
use super::tokens::Tokens;
use crate::{Event, Leaf};

/// The intents that may be used at this point of the log.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// How many uses are left, where the approval says it.
    open: HashMap<String, Option<u32>>,
    /// Every intent that was ever approved: it is approved once.
    approved: HashSet<String>,
    /// What the approved intents that have not ended grant, also behind their last use: tokens derive from others then.
    grants: HashMap<String, Granted>,
    kills: Kills,
    tokens: Tokens,
}

#[derive(Debug)]
struct Granted {
    digest: Option<String>,
    expires_at: Option<Timestamp>,
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
        match Bearing::from(event.kind) {
            Bearing::Approves => return self.open(seq, event),
            Bearing::Issues => return self.spend(seq, event),
            Bearing::Derives => return self.derive(seq, event),
            Bearing::EndsIntent => self.close(event),
            Bearing::Kills => self.kills.record(event),
            Bearing::Lifts => self.kills.lift(event),
            Bearing::Uses | Bearing::Revokes | Bearing::Nothing => {}
        }
        Ok(())
    }

    fn open(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if let Some(intent) = &event.intent {
            if !self.approved.insert(intent.clone()) {
                return Err(VerifyError::ApprovedTwice { seq });
            }
            let granted = Granted {
                digest: event.grant_digest.clone(),
                expires_at: event.expires_at,
                audience: event.audience.clone(),
            };
            self.grants.insert(intent.clone(), granted);
            self.open.insert(intent.clone(), event.uses_left);
        }
        Ok(())
    }

    fn spend(&mut self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if self.kills.stop(event) {
            return Err(VerifyError::UseAfterKill { seq });
        }
        let intent = event.intent.as_deref().unwrap_or_default();
        let left = self.open.get_mut(intent).ok_or(VerifyError::UseWithoutGrant { seq })?;
        let before = std::mem::replace(left, event.uses_left);
        if event.uses_left == Some(0) {
            self.open.remove(intent);
        }
        let granted = self.grants.get(intent).ok_or(VerifyError::UseWithoutGrant { seq })?;
        // An issue of before tokens told their kind is of an access token.
        let access = event.detail.get("kind").is_none_or(|kind| kind == "access_token");
        granted.permits(seq, event, access)?;
        takes_one(seq, before, event.uses_left)
    }

    /// A token that derives from another spends no use, and is within the grant all the same. That the other one stands was
    /// looked at before.
    fn derive(&self, seq: u64, event: &Event) -> Result<(), VerifyError> {
        if self.kills.stop(event) || self.kills.stop_holder(event) {
            return Err(VerifyError::UseAfterKill { seq });
        }
        let granted = event.intent.as_ref().and_then(|intent| self.grants.get(intent));
        // One of an intent that ended or never was approved is told as a token whose parent does not stand.
        let Some(granted) = granted else { return Ok(()) };
        // The audience of a transaction token is the trust domain, whatever the grant names.
        let access = event.detail.get("kind").is_some_and(|kind| kind == "access_token");
        granted.permits(seq, event, access)
    }

    fn close(&mut self, event: &Event) {
        if let Some(intent) = &event.intent {
            self.open.remove(intent);
            self.grants.remove(intent);
        }
    }
}

impl Granted {
    /// Whether a token is within its grant; only what is told of an `access` token has its audiences from there.
    fn permits(&self, seq: u64, event: &Event, access: bool) -> Result<(), VerifyError> {
        if self.digest != event.grant_digest {
            return Err(VerifyError::OtherGrant { seq });
        }
        if let (Some(token), Some(grant)) = (event.expires_at, self.expires_at)
            && token > grant
        {
            return Err(VerifyError::OutlivesGrant { seq });
        }
        // An approval of before audiences were recorded says nothing of them; a grant for another server is for that one.
        if access
            && !self.audience.is_empty()
            && event.audience.iter().any(|audience| !self.audience.contains(audience))
        {
            return Err(VerifyError::OtherAudience { seq });
        }
        Ok(())
    }
}

/// A use takes exactly one from what was left before it.
fn takes_one(seq: u64, before: Option<u32>, after: Option<u32>) -> Result<(), VerifyError> {
    match (before, after) {
        (Some(before), Some(after)) if before.checked_sub(1) != Some(after) => {
            Err(VerifyError::UseWithoutGrant { seq })
        }
        _ => Ok(()),
    }
}
