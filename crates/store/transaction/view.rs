//! What plans see: the loaded rows, as the plans before them in the batch have left them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marque_exchange::TokenId;
use marque_intent::{Intent, IntentId, KillState};
use marque_spiffe::SpiffeId;

use crate::Failure;
use crate::rows::{Head, Idempotency};

/// The rows that an engine loaded inside its transaction.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) head: Head,
    /// The kills of the database; the head says whether they must be loaded again.
    pub(crate) kills: KillState,
    pub(crate) intents: Found<IntentId, Intent>,
    /// Those that are there.
    pub(crate) tokens: BTreeSet<TokenId>,
    /// By agent and key.
    pub(crate) idempotency: Found<(String, String), Idempotency>,
    /// Id and SPIFFE ID of every entry, when they were asked for.
    pub(crate) entries: Vec<(String, String)>,
}

/// The rows that are there, by key. One that no longer reads keeps its failure, which is that of its callers alone.
#[derive(Debug)]
pub(crate) struct Found<K, V>(BTreeMap<K, Result<V, Failure>>);

impl<K: Ord, V> Found<K, V> {
    pub(crate) fn nothing() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes up a row in place of what was there; that, if it read.
    pub(crate) fn insert(&mut self, key: K, row: Result<V, Failure>) -> Option<V> {
        self.0.insert(key, row).and_then(Result::ok)
    }

    fn get(&self, key: &K) -> Result<Option<&V>, Failure> {
        self.0.get(key).map(Result::as_ref).transpose().map_err(Clone::clone)
    }

    /// The rows that read.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &V> {
        self.0.values().flatten()
    }
}

/// The state of the store at one point of a batch.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) loaded: Loaded,
    pub(super) in_force: KillState,
    pub(super) now: Timestamp,
}

impl View {
    /// When this batch is recorded.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The end of the log, with the leaves of this batch.
    pub(crate) fn head(&self) -> &Head {
        &self.loaded.head
    }

    /// The number of the next leaf.
    pub(crate) fn next_seq(&self) -> u64 {
        self.loaded.head.size
    }

    /// Every kill in force, recorded or not.
    pub(crate) fn kills(&self) -> &KillState {
        &self.in_force
    }

    /// The kills that are recorded.
    pub(crate) fn recorded_kills(&self) -> &KillState {
        &self.loaded.kills
    }

    /// An intent as it stands.
    pub(crate) fn intent(&self, id: &IntentId) -> Result<Option<&Intent>, Failure> {
        self.loaded.intents.get(id)
    }

    /// Whether a token has this id.
    pub(crate) fn has_token(&self, id: &TokenId) -> bool {
        self.loaded.tokens.contains(id)
    }

    /// What is kept of an agent's idempotency key, however old.
    pub(crate) fn idempotency(
        &self,
        agent: &SpiffeId,
        key: &str,
    ) -> Result<Option<&Idempotency>, Failure> {
        self.loaded.idempotency.get(&(agent.to_string(), key.to_owned()))
    }

    /// Whether an entry has this id.
    pub(crate) fn has_entry(&self, id: &str) -> bool {
        self.loaded.entries.iter().any(|(entry, _)| entry == id)
    }

    /// Whether an entry has this SPIFFE ID.
    pub(crate) fn has_entry_for(&self, spiffe_id: &SpiffeId) -> bool {
        self.loaded.entries.iter().any(|(_, taken)| taken == spiffe_id.as_str())
    }
}
