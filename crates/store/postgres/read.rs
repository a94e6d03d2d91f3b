//! Reads, on pooled connections.

mod life;
mod pace;

#[cfg(test)]
pub(super) use life::{ENDED, FIRST_PLACE};

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use deadpool_postgres::{Object, Pool};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{Hash, Leaf, LogError, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, SuspectQuery, Suspects, TokenId, TokenRecord};
use marque_intent::pace::{Asked, Family, Standing};
use marque_intent::{
    DenialFilter, DenialId, DenialRecord, Digest, Intent, IntentFilter, IntentId, KillState,
    ListOrder, OpenBy, OpenCount, Preview,
};
use marque_registry::Entry;
use marque_spiffe::SpiffeId;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::load::{self, deferral_row, intent_row, kept_row};
use crate::known::KnownIntents;
use crate::open::OpenQuery;
use crate::reader::{Reader, unavailable};
use crate::rows::{
    CheckpointRow, DeferralRow, Head, IntentRow, KeptRow, LeafRow, hashes, leaves, read, signed,
};
use crate::unreadable::Unreadable;
use crate::{Failure, Kept};

/// The pool that the writer uses too.
#[derive(Debug)]
pub(super) struct PooledReader {
    pool: Pool,
    intents: Arc<KnownIntents>,
}

impl PooledReader {
    pub(super) fn new(pool: Pool, intents: Arc<KnownIntents>) -> Self {
        Self { pool, intents }
    }

    pub(super) async fn query(
        &self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let client: Object = self.pool.get().await?;
        let statement = client.prepare_cached(query).await?;
        Ok(client.query(&statement, parameters).await?)
    }

    /// The rows that were found not to read.
    pub(super) fn unreadable(&self) -> &Unreadable {
        self.intents.unreadable()
    }

    async fn leaf_rows(&self, from: u64, limit: usize) -> Result<Vec<LeafRow>, Failure> {
        let query = "SELECT seq, hash, leaf FROM leaves WHERE seq >= $1 ORDER BY seq LIMIT $2";
        let rows = self.query(query, &[&signed(from), &signed(limit as u64)]).await?;
        rows.iter().map(leaf_row).collect()
    }

    async fn documents<T: DeserializeOwned>(
        &self,
        table: &'static str,
        query: &str,
    ) -> Result<Vec<T>, Failure> {
        let rows = self.query(query, &[]).await?;
        rows.iter().map(|row| read(table, row.try_get(0)?, row.try_get(1)?)).collect()
    }
}

/// The riskiest first. A row that does not read is last, and stops nobody from seeing the others: a document is JSON here, but
/// its risk may be no number, and escapes in it, which this database may refuse to decode, are nothing to it.
const QUEUE_ORDER: &str = r"substring(
        replace(replace(grants.document::text, '\\', '__'), '\u', '_')::json ->> 'risk' from '^[0-9]{1,18}$'
    )::bigint DESC NULLS LAST, due_at NULLS LAST, created_at, id";

