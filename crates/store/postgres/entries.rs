//! Registration entries by the indexes of their table.

use deadpool_postgres::Transaction;

use crate::Failure;
use crate::transaction::{EntryKeys, FoundEntries};

pub(super) async fn load(
    transaction: &Transaction<'_>,
    keys: &EntryKeys,
) -> Result<FoundEntries, Failure> {
    let mut found = FoundEntries::default();
    if keys.is_empty() {
        return Ok(found);
    }
    let ids: Vec<&str> = keys.ids.iter().map(|id| id.as_str()).collect();
    let spiffe_ids: Vec<&str> = keys.spiffe_ids.iter().map(|id| id.as_str()).collect();
    let named = transaction
        .prepare_cached(
            "SELECT id, spiffe_id FROM entries WHERE id = ANY($1) OR spiffe_id = ANY($2)",
        )
        .await?;
    for row in transaction.query(&named, &[&ids, &spiffe_ids]).await? {
        found.names.insert(row.try_get(0)?, row.try_get(1)?);
    }
    for template in &keys.templates {
        let counted = transaction
            .prepare_cached(
                "SELECT count(*) FROM entries WHERE id >= $1 AND id < $2 \
                 AND length(id) = length($1) + 32 AND substr(id, length($1) + 1) !~ '[^0-9a-f]'",
            )
            .await?;
        let ids = template.range_of_instances();
        let row = transaction.query_one(&counted, &[&ids.start, &ids.end]).await?;
        let made: i64 = row.try_get(0)?;
        found.of_templates.insert(template.clone(), usize::try_from(made).unwrap_or(usize::MAX));
    }
    Ok(found)
}
