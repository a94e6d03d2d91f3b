//! What is read of tokens after their issue.

use std::collections::BTreeMap;
use std::ops::Range;

use marque_exchange::{SuspectQuery, Suspects, TokenId, TokenRecord};
use marque_intent::IntentId;
use rusqlite::{Connection, OptionalExtension, Rows, params};

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

/// By their ids, from the one behind `after` on.
pub(super) fn tokens_after(
    connection: &Connection,
    after: Option<&TokenId>,
    limit: usize,
) -> Result<Vec<TokenRecord>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT id, document FROM tokens WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let after = after.map_or("", TokenId::as_str);
    let rows = statement.query_map(params![after, signed(limit as u64)], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let read = |(id, document): (String, String)| read("tokens", &id, &document);
    rows.map(|row| row.map_err(Failure::from).and_then(read)).collect()
}

/// The first place that is taken: the end of one index, whatever is in the table.
pub(in super::super) const FIRST_PLACE: &str =
    "SELECT place FROM tokens WHERE place IS NOT NULL ORDER BY place LIMIT 1";
/// Tokens of some places that ended before their time: an index that has nothing else in it.
pub(in super::super) const ENDED: &str = "SELECT place, id FROM tokens INDEXED BY tokens_ended
     WHERE place IS NOT NULL AND (ended_at IS NOT NULL OR intent_ended = 1)
     AND place >= ?1 AND place < ?2 AND expires_at > ?3";
/// Every token of some places that was decided on before an epoch.
const DECIDED_BEFORE: &str = "SELECT place, id FROM tokens WHERE place >= ?1 AND place < ?2 AND expires_at > ?3 AND epoch < ?4";

pub(super) fn places(connection: &Connection) -> Result<Range<u64>, Failure> {
    // The head first: a place that is given out meanwhile is behind the end, not before the start.
    let end = head(connection)?.next_place;
    let mut statement = connection.prepare_cached(FIRST_PLACE)?;
    let first: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
    let first = first.map(|place| count("tokens", "place", place)).transpose()?;
    Ok(first.map_or(end, |first| first.min(end))..end)
}

pub(super) fn suspects(connection: &Connection, query: &SuspectQuery) -> Result<Suspects, Failure> {
    let SuspectQuery { places, now, decided_before } = query;
    let recorded_epoch = head(connection)?.kill_epoch;
    let (from, to, now) = (signed(places.start), signed(places.end), micros(*now));
    let mut tokens = BTreeMap::new();
    // Those that ended last: what ends between the two is in one of them.
    if *decided_before > 0 {
        let mut statement = connection.prepare_cached(DECIDED_BEFORE)?;
        let found = statement.query(params![from, to, now, signed(*decided_before)])?;
        take(&mut tokens, found)?;
    }
    let mut statement = connection.prepare_cached(ENDED)?;
    take(&mut tokens, statement.query(params![from, to, now])?)?;
    Ok(Suspects { recorded_epoch, tokens: tokens.into_iter().collect() })
}

/// The columns `place, id`.
fn take(tokens: &mut BTreeMap<u64, TokenId>, mut rows: Rows<'_>) -> Result<(), Failure> {
    while let Some(row) = rows.next()? {
        let id: String = row.get(1)?;
        tokens.insert(count("tokens", &id, row.get(0)?)?, name("tokens", &id, &id)?);
    }
    Ok(())
}
