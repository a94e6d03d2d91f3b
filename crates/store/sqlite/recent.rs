//! An agent's recent intents of one playbook, in SQLite.

use marque_intent::IntentId;
use rusqlite::{Connection, params};

use crate::Failure;
use crate::rows::{name, signed};
use crate::transaction::{MAX_RECENT, Recent};

pub(super) fn load<'a>(
    connection: &Connection,
    asked: impl Iterator<Item = &'a Recent>,
) -> Result<Vec<IntentId>, Failure> {
    let mut ids = Vec::new();
    for Recent { agent, playbook, since } in asked {
        let mut statement = connection.prepare_cached(
            "SELECT id FROM intents WHERE agent = ?1 AND playbook = ?2 AND created_at > ?3
             ORDER BY created_at DESC LIMIT ?4",
        )?;
        let limit = signed(MAX_RECENT as u64);
        let found = statement
            .query_map(params![agent.as_str(), playbook.as_str(), since, limit], |row| {
                row.get::<_, String>(0)
            })?;
        for id in found {
            let id = id?;
            ids.push(name("intents", &id, &id)?);
        }
    }
    Ok(ids)
}