impl Reader for PooledReader {
    fn head(&self) -> BoxFuture<'_, Result<Head, Failure>> {
        async move {
            let rows =
                self.query("SELECT size, recorded, kill_epoch, next_place FROM head", &[]).await?;
            rows.first().map_or_else(
                || Err(Failure::damaged("head", "1", "the row is not there")),
                load::head,
            )
        }
        .boxed()
    }

    fn kills(&self) -> BoxFuture<'_, Result<KillState, Failure>> {
        async move {
            load::kills(
                &self.query("SELECT epoch, document::text FROM kills ORDER BY epoch", &[]).await?,
            )
        }
        .boxed()
    }

    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, Failure>> {
        let id = id.clone();
        async move {
            let query =
                "SELECT id, state, state_version, intents.document::text, grants.document::text
                 FROM intents LEFT JOIN grants ON grants.intent = intents.id WHERE id = $1";
            let rows = self.query(query, &[&id.as_str()]).await?;
            rows.first().map(|row| intent_row(row).and_then(IntentRow::into_intent)).transpose()
        }
        .boxed()
    }

    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, Failure>> {
        async move {
            let state = filter.state.map(marque_intent::State::as_str);
            let agent = filter.agent.as_ref().map(marque_spiffe::SpiffeId::as_str);
            let limit = signed(filter.effective_limit() as u64);
            let order = match filter.order {
                ListOrder::NewestFirst => "created_at DESC, id DESC",
                ListOrder::Queue => QUEUE_ORDER,
            };
            // An alternative to `IS NULL` would keep the indexes of both columns out of use.
            let of_state = if state.is_some() { "state = $1" } else { "$1::text IS NULL" };
            let of_agent = if agent.is_some() { "agent = $2" } else { "$2::text IS NULL" };
            let query = format!(
                "SELECT id, state, state_version, intents.document::text, grants.document::text
                         FROM intents LEFT JOIN grants ON grants.intent = intents.id
                         WHERE {of_state} AND {of_agent}
                         ORDER BY {order} LIMIT $3"
            );
            let rows = self.query(&query, &[&state, &agent, &limit]).await?;
            let readable = |row: &Row| {
                let read = intent_row(row).and_then(IntentRow::into_intent);
                self.unreadable().pass_over(read).transpose()
            };
            rows.iter().filter_map(readable).collect()
        }
        .boxed()
    }

    fn token(&self, id: &TokenId) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, Failure>> {
        let id = id.clone();
        async move {
            let query = "SELECT intents.id, state, state_version, intents.document::text, grants.document::text,
                                tokens.document::text
                         FROM tokens JOIN intents ON intents.id = tokens.intent
                         LEFT JOIN grants ON grants.intent = intents.id WHERE tokens.id = $1";
            let rows = self.query(query, &[&id.as_str()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let token = read("tokens", id.as_str(), row.try_get(5)?)?;
            let intent = self.intents.of_row(intent_row(row)?)?;
            Ok(Some((token, Intent::clone(&intent))))
        }
        .boxed()
    }

    fn deferral(&self, code: &Digest) -> BoxFuture<'_, Result<Option<Deferral>, Failure>> {
        let code = code.to_string();
        async move {
            let query = "SELECT code, client, state, document::text FROM deferrals WHERE code = $1";
            let rows = self.query(query, &[&code]).await?;
            rows.first()
                .map(|row| deferral_row(row).and_then(DeferralRow::into_deferral))
                .transpose()
        }
        .boxed()
    }

    fn deferrals_of(&self, client: &SpiffeId) -> BoxFuture<'_, Result<Vec<Deferral>, Failure>> {
        let client = client.clone();
        async move {
            let query =
                "SELECT code, client, state, document::text FROM deferrals WHERE client = $1";
            let rows = self.query(query, &[&client.as_str()]).await?;
            rows.iter().map(|row| deferral_row(row).and_then(DeferralRow::into_deferral)).collect()
        }
        .boxed()
    }

    fn tokens_of(&self, intent: &IntentId) -> BoxFuture<'_, Result<Vec<TokenRecord>, Failure>> {
        let intent = intent.clone();
        async move { self.tokens_of_intent(&intent).await }.boxed()
    }

    fn tokens_after(
        &self,
        after: Option<TokenId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, Failure>> {
        async move { self.tokens_behind(after.as_ref(), limit).await }.boxed()
    }

    fn tokens(
        &self,
        ids: Vec<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<(TokenRecord, Intent)>, Failure>> {
        async move { self.tokens_by_id(&ids).await }.boxed()
    }

    fn places(&self) -> BoxFuture<'_, Result<Range<u64>, Failure>> {
        async move { self.places_kept().await }.boxed()
    }

    fn suspects(&self, query: SuspectQuery) -> BoxFuture<'_, Result<Suspects, Failure>> {
        async move { self.suspects_of(&query).await }.boxed()
    }

    fn pace(&self, asked: Asked, now: Timestamp) -> BoxFuture<'_, Result<Preview, Failure>> {
        async move {
            let rows = self.pace_rows(asked.keys().into_iter().collect()).await?;
            Ok(Preview { rows, counts: self.pace_counts(&asked.agent, now).await? })
        }
        .boxed()
    }

    fn denials(&self, filter: DenialFilter) -> BoxFuture<'_, Result<Vec<DenialRecord>, Failure>> {
        async move { self.denials_by(&filter).await }.boxed()
    }

    fn denial(&self, id: DenialId) -> BoxFuture<'_, Result<Option<DenialRecord>, Failure>> {
        async move { self.denial_by_id(&id).await }.boxed()
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, Failure>> {
        async move { self.family_standings().await }.boxed()
    }

    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>> {
        async move { leaves(from, self.leaf_rows(from, limit).await.map_err(unavailable)?) }.boxed()
    }

    fn hashes(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Hash>, LogError>> {
        async move { hashes(from, self.leaf_rows(from, limit).await.map_err(unavailable)?) }.boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>> {
        async move {
            let rows = self
                .query("SELECT size, text, peaks FROM checkpoints", &[])
                .await
                .map_err(unavailable)?;
            let row = rows.first().map(checkpoint_row).transpose().map_err(unavailable)?;
            row.map(CheckpointRow::into_checkpoint).transpose()
        }
        .boxed()
    }

    fn authorities(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, Failure>> {
        self.documents("authorities", "SELECT slot, document::text FROM authorities ORDER BY slot")
            .boxed()
    }

    fn kept(
        &self,
        kind: &str,
        key: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Kept>, Failure>> {
        let (kind, key) = (kind.to_owned(), key.map(str::to_owned));
        async move {
            let query = "SELECT kind, key, version, until, document::text FROM kept
                         WHERE kind = $1 AND ($2::text IS NULL OR key = $2) ORDER BY key LIMIT $3";
            let limit = signed(limit as u64);
            let rows = self.query(query, &[&kind, &key, &limit]).await?;
            rows.iter().map(|row| kept_row(row).and_then(KeptRow::into_kept)).collect()
        }
        .boxed()
    }

    fn open_ids(
        &self,
        query: OpenQuery,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, Failure>> {
        async move { self.ids_of_open(&query, limit).await }.boxed()
    }

    fn orphans(&self, limit: usize) -> BoxFuture<'_, Result<Vec<(IntentId, IntentId)>, Failure>> {
        async move { self.orphaned(limit).await }.boxed()
    }

    fn open_for(
        &self,
        by: OpenBy,
        names: Vec<String>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<BTreeSet<String>, Failure>> {
        async move { self.grants_open_for(by, &names, now).await }.boxed()
    }

    fn open_counts(
        &self,
        by: OpenBy,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OpenCount>, Failure>> {
        async move { self.counts_of_open(by, now).await }.boxed()
    }

    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, Failure>> {
        self.documents("entries", "SELECT id, document::text FROM entries ORDER BY id").boxed()
    }
}

fn leaf_row(row: &Row) -> Result<LeafRow, Failure> {
    Ok(LeafRow { seq: row.try_get(0)?, hash: row.try_get(1)?, leaf: row.try_get(2)? })
}

fn checkpoint_row(row: &Row) -> Result<CheckpointRow, Failure> {
    Ok(CheckpointRow { size: row.try_get(0)?, text: row.try_get(1)?, peaks: row.try_get(2)? })
}
