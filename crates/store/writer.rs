//! What both engines' writers share: one attempt for a whole batch, and one for each transaction when that fails.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use marque_exchange::StatusKey;
use marque_intent::KillState;
use marque_intent::pace::PaceSettings;
use marque_spiffe::{Clock, TrustDomain};
use tokio::sync::watch;

use crate::Failure;
use crate::kills::{Heard, KillBoard};
use crate::known::KnownIntents;
use crate::queue::Job;
use crate::transaction::{Batch, Keys, Loaded, Taken};

/// What a writer has besides its connection.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) trust_domain: TrustDomain,
    /// The secret order of places on status lists.
    pub(crate) status_key: StatusKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) kills: KillBoard,
    pub(crate) heard: Heard,
    pub(crate) intents: Arc<KnownIntents>,
    pub(crate) size: watch::Sender<u64>,
    /// The numbers by which requests and refusals are counted; nothing is where there are none.
    pub(crate) pace: RwLock<Option<PaceSettings>>,
    /// The tenant of the trust domain, which leaves name where their event names none.
    pub(crate) tenant: RwLock<Option<String>>,
}

impl Shared {
    /// The rows that the jobs ask for.
    pub(crate) fn keys(jobs: &[Box<dyn Job>]) -> Keys {
        let mut keys = Keys::default();
        jobs.iter().for_each(|job| job.keys(&mut keys));
        keys
    }

    /// Runs the jobs' plans on what was loaded. The answers stay with the jobs.
    pub(crate) fn plan(&self, jobs: &mut [Box<dyn Job>], loaded: Loaded) -> Batch {
        let pending = (self.kills.pending(&loaded.kills), self.kills.agents());
        let taken = Taken {
            now: self.clock.now(),
            instant: Instant::now(),
            monotonic: self.clock.monotonic().map(Into::into),
            tenant: self.tenant.read().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        let mut batch = Batch::new((&self.trust_domain, &self.status_key), loaded, pending, taken);
        jobs.iter_mut().for_each(|job| job.run(&mut batch));
        batch
    }

    /// Tells everybody who watches, once a batch is durable and before its callers are answered.
    pub(crate) fn committed(&self, batch: &Batch) {
        batch.changes().intents.values().for_each(|row| self.intents.keep(&row.intent));
        self.grown(batch.view().next_seq());
        self.kills.store(batch.view().recorded_kills().clone());
    }

    /// The log has this size at least.
    pub(crate) fn grown(&self, size: u64) {
        self.size.send_if_modified(|known| {
            let grown = size > *known;
            *known = size.max(*known);
            grown
        });
    }

    /// The kills as a writer last knew them, if they are still those of this epoch.
    pub(crate) fn known_kills(&self, epoch: u64) -> Option<KillState> {
        Some(self.kills.stored()).filter(|stored| stored.epoch == epoch)
    }
}

/// Answers everybody in a batch.
pub(crate) fn answer(jobs: Vec<Box<dyn Job>>, committed: &Result<(), Failure>) {
    if let Err(failure) = committed {
        tracing::error!(error = failure as &dyn std::error::Error, "a transaction was not done");
    }
    jobs.into_iter().for_each(|job| job.answer(committed.clone()));
}
