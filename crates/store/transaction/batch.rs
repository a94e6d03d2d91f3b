//! Plans run one after the other, their writes collected for one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use marque_audit::log::recorded_time;
use marque_audit::{Correlation, Event, Leaf, Monotonic, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, SingleUse, StatusKey, TokenId, TokenRecord};
use marque_intent::pace::{PaceKey, PaceRow};
use marque_intent::{
    Agents, DenialId, DenialRecord, Digest, Holding, Intent, IntentId, KillRecord,
    break_glass_event,
};
use marque_keys::SlotId;
use marque_registry::{Entry, EntryId};
use marque_spiffe::TrustDomain;

use super::{Loaded, Transaction, View, Writes};
use crate::journal::Order;
use crate::kills::effective;
use crate::rows::{Idempotency, micros};
use crate::transactions::RecordKill;
use crate::{Failure, Kept};

/// The plans of one commit.
#[derive(Debug)]
pub(crate) struct Batch {
    trust_domain: TrustDomain,
    view: View,
    pending_kills: Vec<Order>,
    agents: Option<Arc<dyn Agents>>,
    taken: Taken,
    changes: Changes,
}

/// When the log takes the leaves of a batch, and whose it is.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) now: Timestamp,
    /// The same instant on the process's own clock, by which requests are timed.
    pub(crate) instant: Instant,
    /// The same instant on the host's clock that nobody sets.
    pub(crate) monotonic: Option<Monotonic>,
    pub(crate) tenant: Option<String>,
}

impl Taken {
    /// The event with how long its request has taken, which is named unless one is.
    fn of_request(&self, event: Event, request: &Correlation) -> Event {
        let mut event = event.of_request(request);
        let taken = request.taken(self.instant);
        event.latency_us = event.latency_us.or_else(|| u64::try_from(taken?.as_micros()).ok());
        event
    }
}

/// Everything that the engine has to write.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) leaves: Vec<Leaf>,
    /// In the order of ids, each once, whatever happened to it in this batch.
    pub(crate) intents: BTreeMap<IntentId, IntentChangeRow>,
    /// By id, with whether it was there before this batch.
    pub(crate) tokens: BTreeMap<TokenId, TokenChangeRow>,
    pub(crate) idempotency: Vec<Idempotency>,
    /// To be deleted before the others are written.
    pub(crate) forgotten_deferrals: Vec<Digest>,
    /// By code, as the last plan left them.
    pub(crate) deferrals: BTreeMap<Digest, Deferral>,
    pub(crate) replays: Vec<SingleUse>,
    /// How many of `replays` have no row yet.
    pub(crate) new_replays: u64,
    /// By key, as the last plan left them.
    pub(crate) pace: BTreeMap<PaceKey, PaceRow>,
    pub(crate) denials: Vec<DenialRecord>,
    pub(crate) kills: Vec<KillRecord>,
    /// By slot, as the last plan left them; `None` to be deleted.
    pub(crate) authorities: BTreeMap<SlotId, Option<AuthorityRecord>>,
    /// To be deleted before the others are created.
    pub(crate) deleted_entries: Vec<EntryId>,
    pub(crate) created_entries: Vec<Entry>,
    /// To be deleted after everything else.
    pub(crate) deleted_tokens: BTreeSet<TokenId>,
    /// Agent and key. To be deleted before others are written.
    pub(crate) deleted_idempotency: BTreeSet<(String, String)>,
    /// To be deleted before others are written.
    pub(crate) deleted_pace: BTreeSet<String>,
    pub(crate) deleted_denials: BTreeSet<DenialId>,
    /// The newest one.
    pub(crate) checkpoint: Option<StoredCheckpoint>,
    /// By kind and key, as the last plan left them; `None` to be deleted.
    pub(crate) kept: BTreeMap<(String, String), Option<Kept>>,
}

/// A token to write.
#[derive(Debug)]
pub(crate) struct TokenChangeRow {
    pub(crate) is_new: bool,
    pub(crate) token: TokenRecord,
}

/// An intent to write.
#[derive(Debug)]
pub(crate) struct IntentChangeRow {
    /// The version that must still be there; none for a new intent.
    pub(crate) replaces: Option<u64>,
    /// What was there before this batch; none for a new intent.
    pub(crate) before: Option<Arc<Intent>>,
    pub(crate) intent: Arc<Intent>,
}

impl IntentChangeRow {
    /// What it counts against and did not before.
    pub(crate) fn new_holdings(&self) -> Vec<Holding> {
        let mut holdings = self.intent.holdings();
        if let Some(before) = &self.before {
            let known = before.holdings();
            holdings.retain(|holding| !known.contains(holding));
        }
        holdings
    }

    /// The intents that a new one was asked for under.
    pub(crate) fn new_ancestors(&self) -> Vec<&IntentId> {
        let nearest = self.intent.grant().parent.as_ref().filter(|_| self.replaces.is_none());
        nearest.into_iter().flat_map(|nearest| nearest.chain()).map(|one| &one.id).collect()
    }

