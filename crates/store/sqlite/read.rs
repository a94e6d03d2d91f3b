//! Reads, on a few connections of their own, away from the threads that serve requests.

mod life;

#[cfg(test)]
pub(super) use life::{ENDED, FIRST_PLACE};

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::load::{INTENT, deferral_row, intent_row, kept_row};
use super::{BUSY_TIMEOUT, STATEMENTS, head, kills, open as grants, pace};
use crate::known::KnownIntents;
use crate::open::OpenQuery;
use crate::reader::{Reader, unavailable};
use crate::rows::{CheckpointRow, Head, IntentRow, LeafRow, hashes, leaves, read, signed};
use crate::{Failure, Kept};

/// How many reads run at a time.
const MAX_READERS: usize = 8;

/// Reading connections, opened when they are first needed.
#[derive(Debug)]
pub(super) struct Readers {
    pool: Arc<Pool>,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    intents: Arc<KnownIntents>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, intents: Arc<KnownIntents>) -> Self {
        let pool = Arc::new(Pool { path, intents, idle: Mutex::default() });
        Self { pool, places: Arc::new(Semaphore::new(MAX_READERS)) }
    }

    #[cfg(test)]
    pub(super) fn free_places(&self) -> usize {
        self.places.available_permits()
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let place =
            self.places.clone().acquire_owned().await.map_err(|_closed| Failure::Stopped)?;
        let pool = self.pool.clone();
        // The place is taken as long as the query runs, also when its caller has gone away meanwhile.
        let reading = tokio::task::spawn_blocking(move || {
            let result = pool.run(query);
            drop(place);
            result
        });
        reading.await.map_err(Failure::engine)?
    }
}

impl Pool {
    fn run<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        let result = query(&connection)?;
        // A connection that failed is not used again.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}

fn open(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

impl Reader for Readers {
    fn head(&self) -> BoxFuture<'_, Result<Head, Failure>> {
        self.run(head).boxed()
    }

    fn kills(&self) -> BoxFuture<'_, Result<KillState, Failure>> {
        self.run(kills).boxed()
    }

    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, Failure>> {
        let id = id.clone();
        self.run(move |connection| intent(connection, &id)).boxed()
    }

    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, Failure>> {
        let known = self.pool.intents.clone();
        self.run(move |connection| intents(connection, &known, &filter)).boxed()
    }

    fn token(&self, id: &TokenId) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, Failure>> {
        let (id, known) = (id.clone(), self.pool.intents.clone());
        self.run(move |connection| token(connection, &known, &id)).boxed()
    }

