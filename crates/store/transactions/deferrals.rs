//! Deferrals: opened, polled, cancelled. One is redeemed with the use that it collects, see [`super::Redeem`].

use jiff::Timestamp;
use marque_exchange::{
    Cancellation, Deferral, DeferralState, MAX_KEPT_DEFERRALS_PER_AGENT,
    MAX_OPEN_DEFERRALS_PER_AGENT, OpenedDeferral, Polled,
};
use marque_intent::{Digest, IntentChange};
use marque_spiffe::SpiffeId;

use super::intents::expired_first;
use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// Keeps a new deferral, if its client may have another one.
#[derive(Debug)]
pub(crate) struct OpenDeferral {
    pub(crate) deferral: Deferral,
}

impl Transaction for OpenDeferral {
    type Answer = OpenedDeferral;

    fn keys(&self, keys: &mut Keys) {
        keys.deferral_clients.insert(self.deferral.client.clone());
    }

    fn plan(&self, view: &View) -> Result<Plan<OpenedDeferral>, Failure> {
        let new = &self.deferral;
        let mut kept = view.deferrals_of(&new.client);
        // A client that lost the code asks the same again: nobody has the earlier code.
        let replaced = |old: &Deferral| old.is_open(new.opened_at) && old.asks_like(new);
        let mut forgotten: Vec<Digest> =
            kept.iter().filter(|old| replaced(old)).map(|old| old.code).collect();
        kept.retain(|old| !replaced(old));
        let open = kept.iter().filter(|old| old.is_open(new.opened_at)).count();
        if open >= MAX_OPEN_DEFERRALS_PER_AGENT {
            return Ok(Plan::nothing(OpenedDeferral::TooMany));
        }
        let mut ended: Vec<&Deferral> =
            kept.iter().copied().filter(|old| !old.is_open(new.opened_at)).collect();
        ended.sort_by_key(|old| old.expires_at);
        let surplus = (kept.len() + 1).saturating_sub(MAX_KEPT_DEFERRALS_PER_AGENT);
        forgotten.extend(ended.into_iter().take(surplus).map(|old| old.code));
        let writes = Writes {
            deferrals: vec![new.clone()],
            forgotten_deferrals: forgotten,
            ..Writes::default()
        };
        Ok(Plan { answer: OpenedDeferral::Kept, writes })
    }
}

/// Counts a poll.
#[derive(Debug)]
pub(crate) struct PollDeferral {
    pub(crate) code: Digest,
    pub(crate) now: Timestamp,
}

impl Transaction for PollDeferral {
    type Answer = Option<Polled>;

    fn keys(&self, keys: &mut Keys) {
        keys.deferrals.insert(self.code);
    }

    fn plan(&self, view: &View) -> Result<Plan<Option<Polled>>, Failure> {
        let Some(deferral) = view.deferral(&self.code)? else { return Ok(Plan::nothing(None)) };
        let Some(intent) = view.intent(&deferral.intent)? else {
            return Err(Failure::damaged(
                "deferrals",
                self.code.to_string(),
                "its intent is not there",
            ));
        };
        let mut writes = Writes::default();
        let intent = expired_first(intent, self.now, &mut writes);
        let (deferral, pace) = deferral.polled(self.now);
        writes.deferrals.push(deferral.clone());
        Ok(Plan { answer: Some(Polled { deferral, intent, pace }), writes })
    }
}

/// Ends a client's own deferral, and withdraws its intent where that may still be withdrawn.
#[derive(Debug)]
pub(crate) struct CancelDeferral {
    pub(crate) code: Digest,
    pub(crate) by: SpiffeId,
    pub(crate) now: Timestamp,
}

impl Transaction for CancelDeferral {
    type Answer = Cancellation;

    fn keys(&self, keys: &mut Keys) {
        keys.deferrals.insert(self.code);
    }

    fn plan(&self, view: &View) -> Result<Plan<Cancellation>, Failure> {
        let own = |deferral: &&Deferral| deferral.client == self.by && deferral.is_open(self.now);
        let Some(deferral) = view.deferral(&self.code)?.filter(own) else {
            return Ok(Plan::nothing(Cancellation::Nothing));
        };
        let mut writes = Writes::default();
        writes.deferrals.push(Deferral { state: DeferralState::Cancelled, ..deferral.clone() });
        if let Some(intent) = view.intent(&deferral.intent)? {
            let intent = expired_first(intent, self.now, &mut writes);
            let cancel = IntentChange::Cancel { by: self.by.clone() };
            // An intent that ended or was used stays what it is.
            if let Ok((next, events)) = intent.apply(&cancel, self.now)
                && !events.is_empty()
            {
                writes.events.extend(events);
                writes.intents.push(next);
            }
        }
        Ok(Plan { answer: Cancellation::Cancelled, writes })
    }
}
