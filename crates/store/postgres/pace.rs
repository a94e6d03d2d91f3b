//! Rows of pace and refusals on record, in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Transaction;
use marque_intent::DenialId;
use marque_intent::pace::{PaceKey, PaceRow};

use super::save::{all, execute};
use crate::Failure;
use crate::rows::{Forgotten, document, forgotten_pace, micros, name, read, signed};
use crate::transaction::{Changes, Found};
use crate::transactions::Over;

pub(super) async fn load(
    transaction: &Transaction<'_>,
    keys: &BTreeSet<PaceKey>,
) -> Result<Found<PaceKey, PaceRow>, Failure> {
    let mut found = Found::nothing();
    if keys.is_empty() {
        return Ok(found);
    }
    let names: BTreeMap<String, &PaceKey> = keys.iter().map(|key| (key.to_string(), key)).collect();
    let texts: Vec<&str> = names.keys().map(String::as_str).collect();
    let query = transaction
        .prepare_cached("SELECT key, document::text FROM pace WHERE key = ANY($1::text[])")
        .await?;
    for row in transaction.query(&query, &[&texts]).await? {
        let text: &str = row.try_get(0)?;
        if let Some(key) = names.get(text) {
            found.insert((*key).clone(), read("pace", text, row.try_get(1)?));
        }
    }
    Ok(found)
}

pub(super) async fn save(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    if !changes.deleted_pace.is_empty() {
        let keys: Vec<&str> = changes.deleted_pace.iter().map(String::as_str).collect();
        execute(transaction, "DELETE FROM pace WHERE key = ANY($1::text[])", &[&keys]).await?;
    }
    if !changes.pace.is_empty() {
        let keys: Vec<String> = changes.pace.keys().map(ToString::to_string).collect();
        let ends: Vec<i64> = changes.pace.values().map(|row| micros(row.kept_until())).collect();
        let documents = changes.pace.values().map(document).collect::<Result<Vec<_>, _>>()?;
        let written = execute(
            transaction,
            "INSERT INTO pace (key, kept_until, document)
             SELECT key, kept_until, document::json
             FROM unnest($1::text[], $2::bigint[], $3::text[]) AS new (key, kept_until, document)
             ON CONFLICT (key) DO UPDATE
             SET kept_until = excluded.kept_until, document = excluded.document",
            &[&keys, &ends, &documents],
        )
        .await?;
        all(written, keys.len(), "pace")?;
    }
    denials(transaction, changes).await
}

async fn denials(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    if !changes.deleted_denials.is_empty() {
        let ids: Vec<&str> = changes.deleted_denials.iter().map(DenialId::as_str).collect();
        execute(transaction, "DELETE FROM denials WHERE id = ANY($1::text[])", &[&ids]).await?;
    }
    let records = &changes.denials;
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = records.iter().map(|one| one.id.as_str()).collect();
    let agents: Vec<&str> = records.iter().map(|one| one.agent.as_str()).collect();
    let codes: Vec<&str> = records.iter().map(|one| one.denial.code().as_str()).collect();
    let instants: Vec<i64> = records.iter().map(|one| micros(one.at)).collect();
    let documents = records.iter().map(document).collect::<Result<Vec<_>, _>>()?;
    let written = execute(
        transaction,
        "INSERT INTO denials (id, agent, code, at, document)
         SELECT id, agent, code, at, document::json
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
         AS new (id, agent, code, at, document)",
        &[&ids, &agents, &codes, &instants, &documents],
    )
    .await?;
    all(written, records.len(), "denials")
}

/// What may be forgotten: keys of rows, and refusals.
pub(super) async fn over(transaction: &Transaction<'_>, over: Over) -> Result<Forgotten, Failure> {
    let limit = signed(over.limit as u64);
    let query = transaction
        .prepare_cached(
            "SELECT key, CASE WHEN key LIKE 'hushed %' THEN document::text END FROM pace
             WHERE kept_until <= $1 ORDER BY kept_until LIMIT $2",
        )
        .await?;
    let rows = transaction.query(&query, &[&micros(over.now), &limit]).await?;
    let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    let (keys, hushed) = forgotten_pace(rows.into_iter());
    let query = transaction
        .prepare_cached("SELECT id FROM denials WHERE at <= $1 ORDER BY at LIMIT $2")
        .await?;
    let rows = transaction.query(&query, &[&micros(over.denials_before), &limit]).await?;
    let ids = rows.iter().map(|row| name("denials", "id", row.try_get(0)?));
    Ok((keys, ids.collect::<Result<_, Failure>>()?, hushed))
}
