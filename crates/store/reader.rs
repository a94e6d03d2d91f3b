//! What is read outside of transactions, whatever the engine.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{Hash, Leaf, LogError, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, SuspectQuery, Suspects, TokenId, TokenRecord};
use marque_intent::pace::{Asked, Family, Standing};
use marque_intent::{
    DenialFilter, DenialId, DenialRecord, Digest, Intent, IntentFilter, IntentId, KillState,
    OpenBy, OpenCount, Preview,
};
use marque_registry::Entry;
use marque_spiffe::SpiffeId;

use crate::open::OpenQuery;
use crate::rows::Head;
use crate::{Failure, Kept};

/// Reads of committed rows.
pub(crate) trait Reader: Debug + Send + Sync {
    fn head(&self) -> BoxFuture<'_, Result<Head, Failure>>;
    fn kills(&self) -> BoxFuture<'_, Result<KillState, Failure>>;
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, Failure>>;
    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, Failure>>;
    fn token(&self, id: &TokenId) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, Failure>>;
    fn deferral(&self, code: &Digest) -> BoxFuture<'_, Result<Option<Deferral>, Failure>>;
    fn deferrals_of(&self, client: &SpiffeId) -> BoxFuture<'_, Result<Vec<Deferral>, Failure>>;
    fn tokens_of(&self, intent: &IntentId) -> BoxFuture<'_, Result<Vec<TokenRecord>, Failure>>;
    /// By their ids, from the one behind `after` on.
    fn tokens_after(
        &self,
        after: Option<TokenId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, Failure>>;
    fn tokens(
        &self,
        ids: Vec<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<(TokenRecord, Intent)>, Failure>>;
    fn places(&self) -> BoxFuture<'_, Result<Range<u64>, Failure>>;
    fn suspects(&self, query: SuspectQuery) -> BoxFuture<'_, Result<Suspects, Failure>>;
    fn pace(&self, asked: Asked, now: Timestamp) -> BoxFuture<'_, Result<Preview, Failure>>;
    fn denials(&self, filter: DenialFilter) -> BoxFuture<'_, Result<Vec<DenialRecord>, Failure>>;
    fn denial(&self, id: DenialId) -> BoxFuture<'_, Result<Option<DenialRecord>, Failure>>;
    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, Failure>>;
    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>>;
    fn hashes(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Hash>, LogError>>;
    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>>;
    fn authorities(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, Failure>>;
    /// By their keys, the first so many.
    fn kept(
        &self,
        kind: &str,
        key: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Kept>, Failure>>;
    fn open_ids(
        &self,
        query: OpenQuery,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, Failure>>;
    /// Child and parent.
    fn orphans(&self, limit: usize) -> BoxFuture<'_, Result<Vec<(IntentId, IntentId)>, Failure>>;
    fn open_for(
        &self,
        by: OpenBy,
        names: Vec<String>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<BTreeSet<String>, Failure>>;
    fn open_counts(
        &self,
        by: OpenBy,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OpenCount>, Failure>>;
    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, Failure>>;
}

/// Storage failed, in the words of the log.
pub(crate) fn unavailable(failure: Failure) -> LogError {
    LogError::Unavailable(Box::new(failure))
}
