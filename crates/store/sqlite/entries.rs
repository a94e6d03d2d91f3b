//! Registration entries by the indexes of their table.

use rusqlite::{Connection, params};

use crate::Failure;
use crate::rows::count;
use crate::transaction::{EntryKeys, FoundEntries};

pub(super) fn load(connection: &Connection, keys: &EntryKeys) -> Result<FoundEntries, Failure> {
    let mut found = FoundEntries::default();
    let ids = keys.ids.iter().map(|id| id.as_str());
    let spiffe_ids = keys.spiffe_ids.iter().map(|id| id.as_str());
    for (statement, names) in [
        ("SELECT id, spiffe_id FROM entries WHERE id = ?1", ids.collect::<Vec<_>>()),
        ("SELECT id, spiffe_id FROM entries WHERE spiffe_id = ?1", spiffe_ids.collect()),
    ] {
        let mut statement = connection.prepare_cached(statement)?;
        for name in names {
            let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for row in rows {
                let (id, spiffe_id) = row?;
                found.names.insert(id, spiffe_id);
            }
        }
    }
    for template in &keys.templates {
        let mut statement = connection.prepare_cached(
            "SELECT count(*) FROM entries WHERE id >= ?1 AND id < ?2 \
             AND length(id) = length(?1) + 32 AND substr(id, length(?1) + 1) NOT GLOB '*[^0-9a-f]*'",
        )?;
        let ids = template.range_of_instances();
        let made = statement.query_row(params![ids.start, ids.end], |row| row.get(0))?;
        let made =
            usize::try_from(count("entries", template.as_str(), made)?).unwrap_or(usize::MAX);
        found.of_templates.insert(template.clone(), made);
    }
    Ok(found)
}
