//! Plans run one after the other, their writes collected for one commit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use marque_audit::log::recorded_time;
use marque_audit::{Leaf, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_exchange::TokenRecord;
use marque_intent::{Intent, IntentId, Kill};
use marque_registry::{Entry, EntryId};
use marque_spiffe::TrustDomain;

use super::{Loaded, Transaction, View, Writes};
use crate::Failure;
use crate::journal::Order;
use crate::kills::effective;
use crate::rows::{Idempotency, micros};
use crate::transactions::RecordKill;

/// The plans of one commit.
#[derive(Debug)]
pub(crate) struct Batch {
    trust_domain: TrustDomain,
    view: View,
    pending_kills: Vec<Order>,
    changes: Changes,
}

/// Everything that the engine has to write.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) leaves: Vec<Leaf>,
    /// In the order of ids, each once, whatever happened to it in this batch.
    pub(crate) intents: BTreeMap<IntentId, IntentChangeRow>,
    pub(crate) tokens: Vec<TokenRecord>,
    pub(crate) idempotency: Vec<Idempotency>,
    pub(crate) kills: Vec<Kill>,
    /// By slot, the last one of each.
    pub(crate) authorities: BTreeMap<String, AuthorityRecord>,
    /// To be deleted before the others are created.
    pub(crate) deleted_entries: Vec<EntryId>,
    pub(crate) created_entries: Vec<Entry>,
    /// The newest one.
    pub(crate) checkpoint: Option<StoredCheckpoint>,
}

/// An intent to write.
#[derive(Debug)]
pub(crate) struct IntentChangeRow {
    /// The version that must still be there; none for a new intent.
    pub(crate) replaces: Option<u64>,
    pub(crate) intent: Intent,
}

impl Changes {
    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            leaves,
            intents,
            tokens,
            idempotency,
            kills,
            authorities,
            created_entries,
            deleted_entries,
            checkpoint,
        } = self;
        leaves.is_empty()
            && intents.is_empty()
            && tokens.is_empty()
            && idempotency.is_empty()
            && kills.is_empty()
            && authorities.is_empty()
            && created_entries.is_empty()
            && deleted_entries.is_empty()
            && checkpoint.is_none()
    }
}

impl Batch {
    /// Begins with what was loaded. Kills that were so far only journaled are recorded first.
    pub(crate) fn new(
        trust_domain: &TrustDomain,
        loaded: Loaded,
        pending_kills: Vec<Order>,
        now: Timestamp,
    ) -> Self {
        // Whole microseconds, which is what the head keeps: time must not go back when it is read again.
        let now = Timestamp::from_microsecond(micros(now)).unwrap_or(now);
        let now = recorded_time(loaded.head.recorded, now);
        let in_force = effective(&loaded.kills, &pending_kills);
        let view = View { loaded, in_force, now };
        let mut batch = Self {
            trust_domain: trust_domain.clone(),
            view,
            pending_kills: pending_kills.clone(),
            changes: Changes::default(),
        };
        for order in pending_kills {
            if let Err(error) = batch.run(&RecordKill { order }) {
                // It stays in force and in the journal; the callers of this batch are not to suffer for it.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a kill cannot be recorded"
                );
            }
        }
        batch
    }

    /// Runs one plan, and keeps its writes if it succeeds.
    pub(crate) fn run<T: Transaction>(&mut self, transaction: &T) -> Result<T::Answer, Failure> {
        let plan = transaction.plan(&self.view)?;
        self.take(plan.writes)?;
        Ok(plan.answer)
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The writes of one plan. Everything that can fail comes before anything is kept.
    fn take(&mut self, writes: Writes) -> Result<(), Failure> {
        let Writes {
            events,
            intents,
            tokens,
            idempotency,
            kills,
            authorities,
            created_entries,
            deleted_entries,
            checkpoint,
        } = writes;
        let leaves = (self.view.next_seq()..)
            .zip(events)
            .map(|(seq, event)| Leaf::seal(event, &self.trust_domain, seq, self.view.now))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Failure::event)?;
        if !leaves.is_empty() {
            self.view.loaded.head.size += leaves.len() as u64;
            self.view.loaded.head.recorded = Some(self.view.now);
        }
        self.changes.leaves.extend(leaves);
        intents.into_iter().for_each(|intent| self.take_intent(intent));
        self.view.loaded.tokens.extend(tokens.iter().map(|token| token.id.clone()));
        self.changes.tokens.extend(tokens);
        for row in idempotency {
            let key = (row.agent.to_string(), row.key.clone());
            self.view.loaded.idempotency.insert(key, Ok(row.clone()));
            self.changes.idempotency.push(row);
        }
        kills.into_iter().for_each(|order| self.take_kill(order));
        for record in authorities {
            // The first record of a slot stays: somebody may sign with its key already.
            self.changes.authorities.entry(record.slot.to_string()).or_insert(record);
        }
        let names = |entry: &Entry| (entry.id().to_string(), entry.spiffe_id().to_string());
        self.view.loaded.entries.extend(created_entries.iter().map(names));
        self.changes.created_entries.extend(created_entries);
        for id in deleted_entries {
            self.view.loaded.entries.retain(|(entry, _)| entry != id.as_str());
            self.changes.created_entries.retain(|entry| *entry.id() != id);
            self.changes.deleted_entries.push(id);
        }
        let size = |kept: &StoredCheckpoint| kept.frontier.size();
        self.changes.checkpoint =
            self.changes.checkpoint.take().into_iter().chain(checkpoint).max_by_key(size);
        Ok(())
    }

    fn take_intent(&mut self, intent: Intent) {
        let id = intent.id().clone();
        let before = self.view.loaded.intents.insert(id.clone(), Ok(intent.clone()));
        match self.changes.intents.get_mut(&id) {
            // The row in the database is still the one that the first change of this batch replaces.
            Some(row) => row.intent = intent,
            None => {
                let replaces = before.map(|before| before.state_version());
                self.changes.intents.insert(id, IntentChangeRow { replaces, intent });
            }
        }
    }

    fn take_kill(&mut self, order: Order) {
        let kills = &mut self.view.loaded.kills;
        *kills = kills.after(order.kill, order.at);
        self.changes.kills.extend(kills.kills.last().cloned());
        self.view.loaded.head.kill_epoch = kills.epoch;
        self.view.in_force = effective(kills, &self.pending_kills);
    }
}