    /// Whether what was asked for is something else than before: a pending intent of which the playbook changed. What an
    /// approver narrowed is in its course.
    pub(crate) fn has_another_grant(&self) -> bool {
        let digest = self.intent.shared_grant().digest();
        self.before.as_ref().is_some_and(|before| before.shared_grant().digest() != digest)
    }
}

impl Changes {
    /// The intents that end here: their tokens end with them. To be marked after all tokens are written.
    pub(crate) fn ended_intents(&self) -> impl Iterator<Item = &IntentId> {
        self.intents.iter().filter(|(_, row)| row.intent.state().is_terminal()).map(|(id, _)| id)
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            leaves,
            intents,
            tokens,
            idempotency,
            forgotten_deferrals,
            deferrals,
            replays,
            new_replays: _,
            pace,
            denials,
            kills,
            authorities,
            created_entries,
            deleted_entries,
            deleted_tokens,
            deleted_idempotency,
            deleted_pace,
            deleted_denials,
            checkpoint,
            kept,
        } = self;
        leaves.is_empty()
            && intents.is_empty()
            && tokens.is_empty()
            && idempotency.is_empty()
            && forgotten_deferrals.is_empty()
            && deferrals.is_empty()
            && replays.is_empty()
            && pace.is_empty()
            && denials.is_empty()
            && deleted_pace.is_empty()
            && deleted_denials.is_empty()
            && kills.is_empty()
            && authorities.is_empty()
            && created_entries.is_empty()
            && deleted_entries.is_empty()
            && deleted_tokens.is_empty()
            && deleted_idempotency.is_empty()
            && checkpoint.is_none()
            && kept.is_empty()
    }
}

impl Batch {
    /// Begins with what was loaded. Kills that were so far only journaled are recorded first.
    pub(crate) fn new(
        (trust_domain, status_key): (&TrustDomain, &StatusKey),
        loaded: Loaded,
        (pending_kills, agents): (Vec<Order>, Option<Arc<dyn Agents>>),
        taken: Taken,
    ) -> Self {
        let now = taken.now;
        // Whole microseconds, which is what the head keeps: time must not go back when it is read again.
        let now = Timestamp::from_microsecond(micros(now)).unwrap_or(now);
        let now = recorded_time(loaded.head.recorded, now);
        let in_force = effective(&loaded.kills, &pending_kills).with_agents(agents.clone());
        let view = View { loaded, in_force, status_key: status_key.clone(), now };
        let mut batch = Self {
            trust_domain: trust_domain.clone(),
            view,
            pending_kills: pending_kills.clone(),
            agents,
            taken,
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
        self.run_for(None, transaction)
    }

    /// Runs one plan for a request, which the leaves name.
    pub(crate) fn run_for<T: Transaction>(
        &mut self,
        request: Option<Correlation>,
        transaction: &T,
    ) -> Result<T::Answer, Failure> {
        let mut plan = transaction.plan(&self.view)?;
        if let Some(request) = request {
            let events = std::mem::take(&mut plan.writes.events);
            plan.writes.events =
                events.into_iter().map(|event| self.taken.of_request(event, &request)).collect();
        }
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
            changed_tokens,
            idempotency,
            deferrals,
            forgotten_deferrals,
            replays,
            pace,
            denials,
            kills,
            authorities,
            deleted_authorities,
            created_entries,
            deleted_entries,
            deleted_tokens,
            deleted_idempotency,
            deleted_pace,
            deleted_denials,
            checkpoint,
            kept,
            forgotten_kept,
        } = writes;
        let leaves = self.leaves(events)?;
        self.view.loaded.head.size += leaves.len() as u64;
        if !leaves.is_empty() || !replays.is_empty() || !kept.is_empty() {
            // Proofs are forgotten by this clock, which must not go back either.
            self.view.loaded.head.recorded = Some(self.view.now);
        }
        self.changes.leaves.extend(leaves);
        intents.into_iter().for_each(|intent| self.take_intent(intent));
        tokens.into_iter().for_each(|token| self.take_token(token, true));
        changed_tokens.into_iter().for_each(|token| self.take_token(token, false));
        for row in idempotency {
            let key = (row.caller.clone(), row.key.clone());
            self.view.loaded.idempotency.insert(key, Ok(row.clone()));
            self.changes.idempotency.push(row);
        }
        self.take_deferrals(forgotten_deferrals, deferrals);
        for proof in replays {
            self.changes.new_replays += u64::from(self.view.loaded.replays.remember(proof));
            self.changes.replays.push(proof);
        }
        for (key, row) in pace {
            self.view.loaded.pace.insert(key.clone(), Ok(row.clone()));
            self.changes.pace.insert(key, row);
        }
        self.changes.denials.extend(denials);
        self.changes.deleted_pace.extend(deleted_pace);
        self.changes.deleted_denials.extend(deleted_denials);
        kills.into_iter().for_each(|order| self.take_kill(order));
        self.take_authorities(deleted_authorities, authorities);
        self.take_entries(deleted_entries, created_entries);
        self.changes.deleted_tokens.extend(deleted_tokens);
        self.changes.deleted_idempotency.extend(deleted_idempotency);
        self.take_kept(kept, forgotten_kept);
        let size = |kept: &StoredCheckpoint| kept.frontier.size();
        self.changes.checkpoint =
            self.changes.checkpoint.take().into_iter().chain(checkpoint).max_by_key(size);
        Ok(())
    }

