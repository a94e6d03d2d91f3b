//! Loading the rows of a batch, inside its transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, ReplayKey, TokenId, TokenRecord};
use marque_intent::{Digest, Intent, IntentId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{entries, head, kills, open, pace, recent};
use crate::known::KnownIntents;
use crate::rows::{
    DeferralRow, Idempotency, IntentRow, KeptRow, count, instant, micros, name, open_intents,
    prev_checkpoint, read, signed,
};
use crate::transaction::{Found, Keys, Loaded, OverRows, Replays};
use crate::transactions::Over;
use crate::writer::Shared;
use crate::{Failure, Kept};

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
    let deferrals = deferrals(connection, keys)?;
    // A replayed request answers with the intent that its key led to.
    let pace = pace::load(connection, &keys.pace)?;
    let maybe_open: Vec<IntentId> = open_intents(&pace);
    let earlier = idempotency.readable().map(|row| &row.intent);
    // A poll is answered by what its intent is.
    let awaited = deferrals.readable().filter(|row| keys.deferrals.contains(&row.code));
    let awaited = awaited.map(|row| &row.intent);
    let open = open::load(connection, keys, shared.clock.now())?;
    let below = open.below.values().flatten();
    let recent = recent::load(connection, keys.recent.iter())?;
    let wanted = keys.intents.iter().chain(earlier).chain(awaited).chain(below);
    let wanted = wanted.chain(&maybe_open).chain(&recent);
    let intents = intents(connection, wanted, &shared.intents)?;
    let entries = entries::load(connection, &keys.entries)?;
    let authorities = if keys.authorities { authorities(connection)? } else { Vec::new() };
    let mut tokens = tokens(connection, keys)?;
    let expired = head.expired(shared.clock.now());
    let damaged_families = families(connection, keys, expired, &mut tokens)?;
    let over = keys.over.map(|over| rows_over(connection, over)).transpose()?.unwrap_or_default();
    let replays = replays(connection, &keys.replays)?;
    let kept = kept(connection, keys)?;
    let checkpoint = prev_checkpoint(checkpoint_note(connection)?);
    Ok(Loaded {
        head,
        kills,
        intents,
        tokens,
        damaged_families,
        idempotency,
        deferrals,
        replays,
        kept,
        pace,
        entries,
        authorities,
        over,
        open,
        checkpoint,
    })
}

fn checkpoint_note(connection: &Connection) -> Result<Option<String>, Failure> {
    let mut statement = connection.prepare_cached("SELECT text FROM checkpoints")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
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

fn deferrals(connection: &Connection, keys: &Keys) -> Result<Found<Digest, Deferral>, Failure> {
    let mut found = Found::nothing();
    let mut take = |row: DeferralRow| {
        if let Ok(code) = row.code.parse() {
            found.insert(code, row.into_deferral());
        }
    };
    let mut by_code = connection
        .prepare_cached("SELECT code, client, state, document FROM deferrals WHERE code = ?1")?;
    for code in &keys.deferrals {
        by_code.query_row([code.to_string()], deferral_row).optional()?.map(&mut take);
    }
    let mut by_client = connection
        .prepare_cached("SELECT code, client, state, document FROM deferrals WHERE client = ?1")?;
    for client in &keys.deferral_clients {
        for row in by_client.query_map([client.as_str()], deferral_row)? {
            take(row?);
        }
    }
    Ok(found)
}

/// The columns `code, client, state, document`.
pub(super) fn deferral_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<DeferralRow> {
    Ok(DeferralRow {
        code: row.get(0)?,
        client: row.get(1)?,
        state: row.get(2)?,
        document: row.get(3)?,
    })
}

fn intents<'a>(
    connection: &Connection,
    ids: impl Iterator<Item = &'a IntentId>,
    known: &KnownIntents,
) -> Result<Found<IntentId, Arc<Intent>>, Failure> {
    let mut version =
        connection.prepare_cached("SELECT state, state_version FROM intents WHERE id = ?1")?;
    let mut statement = connection.prepare_cached(INTENT)?;
    let mut intents = Found::nothing();
    for id in ids {
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
        let Some((state, version)) = version.query_row([id.as_str()], columns).optional()? else {
            continue;
        };
        // The document is parsed only where it is not known already.
        let intent = match known.in_version(id, &state, version) {
            Some(intent) => Ok(intent),
            None => {
                let row = statement.query_row([id.as_str()], intent_row)?;
                known.of_row(row)
            }
        };
        intents.insert(id.clone(), intent);
    }
    Ok(intents)
}

/// The columns of an intent and its grant, for [`intent_row`].
pub(super) const INTENT: &str = "SELECT id, state, state_version, intents.document, grants.document
     FROM intents LEFT JOIN grants ON grants.intent = intents.id WHERE id = ?1";

