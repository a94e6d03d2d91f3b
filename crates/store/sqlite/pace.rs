//! Rows of pace and refusals on record, in SQLite.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::pace::{Family, PaceKey, PaceRow, Standing};
use marque_intent::{DenialFilter, DenialId, DenialRecord, History};
use marque_spiffe::SpiffeId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::Failure;
use crate::rows::{
    Forgotten, document, family_standing, forgotten_pace, history_since, micros, name, read, signed,
};
use crate::transaction::{Changes, Found};
use crate::transactions::Over;

const ROW: &str = "SELECT document FROM pace WHERE key = ?1";

pub(super) fn load(
    connection: &Connection,
    keys: &BTreeSet<PaceKey>,
) -> Result<Found<PaceKey, PaceRow>, Failure> {
    let mut found = Found::nothing();
    let mut statement = connection.prepare_cached(ROW)?;
    for key in keys {
        let text = key.to_string();
        let row: Option<String> = statement.query_row([&text], |row| row.get(0)).optional()?;
        if let Some(row) = row {
            found.insert(key.clone(), read("pace", &text, &row));
        }
    }
    Ok(found)
}

pub(super) fn save(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached("DELETE FROM pace WHERE key = ?1")?;
    for key in &changes.deleted_pace {
        delete.execute([key])?;
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO pace (key, kept_until, document) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE
         SET kept_until = excluded.kept_until, document = excluded.document",
    )?;
    for (key, row) in &changes.pace {
        upsert.execute(params![key.to_string(), micros(row.kept_until()), document(row)?])?;
    }
    let mut delete = connection.prepare_cached("DELETE FROM denials WHERE id = ?1")?;
    for id in &changes.deleted_denials {
        delete.execute([id.as_str()])?;
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO denials (id, agent, code, at, document) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for record in &changes.denials {
        insert.execute(params![
            record.id.as_str(),
            record.agent.as_str(),
            record.denial.code().as_str(),
            micros(record.at),
            document(record)?
        ])?;
    }
    Ok(())
}

/// What may be forgotten: keys of rows, and refusals.
pub(super) fn over(connection: &Connection, over: Over) -> Result<Forgotten, Failure> {
    let limit = signed(over.limit as u64);
    let mut rows = connection.prepare_cached(
        "SELECT key, CASE WHEN key LIKE 'hushed %' THEN document END FROM pace
         WHERE kept_until <= ?1 ORDER BY kept_until LIMIT ?2",
    )?;
    let rows =
        rows.query_map(params![micros(over.now), limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (keys, hushed) = forgotten_pace(rows.collect::<Result<Vec<_>, _>>()?.into_iter());
    let mut rows =
        connection.prepare_cached("SELECT id FROM denials WHERE at <= ?1 ORDER BY at LIMIT ?2")?;
    let ids =
        rows.query_map(params![micros(over.denials_before), limit], |row| row.get::<_, String>(0))?;
    let ids = ids.map(|id| name("denials", "id", &id?)).collect::<Result<_, Failure>>()?;
    Ok((keys, ids, hushed))
}

/// How many refusals an agent had of late, and how many grants it has open now.
pub(super) fn counts(
    connection: &Connection,
    agent: &SpiffeId,
    now: Timestamp,
) -> Result<History, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM denials WHERE agent = ?1 AND at > ?2 LIMIT ?3)),
                (SELECT count(*) FROM (SELECT 1 FROM open_grants
                 JOIN intents ON intents.id = open_grants.intent
                 WHERE kind = 'agent' AND name = ?1 AND state <> 'pending'
                 AND (holds_until IS NULL OR holds_until > ?4) LIMIT ?3))",
    )?;
    let limit = crate::rows::MAX_COUNTED_ROWS;
    Ok(statement
        .query_row(params![agent.as_str(), history_since(now), limit, micros(now)], |row| {
            Ok(History { denials: row.get(0)?, open_grants: row.get(1)?, ..History::default() })
        })?)
}

/// Refusals, newest first.
pub(super) fn denials(
    connection: &Connection,
    filter: &DenialFilter,
) -> Result<Vec<DenialRecord>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT id, document FROM denials
         WHERE (?1 IS NULL OR agent = ?1) AND (?2 IS NULL OR code = ?2) AND at >= ?3
         ORDER BY at DESC, id DESC LIMIT ?4",
    )?;
    let agent = filter.agent.as_ref().map(SpiffeId::as_str);
    let code = filter.code.map(marque_intent::DenialCode::as_str);
    let since = filter.since.map_or(i64::MIN, micros);
    let limit = signed(filter.effective_limit() as u64);
    let rows = statement.query_map(params![agent, code, since, limit], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    rows.map(|row| row.map_err(Failure::from).and_then(|(id, text)| read("denials", &id, &text)))
        .collect()
}

pub(super) fn denial(
    connection: &Connection,
    id: &DenialId,
) -> Result<Option<DenialRecord>, Failure> {
    let mut statement = connection.prepare_cached("SELECT document FROM denials WHERE id = ?1")?;
    let row: Option<String> = statement.query_row([id.as_str()], |row| row.get(0)).optional()?;
    row.map(|text| read("denials", id.as_str(), &text)).transpose()
}

/// Every family that there is a row of.
pub(super) fn standings(connection: &Connection) -> Result<Vec<(Family, Standing)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT key, document FROM pace WHERE key >= ?1 AND key < ?2 ORDER BY key",
    )?;
    let (from, to) = (PaceKey::FAMILIES, PaceKey::AFTER_FAMILIES);
    let rows = statement
        .query_map([from, to], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| row.map_err(Failure::from).and_then(|(key, text)| family_standing(&key, &text)))
        .collect()
}
