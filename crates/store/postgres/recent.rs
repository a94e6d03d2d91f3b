//! An agent's recent intents of one playbook, in PostgreSQL.

use deadpool_postgres::Transaction;
use marque_intent::IntentId;

use crate::Failure;
use crate::rows::{name, signed};
use crate::transaction::{MAX_RECENT, Recent};

pub(super) async fn load<'a>(
    transaction: &Transaction<'_>,
    asked: impl Iterator<Item = &'a Recent>,
) -> Result<Vec<IntentId>, Failure> {
    let mut ids = Vec::new();
    for Recent { agent, playbook, since } in asked {
        let query = transaction
            .prepare_cached(
                "SELECT id FROM intents WHERE agent = $1 AND playbook = $2 AND created_at > $3
                 ORDER BY created_at DESC LIMIT $4",
            )
            .await?;
        let limit = signed(MAX_RECENT as u64);
        let rows = transaction
            .query(&query, &[&agent.as_str(), &playbook.as_str(), since, &limit])
            .await?;
        for row in rows {
            let id: &str = row.try_get(0)?;
            ids.push(name("intents", id, id)?);
        }
    }
    Ok(ids)
}
