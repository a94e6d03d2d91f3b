//! Open grants in SQLite: loaded for a batch, written with it, and read for overviews and upkeep.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use marque_intent::{IntentId, MAX_OPEN_NAMES, OpenBy, OpenCount};
use rusqlite::{Connection, params};

use crate::Failure;
use crate::known::KnownIntents;
use crate::open::OpenQuery;
use crate::rows::{MAX_COUNTED_ROWS, count, micros, name, signed};
use crate::transaction::{Changes, Keys, OpenGrants};

/// What counts against the things that were asked for, and what hangs below the intents that were.
pub(super) fn load(
    connection: &Connection,
    keys: &Keys,
    now: Timestamp,
) -> Result<OpenGrants, Failure> {
    let mut open = OpenGrants::default();
    let mut held = connection.prepare_cached(
        "SELECT intents.id, intents.playbook FROM open_grants JOIN intents ON intents.id = open_grants.intent
         WHERE kind = ?1 AND name = ?2 AND (holds_until IS NULL OR holds_until > ?3)",
    )?;
    for holding in &keys.open {
        let mut rows = BTreeMap::new();
        let query = params![holding.by.as_str(), holding.name, micros(now)];
        for row in held.query_map(query, pair)? {
            let (id, playbook) = row?;
            rows.insert(name("open_grants", &id, &id)?, name("intents", &id, &playbook)?);
        }
        open.held.insert(holding.clone(), rows);
    }
    let mut below =
        connection.prepare_cached("SELECT child FROM intent_parents WHERE parent = ?1")?;
    for parent in &keys.below {
        let rows = below.query_map([parent.as_str()], |row| row.get::<_, String>(0))?;
        let ids: Result<BTreeSet<IntentId>, Failure> = rows
            .map(|id| id.map_err(Failure::from).and_then(|id| name("intent_parents", &id, &id)))
            .collect();
        open.below.insert(parent.clone(), ids?);
    }
    Ok(open)
}

/// What the changed intents count against now.
pub(super) fn save(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO open_grants (kind, name, intent) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM open_grants WHERE intent = ?1")?;
    let mut parents =
        connection.prepare_cached("INSERT INTO intent_parents (parent, child) VALUES (?1, ?2)")?;
    for (id, row) in &changes.intents {
        if row.intent.state().is_terminal() {
            delete.execute([id.as_str()])?;
        }
        for holding in row.new_holdings() {
            insert.execute(params![holding.by.as_str(), holding.name, id.as_str()])?;
        }
        for ancestor in row.new_ancestors() {
            parents.execute([ancestor.as_str(), id.as_str()])?;
        }
    }
    Ok(())
}

pub(super) fn ids(
    connection: &Connection,
    known: &KnownIntents,
    query: &OpenQuery,
    limit: usize,
) -> Result<Vec<IntentId>, Failure> {
    let limit = signed(limit as u64);
    let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let found: Vec<String> = match query {
        OpenQuery::Due { now } => connection
            .prepare_cached(
                "SELECT id FROM (SELECT id, due_at FROM intents WHERE due_at <= ?1
                 UNION ALL SELECT id, created_at FROM intents
                 WHERE due_at IS NULL AND state IN ('pending', 'approved', 'active', 'consumed'))
                 ORDER BY due_at LIMIT ?2",
            )?
            .query_map(params![micros(*now), limit], text)?
            .collect::<Result<_, _>>()?,
        OpenQuery::Held(holding) => connection
            .prepare_cached(
                "SELECT intent FROM open_grants WHERE kind = ?1 AND name = ?2 ORDER BY intent LIMIT ?3",
            )?
            .query_map(params![holding.by.as_str(), holding.name, limit], text)?
            .collect::<Result<_, _>>()?,
        OpenQuery::Unended { after } => connection
            .prepare_cached(
                "SELECT id FROM intents WHERE state IN ('pending', 'approved', 'active', 'consumed')
                 AND id > ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![after.as_ref().map_or("", IntentId::as_str), limit], text)?
            .collect::<Result<_, _>>()?,
    };
    let readable = |id: &String| known.unreadable().pass_over(name("intents", id, id)).transpose();
    found.iter().filter_map(readable).collect()
}

pub(super) fn orphans(
    connection: &Connection,
    limit: usize,
) -> Result<Vec<(IntentId, IntentId)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT child, parent FROM intent_parents
         JOIN intents AS below ON below.id = child JOIN intents AS above ON above.id = parent
         WHERE below.due_at IS NOT NULL AND above.due_at IS NULL ORDER BY child LIMIT ?1",
    )?;
    let rows = statement.query_map([signed(limit as u64)], pair)?;
    rows.map(|row| {
        let (child, parent) = row?;
        Ok((name("intent_parents", &child, &child)?, name("intent_parents", &child, &parent)?))
    })
    .collect()
}

/// The grants that count against any of these names now, in part: [`MAX_COUNTED_ROWS`] for each are as good as more.
pub(super) fn open_for(
    connection: &Connection,
    by: OpenBy,
    names: &[String],
    now: Timestamp,
) -> Result<BTreeSet<String>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT intent FROM open_grants JOIN intents ON intents.id = open_grants.intent
         WHERE kind = ?1 AND name = ?2 AND state <> 'pending'
         AND (holds_until IS NULL OR holds_until > ?3) LIMIT ?4",
    )?;
    let mut found = BTreeSet::new();
    for name in names {
        let query = params![by.as_str(), name, micros(now), MAX_COUNTED_ROWS];
        for row in statement.query_map(query, |row| row.get(0))? {
            found.insert(row?);
        }
    }
    Ok(found)
}

pub(super) fn counts(
    connection: &Connection,
    by: OpenBy,
    now: Timestamp,
) -> Result<Vec<OpenCount>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT name, count(*) FROM open_grants JOIN intents ON intents.id = open_grants.intent
         WHERE kind = ?1 AND (holds_until IS NULL OR holds_until > ?2)
         GROUP BY name ORDER BY 2 DESC, 1 LIMIT ?3",
    )?;
    let most = signed(MAX_OPEN_NAMES as u64);
    let rows = statement.query_map(params![by.as_str(), micros(now), most], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    rows.map(|row| {
        let (name, grants) = row?;
        let grants = count("open_grants", &name, grants)?;
        Ok(OpenCount { name, grants })
    })
    .collect()
}

fn pair(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}
