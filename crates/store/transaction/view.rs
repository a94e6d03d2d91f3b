//! What plans see: the loaded rows, as the plans before them in the batch have left them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use marque_audit::PrevCheckpoint;
use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, Freshness, SingleUse, StatusKey, TokenId, TokenKind, TokenRecord};
use marque_intent::pace::{Hushed, PaceKey, PaceRow, PaceRows};
use marque_intent::{DenialId, Digest, Intent, IntentId, KillState};
use marque_registry::EntryId;
use marque_spiffe::SpiffeId;

use super::{FoundEntries, OpenGrants, Replays};
use crate::rows::{Head, Idempotency};
use crate::{Failure, Kept};

/// The rows that an engine loaded inside its transaction.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) head: Head,
    /// The kills of the database; the head says whether they must be loaded again.
    pub(crate) kills: KillState,
    pub(crate) intents: Found<IntentId, Arc<Intent>>,
    pub(crate) tokens: Found<TokenId, TokenRecord>,
    /// Families that were asked for and of which not every row reads, with the failure of one of them.
    pub(crate) damaged_families: BTreeMap<IntentId, Failure>,
    /// By agent and key.
    pub(crate) idempotency: Found<(String, String), Idempotency>,
    pub(crate) deferrals: Found<Digest, Deferral>,
    pub(crate) replays: Replays,
    /// By kind and key.
    pub(crate) kept: Found<(String, String), Kept>,
    pub(crate) pace: Found<PaceKey, PaceRow>,
    pub(crate) entries: FoundEntries,
    /// Every authority, when they were asked for.
    pub(crate) authorities: Vec<AuthorityRecord>,
    /// What may be forgotten, when it was asked for.
    pub(crate) over: OverRows,
    pub(crate) open: OpenGrants,
    /// The newest checkpoint that is kept.
    pub(crate) checkpoint: Option<PrevCheckpoint>,
}

/// Rows that may be forgotten.
#[derive(Debug, Default)]
pub(crate) struct OverRows {
    pub(crate) tokens: Vec<TokenId>,
    /// Agent and key.
    pub(crate) idempotency: Vec<(String, String)>,
    /// By their text.
    pub(crate) pace: Vec<String>,
    pub(crate) denials: Vec<DenialId>,
    /// Of the rows of pace those that the log was not told of.
    pub(crate) hushed: Vec<Hushed>,
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

    /// Takes up more rows.
    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Takes a row away.
    pub(crate) fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    fn get(&self, key: &K) -> Result<Option<&V>, Failure> {
        self.0.get(key).map(Result::as_ref).transpose().map_err(Clone::clone)
    }

    fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Every row with its key; an error where one does not read.
    pub(crate) fn into_readable(self) -> Result<impl Iterator<Item = (K, V)>, Failure> {
        let rows = self.0.into_iter().map(|(key, row)| Ok((key, row?)));
        rows.collect::<Result<Vec<_>, Failure>>().map(Vec::into_iter)
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
    pub(super) status_key: StatusKey,
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
        Ok(self.loaded.intents.get(id)?.map(Arc::as_ref))
    }

    /// An intent as it stands; nothing where its row is damaged.
    pub(crate) fn readable_intent(&self, id: &IntentId) -> Result<Option<&Intent>, Failure> {
        match self.intent(id) {
            Err(Failure::Damaged { .. }) => Ok(None),
            found => found,
        }
    }

    /// Every intent that was loaded and reads.
    pub(crate) fn intents(&self) -> impl Iterator<Item = &Intent> {
        self.loaded.intents.readable().map(Arc::as_ref)
    }

    /// What is kept of a token.
    pub(crate) fn token(&self, id: &TokenId) -> Result<Option<&TokenRecord>, Failure> {
        self.loaded.tokens.get(id)
    }

    /// Whether a token has this id.
    pub(crate) fn has_token(&self, id: &TokenId) -> bool {
        self.loaded.tokens.has(id)
    }

