//! Open grants in PostgreSQL: loaded for a batch, written with it, and read for overviews and upkeep.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use marque_intent::{Holding, IntentId, MAX_OPEN_NAMES, OpenBy, OpenCount};
use tokio_postgres::types::ToSql;

use super::read::PooledReader;
use crate::Failure;
use crate::open::OpenQuery;
use crate::rows::{MAX_COUNTED_ROWS, count, micros, name, signed};
use crate::transaction::{Changes, Keys, OpenGrants};

/// What counts against the things that were asked for, and what hangs below the intents that were.
pub(super) async fn load(
    transaction: &Transaction<'_>,
    keys: &Keys,
    now: Timestamp,
) -> Result<OpenGrants, Failure> {
    let mut open = OpenGrants::default();
    if !keys.open.is_empty() {
        open.held.extend(keys.open.iter().map(|holding| (holding.clone(), BTreeMap::new())));
        let query = transaction
            .prepare_cached(
                "SELECT kind, name, intents.id, intents.playbook
                 FROM open_grants JOIN intents ON intents.id = open_grants.intent
                 WHERE (kind, name) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                 AND (holds_until IS NULL OR holds_until > $3)",
            )
            .await?;
        let kinds: Vec<&str> = keys.open.iter().map(|holding| holding.by.as_str()).collect();
        let names: Vec<&str> = keys.open.iter().map(|holding| holding.name.as_str()).collect();
        for row in transaction.query(&query, &[&kinds, &names, &micros(now)]).await? {
            let (kind, of): (&str, String) = (row.try_get(0)?, row.try_get(1)?);
            let (id, playbook): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
            let holding = Holding { by: name("open_grants", id, kind)?, name: of };
            let held = open.held.entry(holding).or_default();
            held.insert(name("open_grants", id, id)?, name("intents", id, playbook)?);
        }
    }
    if !keys.below.is_empty() {
        open.below.extend(keys.below.iter().map(|parent| (parent.clone(), BTreeSet::new())));
        let query = transaction
            .prepare_cached(
                "SELECT parent, child FROM intent_parents WHERE parent = ANY($1::text[])",
            )
            .await?;
        let parents: Vec<&str> = keys.below.iter().map(IntentId::as_str).collect();
        for row in transaction.query(&query, &[&parents]).await? {
            let (parent, child): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let below = open.below.entry(name("intent_parents", child, parent)?).or_default();
            below.insert(name("intent_parents", child, child)?);
        }
    }
    Ok(open)
}

/// What the changed intents count against now.
pub(super) async fn save(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    if changes.intents.is_empty() {
        return Ok(());
    }
    let rows = || changes.intents.iter();
    let ended: Vec<&str> = rows()
        .filter(|(_, row)| row.intent.state().is_terminal())
        .map(|(id, _)| id.as_str())
        .collect();
    if !ended.is_empty() {
        let delete = "DELETE FROM open_grants WHERE intent = ANY($1::text[])";
        let delete = transaction.prepare_cached(delete).await?;
        transaction.execute(&delete, &[&ended]).await?;
    }
    let (mut kinds, mut names, mut of) = (Vec::new(), Vec::new(), Vec::new());
    let (mut parents, mut children) = (Vec::new(), Vec::new());
    for (id, row) in rows() {
        for Holding { by, name } in row.new_holdings() {
            kinds.push(by.as_str());
            names.push(name);
            of.push(id.as_str());
        }
        for ancestor in row.new_ancestors() {
            parents.push(ancestor.as_str());
            children.push(id.as_str());
        }
    }
    if !of.is_empty() {
        let insert = "INSERT INTO open_grants (kind, name, intent)
                      SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING";
        let insert = transaction.prepare_cached(insert).await?;
        transaction.execute(&insert, &[&kinds, &names, &of]).await?;
    }
    if !children.is_empty() {
        let insert = "INSERT INTO intent_parents (parent, child)
                      SELECT * FROM unnest($1::text[], $2::text[])";
        let insert = transaction.prepare_cached(insert).await?;
        transaction.execute(&insert, &[&parents, &children]).await?;
    }
    Ok(())
}

