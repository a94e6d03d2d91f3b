//! Loading the rows of a batch, inside its transaction.

use std::collections::BTreeSet;

use marque_exchange::TokenId;
use marque_intent::{Intent, IntentId};
use rusqlite::{Connection, OptionalExtension};

use super::{head, kills};
use crate::Failure;
use crate::rows::{Idempotency, IntentRow};
use crate::transaction::{Found, Keys, Loaded};
use crate::writer::Shared;

pub(super) fn load(
    connection: &Connection,
    keys: &Keys,
    shared: &Shared,
) -> Result<Loaded, Failure> {
    let head = head(connection)?;
    let kills = match shared.known_kills(head.kill_epoch) {
        Some(known) => known,
        None => kills(connection)?,
    };
    let idempotency = idempotency(connection, keys)?;
    // A replayed request answers with the intent that its key led to.
    let earlier = idempotency.readable().map(|row| &row.intent);
    let intents = intents(connection, keys.intents.iter().chain(earlier))?;
    let entries = if keys.entries { entries(connection)? } else { Vec::new() };
    Ok(Loaded {
        head,
        kills,
        intents,
        tokens: tokens(connection, &keys.tokens)?,
        idempotency,
        entries,
    })
}

fn idempotency(
    connection: &Connection,
    keys: &Keys,
) -> Result<Found<(String, String), Idempotency>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT body, intent, created_at FROM idempotency WHERE agent = ?1 AND key = ?2",
    )?;
    let mut rows = Found::nothing();
    for (agent, key) in &keys.idempotency {
        let found: Option<(String, String, i64)> = statement
            .query_row([agent, key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((body, intent, created_at)) = found {
            let row = Idempotency::of_columns(agent, key, &body, &intent, created_at);
            rows.insert((agent.clone(), key.clone()), row);
        }
    }
    Ok(rows)
}

fn intents<'a>(
    connection: &Connection,
    ids: impl Iterator<Item = &'a IntentId>,
) -> Result<Found<IntentId, Intent>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT id, state, state_version, document FROM intents WHERE id = ?1")?;
    let mut intents = Found::nothing();
    for id in ids {
        if let Some(row) = statement.query_row([id.as_str()], intent_row).optional()? {
            intents.insert(id.clone(), row.into_intent());
        }
    }
    Ok(intents)
}

/// The columns `id, state, state_version, document`.
pub(super) fn intent_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<IntentRow> {
    Ok(IntentRow {
        id: row.get(0)?,
        state: row.get(1)?,
        state_version: row.get(2)?,
        document: row.get(3)?,
    })
}

fn tokens(connection: &Connection, ids: &BTreeSet<TokenId>) -> Result<BTreeSet<TokenId>, Failure> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM tokens WHERE id = ?1")?;
    let mut there = BTreeSet::new();
    for id in ids {
        if statement.exists([id.as_str()])? {
            there.insert(id.clone());
        }
    }
    Ok(there)
}

fn entries(connection: &Connection) -> Result<Vec<(String, String)>, Failure> {
    let mut statement = connection.prepare_cached("SELECT id, spiffe_id FROM entries")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