/// The columns `id, state, state_version, document`, and the document of the grant.
pub(super) fn intent_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<IntentRow> {
    Ok(IntentRow {
        id: row.get(0)?,
        state: row.get(1)?,
        state_version: row.get(2)?,
        document: row.get(3)?,
        grant: row.get(4)?,
    })
}

fn tokens(connection: &Connection, keys: &Keys) -> Result<Found<TokenId, TokenRecord>, Failure> {
    let mut tokens = Found::nothing();
    let mut one = connection.prepare_cached("SELECT id, document FROM tokens WHERE id = ?1")?;
    for id in &keys.tokens {
        if let Some((id, document)) = one.query_row([id.as_str()], token_columns).optional()? {
            tokens.insert(name("tokens", &id, &id)?, read("tokens", &id, &document));
        }
    }
    Ok(tokens)
}

/// The columns `id, document`.
fn token_columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Loads what has not expired of every family; gives those of which not every row reads.
fn families(
    connection: &Connection,
    keys: &Keys,
    expired: i64,
    tokens: &mut Found<TokenId, TokenRecord>,
) -> Result<BTreeMap<IntentId, Failure>, Failure> {
    let mut damaged = BTreeMap::new();
    let mut family = connection.prepare_cached(
        "SELECT id, document FROM tokens
         WHERE intent = ?1 AND expires_at > ?2 AND parent IS NOT NULL",
    )?;
    for intent in &keys.families {
        for row in family.query_map(params![intent.as_str(), expired], token_columns)? {
            let (id, document) = row?;
            let record: Result<TokenRecord, Failure> = read("tokens", &id, &document);
            if let Err(failure) = &record {
                damaged.insert(intent.clone(), failure.clone());
            }
            tokens.insert(name("tokens", &id, &id)?, record);
        }
    }
    Ok(damaged)
}

fn replays(connection: &Connection, keys: &BTreeSet<ReplayKey>) -> Result<Replays, Failure> {
    if keys.is_empty() {
        return Ok(Replays::default());
    }
    let mut kept = connection.prepare_cached("SELECT kept FROM replay_count")?;
    let kept = count("replay_count", "kept", kept.query_row([], |row| row.get(0))?)?;
    let mut statement = connection.prepare_cached("SELECT until FROM replays WHERE key = ?1")?;
    let mut replays = Replays { kept, ..Replays::default() };
    for key in keys {
        if let Some(until) = statement.query_row([key.as_bytes()], |row| row.get(0)).optional()? {
            replays.known.insert(*key, instant("replays", "until", until)?);
        }
    }
    Ok(replays)
}

fn kept(connection: &Connection, keys: &Keys) -> Result<Found<(String, String), Kept>, Failure> {
    let mut found = Found::nothing();
    if keys.kept.is_empty() {
        return Ok(found);
    }
    let mut statement = connection.prepare_cached(
        "SELECT kind, key, version, until, document FROM kept WHERE kind = ?1 AND key = ?2",
    )?;
    for name in &keys.kept {
        if let Some(row) = statement.query_row([&name.0, &name.1], kept_row).optional()? {
            found.insert(name.clone(), row.into_kept());
        }
    }
    Ok(found)
}

/// The columns `kind, key, version, until, document`.
pub(super) fn kept_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<KeptRow> {
    Ok(KeptRow {
        kind: row.get(0)?,
        key: row.get(1)?,
        version: row.get(2)?,
        until: row.get(3)?,
        document: row.get(4)?,
    })
}

fn authorities(connection: &Connection) -> Result<Vec<AuthorityRecord>, Failure> {
    let mut statement = connection.prepare_cached("SELECT slot, document FROM authorities")?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (slot, document) = row?;
        read("authorities", &slot, &document)
    })
    .collect()
}

fn rows_over(connection: &Connection, over: Over) -> Result<OverRows, Failure> {
    let limit = signed(over.limit as u64);
    let mut tokens = connection.prepare_cached(
        "SELECT id FROM tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
    )?;
    let ids = tokens.query_map(params![micros(over.tokens_expired_before), limit], |row| {
        row.get::<_, String>(0)
    })?;
    let tokens = ids.map(|id| name("tokens", "id", &id?)).collect::<Result<_, _>>()?;
    let mut keys = connection.prepare_cached(
        "SELECT agent, key FROM idempotency WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2",
    )?;
    let keys = keys.query_map(params![micros(over.keys_created_before), limit], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let idempotency = keys.collect::<Result<_, _>>()?;
    let (pace, denials, hushed) = pace::over(connection, over)?;
    Ok(OverRows { tokens, idempotency, pace, denials, hushed })
}