impl PooledReader {
    pub(super) async fn ids_of_open(
        &self,
        query: &OpenQuery,
        limit: usize,
    ) -> Result<Vec<IntentId>, Failure> {
        let limit = signed(limit as u64);
        let rows = match query {
            OpenQuery::Due { now } => {
                let query = "SELECT id FROM (SELECT id, due_at FROM intents WHERE due_at <= $1
                     UNION ALL SELECT id, created_at FROM intents
                     WHERE due_at IS NULL AND state IN ('pending', 'approved', 'active', 'consumed')) AS found
                     ORDER BY due_at LIMIT $2";
                self.query(query, &[&micros(*now), &limit]).await?
            }
            OpenQuery::Held(Holding { by, name }) => {
                let query = "SELECT intent FROM open_grants WHERE kind = $1 AND name = $2
                     ORDER BY intent LIMIT $3";
                self.query(query, &[&by.as_str(), name, &limit]).await?
            }
            OpenQuery::Unended { after } => {
                let query = "SELECT id FROM intents
                     WHERE state IN ('pending', 'approved', 'active', 'consumed') AND id > $1
                     ORDER BY id LIMIT $2";
                let after = after.as_ref().map_or("", IntentId::as_str);
                self.query(query, &[&after, &limit]).await?
            }
        };
        let ids = rows.iter().filter_map(|row| {
            let id = row.try_get(0).map_err(Failure::from);
            let id = id.and_then(|id: &str| name("intents", id, id));
            self.unreadable().pass_over(id).transpose()
        });
        ids.collect()
    }

    pub(super) async fn orphaned(
        &self,
        limit: usize,
    ) -> Result<Vec<(IntentId, IntentId)>, Failure> {
        let query = "SELECT child, parent FROM intent_parents
             JOIN intents AS below ON below.id = child JOIN intents AS above ON above.id = parent
             WHERE below.due_at IS NOT NULL AND above.due_at IS NULL ORDER BY child LIMIT $1";
        let rows = self.query(query, &[&signed(limit as u64)]).await?;
        let pairs = rows.iter().map(|row| {
            let (child, parent): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            Ok((name("intent_parents", child, child)?, name("intent_parents", child, parent)?))
        });
        pairs.collect()
    }

    /// The grants that count against any of these names now, in part: [`MAX_COUNTED_ROWS`] are as good as more.
    pub(super) async fn grants_open_for(
        &self,
        by: OpenBy,
        names: &[String],
        now: Timestamp,
    ) -> Result<BTreeSet<String>, Failure> {
        let query = "SELECT DISTINCT intent FROM open_grants
             JOIN intents ON intents.id = open_grants.intent
             WHERE kind = $1 AND name = ANY($2::text[]) AND state <> 'pending'
             AND (holds_until IS NULL OR holds_until > $3) LIMIT $4";
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&by.as_str(), &names, &micros(now), &MAX_COUNTED_ROWS];
        let rows = self.query(query, &parameters).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(super) async fn counts_of_open(
        &self,
        by: OpenBy,
        now: Timestamp,
    ) -> Result<Vec<OpenCount>, Failure> {
        let query =
            "SELECT name, count(*) FROM open_grants JOIN intents ON intents.id = open_grants.intent
             WHERE kind = $1 AND (holds_until IS NULL OR holds_until > $2)
             GROUP BY name ORDER BY 2 DESC, 1 LIMIT $3";
        let most = signed(MAX_OPEN_NAMES as u64);
        let rows = self.query(query, &[&by.as_str(), &micros(now), &most]).await?;
        let counts = rows.iter().map(|row| {
            let name: String = row.try_get(0)?;
            let grants = count("open_grants", &name, row.try_get(1)?)?;
            Ok(OpenCount { name, grants })
        });
        counts.collect()
    }
}