    fn deferral(&self, code: &Digest) -> BoxFuture<'_, Result<Option<Deferral>, Failure>> {
        let code = code.to_string();
        self.run(move |connection| {
            let all = deferrals(connection, "code", &code)?;
            Ok(all.into_iter().next())
        })
        .boxed()
    }

    fn tokens_of(&self, intent: &IntentId) -> BoxFuture<'_, Result<Vec<TokenRecord>, Failure>> {
        let intent = intent.clone();
        self.run(move |connection| life::tokens_of(connection, &intent)).boxed()
    }

    fn tokens_after(
        &self,
        after: Option<TokenId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, Failure>> {
        self.run(move |connection| life::tokens_after(connection, after.as_ref(), limit)).boxed()
    }

    fn tokens(
        &self,
        ids: Vec<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<(TokenRecord, Intent)>, Failure>> {
        let known = self.pool.intents.clone();
        self.run(move |connection| {
            let readable = |id| {
                let read = token(connection, &known, id);
                known.unreadable().pass_over(read).map(Option::flatten).transpose()
            };
            ids.iter().filter_map(readable).collect()
        })
        .boxed()
    }

    fn deferrals_of(&self, client: &SpiffeId) -> BoxFuture<'_, Result<Vec<Deferral>, Failure>> {
        let client = client.clone();
        self.run(move |connection| deferrals(connection, "client", client.as_str())).boxed()
    }

    fn places(&self) -> BoxFuture<'_, Result<Range<u64>, Failure>> {
        self.run(life::places).boxed()
    }

    fn suspects(&self, query: SuspectQuery) -> BoxFuture<'_, Result<Suspects, Failure>> {
        self.run(move |connection| life::suspects(connection, &query)).boxed()
    }

    fn pace(&self, asked: Asked, now: Timestamp) -> BoxFuture<'_, Result<Preview, Failure>> {
        self.run(move |connection| {
            let keys = asked.keys().into_iter().collect();
            let rows = pace::load(connection, &keys)?.into_readable()?.collect();
            Ok(Preview { rows, counts: pace::counts(connection, &asked.agent, now)? })
        })
        .boxed()
    }

    fn denials(&self, filter: DenialFilter) -> BoxFuture<'_, Result<Vec<DenialRecord>, Failure>> {
        self.run(move |connection| pace::denials(connection, &filter)).boxed()
    }

    fn denial(&self, id: DenialId) -> BoxFuture<'_, Result<Option<DenialRecord>, Failure>> {
        self.run(move |connection| pace::denial(connection, &id)).boxed()
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, Failure>> {
        self.run(pace::standings).boxed()
    }

    fn leaves(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Leaf>, LogError>> {
        async move {
            let rows = self.run(move |connection| leaf_rows(connection, from, limit)).await;
            leaves(from, rows.map_err(unavailable)?)
        }
        .boxed()
    }

    fn hashes(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Hash>, LogError>> {
        async move {
            let rows = self.run(move |connection| leaf_rows(connection, from, limit)).await;
            hashes(from, rows.map_err(unavailable)?)
        }
        .boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<StoredCheckpoint>, LogError>> {
        async move {
            let row = self.run(checkpoint_row).await.map_err(unavailable)?;
            row.map(CheckpointRow::into_checkpoint).transpose()
        }
        .boxed()
    }

    fn authorities(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, Failure>> {
        self.run(|connection| {
            documents(
                connection,
                "authorities",
                "SELECT slot, document FROM authorities ORDER BY slot",
            )
        })
        .boxed()
    }

    fn kept(
        &self,
        kind: &str,
        key: Option<&str>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Kept>, Failure>> {
        let (kind, key) = (kind.to_owned(), key.map(str::to_owned));
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT kind, key, version, until, document FROM kept
                 WHERE kind = ?1 AND (?2 IS NULL OR key = ?2) ORDER BY key LIMIT ?3",
            )?;
            let limit = signed(limit as u64);
            let rows = statement.query_map(params![kind, key, limit], kept_row)?;
            rows.map(|row| row?.into_kept()).collect()
        })
        .boxed()
    }

    fn open_ids(
        &self,
        query: OpenQuery,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, Failure>> {
        let known = self.pool.intents.clone();
        self.run(move |connection| grants::ids(connection, &known, &query, limit)).boxed()
    }

    fn orphans(&self, limit: usize) -> BoxFuture<'_, Result<Vec<(IntentId, IntentId)>, Failure>> {
        self.run(move |connection| grants::orphans(connection, limit)).boxed()
    }

    fn open_for(
        &self,
        by: OpenBy,
        names: Vec<String>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<BTreeSet<String>, Failure>> {
        self.run(move |connection| grants::open_for(connection, by, &names, now)).boxed()
    }

    fn open_counts(
        &self,
        by: OpenBy,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OpenCount>, Failure>> {
        self.run(move |connection| grants::counts(connection, by, now)).boxed()
    }

    fn entries(&self) -> BoxFuture<'_, Result<Vec<Entry>, Failure>> {
        self.run(|connection| {
            documents(connection, "entries", "SELECT id, document FROM entries ORDER BY id")
        })
        .boxed()
    }
}

fn intent(connection: &Connection, id: &IntentId) -> Result<Option<Intent>, Failure> {
    let mut statement = connection.prepare_cached(INTENT)?;
    let row = statement.query_row([id.as_str()], intent_row).optional()?;
    row.map(IntentRow::into_intent).transpose()
}

/// The statement that a filter's list is. An alternative to `IS NULL` would keep the indexes of both columns out of use.
pub(super) fn listing(filter: &IntentFilter) -> String {
    let order = match filter.order {
        ListOrder::NewestFirst => "created_at DESC, id DESC",
        ListOrder::Queue => {
            // A row that does not read is last, and stops nobody from seeing the others.
            "CASE json_valid(grants.document) WHEN 1 THEN
                 CASE json_type(grants.document, '$.risk') WHEN 'integer'
                 THEN json_extract(grants.document, '$.risk') END
             END DESC, due_at IS NULL, due_at, created_at, id"
        }
    };
    let of_state = if filter.state.is_some() { "state = ?1" } else { "?1 IS NULL" };
    let of_agent = if filter.agent.is_some() { "agent = ?2" } else { "?2 IS NULL" };
    format!(
        "SELECT id, state, state_version, intents.document, grants.document
         FROM intents LEFT JOIN grants ON grants.intent = intents.id
         WHERE {of_state} AND {of_agent}
         ORDER BY {order} LIMIT ?3",
    )
}

fn intents(
    connection: &Connection,
    known: &KnownIntents,
    filter: &IntentFilter,
) -> Result<Vec<Intent>, Failure> {
    let mut statement = connection.prepare_cached(&listing(filter))?;
    let state = filter.state.map(marque_intent::State::as_str);
    let agent = filter.agent.as_ref().map(marque_spiffe::SpiffeId::as_str);
    let limit = signed(filter.effective_limit() as u64);
    let rows = statement.query_map(params![state, agent, limit], intent_row)?;
    let readable = |row: rusqlite::Result<IntentRow>| {
        let read = row.map_err(Failure::from).and_then(IntentRow::into_intent);
        known.unreadable().pass_over(read).transpose()
    };
    rows.filter_map(readable).collect()
}

fn token(
    connection: &Connection,
    known: &KnownIntents,
    id: &TokenId,
) -> Result<Option<(TokenRecord, Intent)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT intents.id, state, state_version, intents.document, grants.document, tokens.document
         FROM tokens JOIN intents ON intents.id = tokens.intent
         LEFT JOIN grants ON grants.intent = intents.id WHERE tokens.id = ?1",
    )?;
    let found = statement
        .query_row([id.as_str()], |row| Ok((intent_row(row)?, row.get::<_, String>(5)?)))
        .optional()?;
    let Some((intent, document)) = found else { return Ok(None) };
    let intent = known.of_row(intent)?;
    Ok(Some((read("tokens", id.as_str(), &document)?, Intent::clone(&intent))))
}