    /// The leaves of events. What happens to a break-glass grant is told in a stream of its own too, whoever wrote it.
    fn leaves(&self, events: Vec<Event>) -> Result<Vec<Leaf>, Failure> {
        let events = events.into_iter().flat_map(|event| {
            let break_glass = break_glass_event(&event);
            std::iter::once(event).chain(break_glass)
        });
        (self.view.next_seq()..)
            .zip(events)
            .map(|(seq, event)| {
                Leaf::seal(self.measured(event), &self.trust_domain, seq, self.view.now)
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(Failure::event)
    }

    /// The event with what only the log knows of it.
    fn measured(&self, event: Event) -> Event {
        let mut event = match &self.taken.tenant {
            Some(tenant) => event.of_tenant(tenant.as_str()),
            None => event,
        };
        event.monotonic = self.taken.monotonic;
        event.prev_checkpoint = self.view.loaded.checkpoint;
        event
    }

    fn take_intent(&mut self, intent: Intent) {
        let (id, intent) = (intent.id().clone(), Arc::new(intent));
        self.view.loaded.open.take(&intent);
        let before = self.view.loaded.intents.insert(id.clone(), Ok(Arc::clone(&intent)));
        match self.changes.intents.get_mut(&id) {
            // The row in the database is still the one that the first change of this batch replaces.
            Some(row) => row.intent = intent,
            None => {
                let replaces = before.as_ref().map(|before| before.state_version());
                self.changes.intents.insert(id, IntentChangeRow { replaces, before, intent });
            }
        }
    }

    fn take_token(&mut self, token: TokenRecord, is_new: bool) {
        if is_new && token.status_index.is_some() {
            self.view.loaded.head.next_place += 1;
        }
        self.view.loaded.tokens.insert(token.id.clone(), Ok(token.clone()));
        match self.changes.tokens.get_mut(&token.id) {
            // Where it was made in this batch it is still to be made, in the form that it has now.
            Some(row) => row.token = token,
            None => {
                drop(self.changes.tokens.insert(token.id.clone(), TokenChangeRow { is_new, token }))
            }
        }
    }

    fn take_deferrals(&mut self, forgotten: Vec<Digest>, deferrals: Vec<Deferral>) {
        for code in forgotten {
            self.view.loaded.deferrals.remove(&code);
            self.changes.deferrals.remove(&code);
            self.changes.forgotten_deferrals.push(code);
        }
        for deferral in deferrals {
            self.view.loaded.deferrals.insert(deferral.code, Ok(deferral.clone()));
            self.changes.deferrals.insert(deferral.code, deferral);
        }
    }

    fn take_authorities(&mut self, deleted: Vec<SlotId>, records: Vec<AuthorityRecord>) {
        for slot in deleted {
            self.view.loaded.authorities.retain(|record| record.slot != slot);
            self.changes.authorities.insert(slot, None);
        }
        for record in records {
            self.view.loaded.authorities.retain(|known| known.slot != record.slot);
            self.view.loaded.authorities.push(record.clone());
            self.changes.authorities.insert(record.slot.clone(), Some(record));
        }
    }

    /// What is deleted goes first, in the engines too: a transaction may put an entry in the place of another.
    fn take_entries(&mut self, deleted: Vec<EntryId>, created: Vec<Entry>) {
        for id in deleted {
            self.view.loaded.entries.remove(&id);
            self.changes.created_entries.retain(|entry| *entry.id() != id);
            self.changes.deleted_entries.push(id);
        }
        created.iter().for_each(|entry| self.view.loaded.entries.add(entry));
        self.changes.created_entries.extend(created);
    }

    fn take_kept(&mut self, kept: Vec<Kept>, forgotten: Vec<(String, String)>) {
        for row in kept {
            let name = (row.kind.clone(), row.key.clone());
            self.view.loaded.kept.insert(name.clone(), Ok(row.clone()));
            self.changes.kept.insert(name, Some(row));
        }
        for name in forgotten {
            self.view.loaded.kept.remove(&name);
            self.changes.kept.insert(name, None);
        }
    }

    fn take_kill(&mut self, order: Order) {
        let kills = &mut self.view.loaded.kills;
        self.changes.kills.push(kills.take(order.what, order.at));
        self.view.loaded.head.kill_epoch = kills.epoch;
        self.view.in_force = effective(kills, &self.pending_kills).with_agents(self.agents.clone());
    }
}