    /// The tokens of an intent that derive from others, if they were asked for: every one that is there, or an error. One
    /// that does not read might be what others derive from, so nothing can be said of a part of them.
    pub(crate) fn family(
        &self,
        intent: &IntentId,
    ) -> Result<impl Iterator<Item = &TokenRecord>, Failure> {
        if let Some(damage) = self.loaded.damaged_families.get(intent) {
            return Err(damage.clone());
        }
        let derived = move |token: &&TokenRecord| token.intent == *intent && token.parent.is_some();
        Ok(self.loaded.tokens.readable().filter(derived))
    }

    /// A token that is new, as it is to be kept: an access token has the next place of the status lists.
    pub(crate) fn placed(&self, token: &TokenRecord) -> TokenRecord {
        let mut token = token.clone();
        token.status_index = (token.kind == TokenKind::AccessToken)
            .then(|| self.status_key.place(self.loaded.head.next_place));
        token
    }

    /// What may be forgotten.
    pub(crate) fn over(&self) -> &OverRows {
        &self.loaded.over
    }

    /// The rows of pace that are there, of those that were asked for.
    pub(crate) fn pace(
        &self,
        keys: impl IntoIterator<Item = PaceKey>,
    ) -> Result<PaceRows, Failure> {
        let row = |key: PaceKey| Ok(self.loaded.pace.get(&key)?.map(|row| (key, row.clone())));
        keys.into_iter().filter_map(|key| row(key).transpose()).collect()
    }

    /// Whether all of these proofs are fresh now.
    pub(crate) fn freshness(&self, proofs: &[SingleUse]) -> Result<Freshness, Failure> {
        self.loaded.replays.freshness(proofs, self.now)
    }

    /// What an edge keeps, ended or not.
    pub(crate) fn kept(&self, kind: &str, key: &str) -> Result<Option<&Kept>, Failure> {
        self.loaded.kept.get(&(kind.to_owned(), key.to_owned()))
    }

    /// What is kept of a caller's idempotency key, however old.
    pub(crate) fn idempotency(
        &self,
        caller: &str,
        key: &str,
    ) -> Result<Option<&Idempotency>, Failure> {
        self.loaded.idempotency.get(&(caller.to_owned(), key.to_owned()))
    }

    /// A deferral as it stands.
    pub(crate) fn deferral(&self, code: &Digest) -> Result<Option<&Deferral>, Failure> {
        self.loaded.deferrals.get(code)
    }

    /// Every deferral of a client that reads, if its deferrals were asked for.
    pub(crate) fn deferrals_of(&self, client: &SpiffeId) -> Vec<&Deferral> {
        let all = self.loaded.deferrals.readable();
        all.filter(|deferral| deferral.client == *client).collect()
    }

    /// The open grants that were asked for.
    pub(crate) fn open(&self) -> &OpenGrants {
        &self.loaded.open
    }

    /// Everything that was asked for under an intent, if that was looked for.
    pub(crate) fn below(&self, intent: &IntentId) -> impl Iterator<Item = &IntentId> {
        self.loaded.open.below.get(intent).into_iter().flatten()
    }

    /// When the log was last written to, before this batch or in it.
    pub(crate) fn recorded(&self) -> Option<Timestamp> {
        self.loaded.head.recorded
    }

    /// Every authority, if they were asked for.
    pub(crate) fn authorities(&self) -> &[AuthorityRecord] {
        &self.loaded.authorities
    }

    /// Whether an entry has this id, which was asked for.
    pub(crate) fn has_entry(&self, id: &EntryId) -> bool {
        self.loaded.entries.has(id)
    }

    /// How many entries a template has made that was asked for.
    pub(crate) fn instances_of(&self, template: &EntryId) -> usize {
        self.loaded.entries.instances_of(template)
    }

    /// Whether an entry has this SPIFFE ID, which was asked for.
    pub(crate) fn has_entry_for(&self, spiffe_id: &SpiffeId) -> bool {
        self.loaded.entries.has_for(spiffe_id)
    }
}