fn deferrals(
    connection: &Connection,
    column: &'static str,
    value: &str,
) -> Result<Vec<Deferral>, Failure> {
    let query = format!("SELECT code, client, state, document FROM deferrals WHERE {column} = ?1");
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map([value], deferral_row)?;
    rows.map(|row| row?.into_deferral()).collect()
}

fn leaf_rows(connection: &Connection, from: u64, limit: usize) -> Result<Vec<LeafRow>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, hash, leaf FROM leaves WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map([signed(from), signed(limit as u64)], |row| {
        Ok(LeafRow { seq: row.get(0)?, hash: row.get(1)?, leaf: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn checkpoint_row(connection: &Connection) -> Result<Option<CheckpointRow>, Failure> {
    let mut statement = connection.prepare_cached("SELECT size, text, peaks FROM checkpoints")?;
    let row = statement.query_row([], |row| {
        Ok(CheckpointRow { size: row.get(0)?, text: row.get(1)?, peaks: row.get(2)? })
    });
    Ok(row.optional()?)
}

fn documents<T: DeserializeOwned>(
    connection: &Connection,
    table: &'static str,
    query: &str,
) -> Result<Vec<T>, Failure> {
    let mut statement = connection.prepare_cached(query)?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| row.map_err(Failure::from).and_then(|(key, text)| read(table, &key, &text)))
        .collect()
}
