//! Loading and locking the rows of a batch, inside its transaction.
//!
//! The head comes first: whoever has it has the turn. What is read after it is what the last turn left, because at READ
//! COMMITTED every statement sees what was committed before it began.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use marque_intent::{Intent, IntentId, KillState};
use tokio_postgres::Row;

use crate::Failure;
use crate::rows::{Head, Idempotency, IntentRow, kill_state};
use crate::transaction::{Found, Keys, Loaded};
use crate::writer::Shared;

pub(super) async fn load(
    transaction: &Transaction<'_>,
    keys: &Keys,
    shared: &Shared,
) -> Result<Loaded, Failure> {
    let lock = transaction
        .prepare_cached("SELECT size, recorded, kill_epoch FROM head FOR UPDATE")
        .await?;
    let head = head(&transaction.query_one(&lock, &[]).await?)?;
    let kills = match shared.known_kills(head.kill_epoch) {
        Some(known) => known,
        None => kills(
            &transaction
                .query("SELECT epoch, document::text FROM kills ORDER BY epoch", &[])
                .await?,
        )?,
    };
    let entries = async { if keys.entries { entries(transaction).await } else { Ok(Vec::new()) } };
    let (idempotency, tokens, entries) =
        futures::try_join!(idempotency(transaction, keys), tokens(transaction, keys), entries)?;
    // A replayed request answers with the intent that its key led to.
    let earlier = idempotency.readable().map(|row| &row.intent);
    let wanted: BTreeSet<_> = keys.intents.iter().chain(earlier).collect();
    let intents = intents(transaction, &wanted).await?;
    Ok(Loaded { head, kills, intents, tokens, idempotency, entries })
}

/// The columns `size, recorded, kill_epoch`.
pub(super) fn head(row: &Row) -> Result<Head, Failure> {
    Head::of_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
}

/// The columns `epoch, document`.
pub(super) fn kills(rows: &[Row]) -> Result<KillState, Failure> {
    let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    kill_state(rows.collect::<Result<_, tokio_postgres::Error>>()?)
}

/// The columns `id, state, state_version, document`.
pub(super) fn intent_row(row: &Row) -> Result<IntentRow, Failure> {
    Ok(IntentRow {
        id: row.try_get(0)?,
        state: row.try_get(1)?,
        state_version: row.try_get(2)?,
        document: row.try_get(3)?,
    })
}

async fn idempotency(
    transaction: &Transaction<'_>,
    keys: &Keys,
) -> Result<Found<(String, String), Idempotency>, Failure> {
    if keys.idempotency.is_empty() {
        return Ok(Found::nothing());
    }
    let (agents, names): (Vec<&str>, Vec<&str>) =
        keys.idempotency.iter().map(|(agent, key)| (agent.as_str(), key.as_str())).unzip();
    let query = transaction
        .prepare_cached(
            "SELECT agent, key, body, intent, created_at FROM idempotency
             WHERE (agent, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
             ORDER BY agent, key FOR UPDATE",
        )
        .await?;
    let mut found = Found::nothing();
    for row in transaction.query(&query, &[&agents, &names]).await? {
        let (agent, key): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (body, intent): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let read = Idempotency::of_columns(&agent, &key, &body, &intent, row.try_get(4)?);
        found.insert((agent, key), read);
    }
    Ok(found)
}

async fn intents(
    transaction: &Transaction<'_>,
    ids: &BTreeSet<&IntentId>,
) -> Result<Found<IntentId, Intent>, Failure> {
    if ids.is_empty() {
        return Ok(Found::nothing());
    }
    let query = transaction
        .prepare_cached(
            "SELECT id, state, state_version, document::text FROM intents
             WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE",
        )
        .await?;
    let names: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    let mut found = Found::nothing();
    for row in transaction.query(&query, &[&names]).await? {
        let row = intent_row(&row)?;
        let id = ids.iter().find(|id| id.as_str() == row.id).map(|id| (*id).clone());
        if let Some(id) = id {
            found.insert(id, row.into_intent());
        }
    }
    Ok(found)
}

async fn tokens(
    transaction: &Transaction<'_>,
    keys: &Keys,
) -> Result<BTreeSet<marque_exchange::TokenId>, Failure> {
    if keys.tokens.is_empty() {
        return Ok(BTreeSet::new());
    }
    let query =
        transaction.prepare_cached("SELECT id FROM tokens WHERE id = ANY($1::text[])").await?;
    let names: Vec<&str> = keys.tokens.iter().map(|id| id.as_str()).collect();
    let mut there = BTreeSet::new();
    for row in transaction.query(&query, &[&names]).await? {
        let found: &str = row.try_get(0)?;
        there.extend(keys.tokens.iter().find(|id| id.as_str() == found).cloned());
    }
    Ok(there)
}

async fn entries(transaction: &Transaction<'_>) -> Result<Vec<(String, String)>, Failure> {
    let rows = transaction.query("SELECT id, spiffe_id FROM entries", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
