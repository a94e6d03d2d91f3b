//! What is read of tokens after their issue.

use std::ops::Range;

use jiff::Timestamp;
use marque_exchange::{SuspectQuery, Suspects, TokenRecord};
use marque_intent::IntentId;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::head;
use crate::Failure;
use crate::rows::{count, micros, name, read, signed};

/// The oldest first.
pub(super) fn tokens_of(
    connection: &Connection,
    intent: &IntentId,
) -> Result<Vec<TokenRecord>, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT id, document FROM tokens WHERE intent = ?1")?;
    let rows = statement.query_map([intent.as_str()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let read = |(id, document): (String, String)| read("tokens", &id, &document);
    let mut tokens: Vec<TokenRecord> =
        rows.map(|row| row.map_err(Failure::from).and_then(read)).collect::<Result<_, _>>()?;
    tokens.sort_by_key(|token| token.issued_at);
    Ok(tokens)
}

pub(super) fn places(connection: &Connection, now: Timestamp) -> Result<Range<u64>, Failure> {
    // The head first: a place that is given out meanwhile is behind the end, not before the start.
    let end = head(connection)?.next_place;
    let mut statement = connection.prepare_cached(
        "SELECT place FROM tokens WHERE place IS NOT NULL AND expires_at > ?1 ORDER BY place LIMIT 1",
    )?;
    let first: Option<i64> = statement.query_row([micros(now)], |row| row.get(0)).optional()?;
    let first = first.map(|place| count("tokens", "place", place)).transpose()?;
    Ok(first.map_or(end, |first| first.min(end))..end)
}

pub(super) fn suspects(connection: &Connection, query: &SuspectQuery) -> Result<Suspects, Failure> {
    let SuspectQuery { places, now, decided_before } = query;
    let recorded_epoch = head(connection)?.kill_epoch;
    let mut statement = connection.prepare_cached(
        "SELECT tokens.place, tokens.id FROM tokens JOIN intents ON intents.id = tokens.intent
         WHERE tokens.place >= ?1 AND tokens.place < ?2 AND tokens.expires_at > ?3
         AND (tokens.ended_at IS NOT NULL OR tokens.epoch < ?4
              OR intents.state NOT IN ('approved', 'consumed'))",
    )?;
    let rows = statement.query_map(
        params![signed(places.start), signed(places.end), micros(*now), signed(*decided_before)],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )?;
    let tokens = rows.map(|row| {
        let (place, id) = row?;
        Ok((count("tokens", &id, place)?, name("tokens", &id, &id)?))
    });
    Ok(Suspects { recorded_epoch, tokens: tokens.collect::<Result<_, Failure>>()? })
}
