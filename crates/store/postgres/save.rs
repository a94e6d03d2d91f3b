//! Writing what came out of a batch, inside its transaction: one statement per table, whatever the number of rows.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use marque_exchange::TokenId;
use marque_intent::{Intent, IntentId};
use tokio_postgres::types::ToSql;

use super::{SchemaName, open, pace};
use crate::Failure;
use crate::rows::{CheckpointRow, document, micros, signed};
use crate::transaction::{Batch, Changes, forgotten_with};

pub(super) async fn save(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    batch: &Batch,
) -> Result<(), Failure> {
    let changes = batch.changes();
    // Tokens refer to intents. Everything else is sent at once, without waiting for each answer.
    new_intents(transaction, changes).await?;
    futures::try_join!(
        changed_intents(transaction, changes),
        open::save(transaction, changes),
        new_tokens(transaction, changes),
        changed_tokens(transaction, changes),
        forgotten_tokens(transaction, changes),
        idempotency(transaction, changes),
        deferrals(transaction, batch),
        replays(transaction, batch),
        kept(transaction, batch),
        pace::save(transaction, changes),
        kills(transaction, changes),
        authorities(transaction, changes),
        entries(transaction, changes),
        checkpoint(transaction, changes),
        leaves(transaction, changes),
        head(transaction, schema, batch),
    )?;
    ended_intents(transaction, changes).await
}

pub(super) async fn execute(
    transaction: &Transaction<'_>,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, Failure> {
    let statement = transaction.prepare_cached(statement).await?;
    Ok(transaction.execute(&statement, parameters).await?)
}

/// Every row or none: a row that is missing was changed by somebody who does not wait for the head.
pub(super) fn all(written: u64, wanted: usize, table: &'static str) -> Result<(), Failure> {
    if written == wanted as u64 { Ok(()) } else { Err(Failure::Conflict { table }) }
}

async fn new_intents(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    let new: Vec<_> = changes
        .intents
        .values()
        .filter(|row| row.replaces.is_none())
        .map(|row| &row.intent)
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = new.iter().map(|intent| intent.id().as_str()).collect();
    let agents: Vec<&str> = new.iter().map(|intent| intent.grant().agent.as_str()).collect();
    let playbooks: Vec<&str> =
        new.iter().map(|intent| intent.grant().playbook.id.as_str()).collect();
    let states: Vec<&str> = new.iter().map(|intent| intent.state().as_str()).collect();
    let versions: Vec<i64> = new.iter().map(|intent| signed(intent.state_version())).collect();
    let created: Vec<i64> = new.iter().map(|intent| micros(intent.created_at())).collect();
    let (due, holds) = clocks(new.iter().copied());
    let courses =
        new.iter().map(|intent| document(intent.course())).collect::<Result<Vec<_>, _>>()?;
    let written = execute(
        transaction,
        "INSERT INTO intents (id, agent, playbook, state, state_version, created_at, document, due_at, holds_until)
         SELECT id, agent, playbook, state, state_version, created_at, document::json, due_at, holds_until
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
                     $8::bigint[], $9::bigint[])
         AS new (id, agent, playbook, state, state_version, created_at, document, due_at, holds_until)",
        &[&ids, &agents, &playbooks, &states, &versions, &created, &courses, &due, &holds],
    )
    .await?;
    all(written, new.len(), "intents")?;
    let grants = new
        .iter()
        .map(|intent| document(intent.shared_grant().as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let insert = "INSERT INTO grants (intent, document)
                  SELECT intent, document::json FROM unnest($1::text[], $2::text[]) AS new (intent, document)";
    let written = execute(transaction, insert, &[&ids, &grants]).await?;
    all(written, new.len(), "grants")
}

async fn changed_intents(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    let changed: Vec<_> = changes
        .intents
        .values()
        .filter_map(|row| row.replaces.map(|before| (signed(before), &row.intent)))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = changed.iter().map(|(_, intent)| intent.id().as_str()).collect();
    let before: Vec<i64> = changed.iter().map(|(before, _)| *before).collect();
    let states: Vec<&str> = changed.iter().map(|(_, intent)| intent.state().as_str()).collect();
    let versions: Vec<i64> =
        changed.iter().map(|(_, intent)| signed(intent.state_version())).collect();
    let documents = changed
        .iter()
        .map(|(_, intent)| document(intent.course()))
        .collect::<Result<Vec<_>, _>>()?;
    let (due, holds) = clocks(changed.iter().map(|(_, intent)| *intent));
    let written = execute(
        transaction,
        "UPDATE intents
         SET state = next.state, state_version = next.state_version, document = next.document::json,
             due_at = next.due_at, holds_until = next.holds_until
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[])
         AS next (id, replaces, state, state_version, document, due_at, holds_until)
         WHERE intents.id = next.id AND intents.state_version = next.replaces",
        &[&ids, &before, &states, &versions, &documents, &due, &holds],
    )
    .await?;
    all(written, changed.len(), "intents")?;
    for (id, row) in changes.intents.iter().filter(|(_, row)| row.has_another_grant()) {
        let grant = document(row.intent.shared_grant().as_ref())?;
        let update = "UPDATE grants SET document = $2::text::json WHERE intent = $1";
        let written = execute(transaction, update, &[&id.as_str(), &grant]).await?;
        all(written, 1, "grants")?;
    }
    Ok(())
}

/// When each is due, and until when it holds.
fn clocks<'a>(
    intents: impl Iterator<Item = &'a Arc<Intent>> + Clone,
) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
    let due = intents.clone().map(|intent| intent.due().map(|(end, _)| micros(end))).collect();
    (due, intents.map(|intent| intent.holds_until().map(micros)).collect())
}

async fn new_tokens(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    let rows = changes.tokens.values().filter(|row| row.is_new);
    let tokens: Vec<_> = rows.map(|row| &row.token).collect();
    if tokens.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
    let intents: Vec<&str> = tokens.iter().map(|token| token.intent.as_str()).collect();
    let expires: Vec<i64> = tokens.iter().map(|token| micros(token.expires_at)).collect();
    let parents: Vec<Option<&str>> =
        tokens.iter().map(|token| token.parent.as_ref().map(TokenId::as_str)).collect();
    let ended: Vec<Option<i64>> = tokens.iter().map(|token| token.ended_at().map(micros)).collect();
    let places: Vec<Option<i64>> =
        tokens.iter().map(|token| token.status_index.map(|place| signed(place.number()))).collect();
    let epochs: Vec<i64> = tokens.iter().map(|token| signed(token.epoch)).collect();
    let documents = tokens.iter().map(document).collect::<Result<Vec<_>, _>>()?;
    let written = execute(
        transaction,
        "INSERT INTO tokens (id, intent, expires_at, parent, ended_at, place, epoch, document)
         SELECT id, intent, expires_at, parent, ended_at, place, epoch, document::json
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[],
                     $7::bigint[], $8::text[])
         AS new (id, intent, expires_at, parent, ended_at, place, epoch, document)",
        &[&ids, &intents, &expires, &parents, &ended, &places, &epochs, &documents],
    )
    .await?;
    all(written, tokens.len(), "tokens")
}

async fn changed_tokens(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    let rows = changes.tokens.values().filter(|row| !row.is_new);
    let tokens: Vec<_> = rows.map(|row| &row.token).collect();
    if tokens.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
    let ended: Vec<Option<i64>> = tokens.iter().map(|token| token.ended_at().map(micros)).collect();
    let documents = tokens.iter().map(document).collect::<Result<Vec<_>, _>>()?;
    let written = execute(
        transaction,
        "UPDATE tokens SET ended_at = next.ended_at, document = next.document::json
         FROM unnest($1::text[], $2::bigint[], $3::text[]) AS next (id, ended_at, document)
         WHERE tokens.id = next.id",
        &[&ids, &ended, &documents],
    )
    .await?;
    all(written, tokens.len(), "tokens")
}

async fn ended_intents(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    let ended: Vec<&str> = changes.ended_intents().map(IntentId::as_str).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let mark = "UPDATE tokens SET intent_ended = 1 WHERE intent = ANY($1::text[])";
    execute(transaction, mark, &[&ended]).await?;
    Ok(())
}

async fn forgotten_tokens(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    if changes.deleted_tokens.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = changes.deleted_tokens.iter().map(TokenId::as_str).collect();
    execute(transaction, "DELETE FROM tokens WHERE id = ANY($1::text[])", &[&ids]).await?;
    Ok(())
}

async fn forgotten_keys(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    if changes.deleted_idempotency.is_empty() {
        return Ok(());
    }
    let (agents, keys): (Vec<&str>, Vec<&str>) = changes
        .deleted_idempotency
        .iter()
        .map(|(agent, key)| (agent.as_str(), key.as_str()))
        .unzip();
    let delete = "DELETE FROM idempotency
                  WHERE (agent, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    execute(transaction, delete, &[&agents, &keys]).await?;
    Ok(())
}

async fn idempotency(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    forgotten_keys(transaction, changes).await?;
    let rows = &changes.idempotency;
    if rows.is_empty() {
        return Ok(());
    }
    let agents: Vec<&str> = rows.iter().map(|row| row.caller.as_str()).collect();
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let bodies: Vec<String> = rows.iter().map(|row| row.body.to_string()).collect();
    let intents: Vec<&str> = rows.iter().map(|row| row.intent.as_str()).collect();
    let created: Vec<i64> = rows.iter().map(|row| micros(row.created_at)).collect();
    let written = execute(
        transaction,
        "INSERT INTO idempotency (agent, key, body, intent, created_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
         ON CONFLICT (agent, key) DO UPDATE
         SET body = excluded.body, intent = excluded.intent, created_at = excluded.created_at",
        &[&agents, &keys, &bodies, &intents, &created],
    )
    .await?;
    all(written, rows.len(), "idempotency")
}

async fn deferrals(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    let Changes { deferrals, forgotten_deferrals, .. } = batch.changes();
    if deferrals.is_empty() && forgotten_deferrals.is_empty() {
        return Ok(());
    }
    let forgotten: Vec<String> = forgotten_deferrals.iter().map(ToString::to_string).collect();
    let forget = "DELETE FROM deferrals WHERE kept_until <= $1 OR code = ANY($2::text[])";
    execute(transaction, forget, &[&micros(batch.view().now()), &forgotten]).await?;
    let codes: Vec<String> = deferrals.keys().map(ToString::to_string).collect();
    let rows = || deferrals.values();
    let clients: Vec<&str> = rows().map(|one| one.client.as_str()).collect();
    let intents: Vec<&str> = rows().map(|one| one.intent.as_str()).collect();
    let states: Vec<&str> = rows().map(|one| one.state.as_str()).collect();
    let kept: Vec<i64> = rows().map(|one| micros(one.kept_until())).collect();
    let documents = rows().map(document).collect::<Result<Vec<_>, _>>()?;
    let written = execute(
        transaction,
        "INSERT INTO deferrals (code, client, intent, state, kept_until, document)
         SELECT code, client, intent, state, kept_until, document::json
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
         AS new (code, client, intent, state, kept_until, document)
         ON CONFLICT (code) DO UPDATE SET state = excluded.state, document = excluded.document",
        &[&codes, &clients, &intents, &states, &kept, &documents],
    )
    .await?;
    all(written, deferrals.len(), "deferrals")
}

async fn replays(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    let Changes { replays, new_replays, .. } = batch.changes();
    if replays.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = replays.iter().map(|proof| proof.key.as_bytes().as_slice()).collect();
    let ends: Vec<i64> = replays.iter().map(|proof| micros(proof.until)).collect();
    execute(
        transaction,
        "INSERT INTO replays (key, until) SELECT * FROM unnest($1::bytea[], $2::bigint[])
         ON CONFLICT (key) DO UPDATE SET until = excluded.until",
        &[&keys, &ends],
    )
    .await?;
    execute(
        transaction,
        "WITH forgotten AS (DELETE FROM replays WHERE key IN
             (SELECT key FROM replays WHERE until < $1 ORDER BY until LIMIT $2) RETURNING 1)
         UPDATE replay_count SET kept = kept + $3 - (SELECT count(*) FROM forgotten)",
        &[&micros(batch.view().now()), &forgotten_with(replays.len()), &signed(*new_replays)],
    )
    .await?;
    Ok(())
}

async fn kept(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    let changes = &batch.changes().kept;
    if changes.is_empty() {
        return Ok(());
    }
    let now = micros(batch.view().now());
    execute(transaction, "DELETE FROM kept WHERE until <= $1", &[&now]).await?;
    for ((kind, key), row) in changes {
        let Some(row) = row else {
            let delete = "DELETE FROM kept WHERE kind = $1 AND key = $2";
            execute(transaction, delete, &[kind, key]).await?;
            continue;
        };
        let upsert = "INSERT INTO kept (kind, key, version, until, document)
                      VALUES ($1, $2, $3, $4, $5::text::json)
                      ON CONFLICT (kind, key) DO UPDATE
                      SET version = excluded.version, until = excluded.until, document = excluded.document";
        let text = document(&row.document)?;
        let columns: [&(dyn ToSql + Sync); 5] =
            [kind, key, &signed(row.version), &micros(row.until), &text];
        execute(transaction, upsert, &columns).await?;
    }
    Ok(())
}

async fn kills(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    for record in &changes.kills {
        let insert = "INSERT INTO kills (epoch, document) VALUES ($1, $2::text::json)";
        execute(transaction, insert, &[&signed(record.epoch()), &document(record)?]).await?;
    }
    Ok(())
}

async fn authorities(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    for (slot, record) in &changes.authorities {
        let slot = slot.to_string();
        match record {
            Some(record) => {
                let upsert = "INSERT INTO authorities (slot, document) VALUES ($1, $2::text::json)
                              ON CONFLICT (slot) DO UPDATE SET document = excluded.document";
                execute(transaction, upsert, &[&slot, &document(record)?]).await?;
            }
            None => {
                execute(transaction, "DELETE FROM authorities WHERE slot = $1", &[&slot]).await?;
            }
        }
    }
    Ok(())
}

async fn entries(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    for id in &changes.deleted_entries {
        execute(transaction, "DELETE FROM entries WHERE id = $1", &[&id.as_str()]).await?;
    }
    for entry in &changes.created_entries {
        let insert =
            "INSERT INTO entries (id, spiffe_id, document) VALUES ($1, $2, $3::text::json)";
        let (id, spiffe_id) = (entry.id().as_str(), entry.spiffe_id().as_str());
        execute(transaction, insert, &[&id, &spiffe_id, &document(entry)?]).await?;
    }
    Ok(())
}

async fn checkpoint(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    if let Some(checkpoint) = &changes.checkpoint {
        let CheckpointRow { size, text, peaks } = CheckpointRow::of(checkpoint);
        let upsert = "INSERT INTO checkpoints (one, size, text, peaks) VALUES (1, $1, $2, $3)
             ON CONFLICT (one) DO UPDATE SET size = excluded.size, text = excluded.text, peaks = excluded.peaks
             WHERE excluded.size > checkpoints.size";
        execute(transaction, upsert, &[&size, &text, &peaks]).await?;
    }
    Ok(())
}

async fn leaves(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), Failure> {
    let leaves = &changes.leaves;
    if leaves.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = leaves.iter().map(|leaf| signed(leaf.seq())).collect();
    let hashes: Vec<Vec<u8>> = leaves.iter().map(|leaf| leaf.hash().as_bytes().to_vec()).collect();
    let bytes: Vec<&[u8]> = leaves.iter().map(marque_audit::Leaf::bytes).collect();
    let written = execute(
        transaction,
        "INSERT INTO leaves (seq, hash, leaf) SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[])",
        &[&numbers, &hashes, &bytes],
    )
    .await?;
    all(written, leaves.len(), "leaves")
}

/// The new head, told to every replica when it is committed.
async fn head(
    transaction: &Transaction<'_>,
    schema: &SchemaName,
    batch: &Batch,
) -> Result<(), Failure> {
    let head = batch.view().head();
    let (size, epoch) = (signed(head.size), signed(head.kill_epoch));
    let (recorded, next_place) = (head.recorded.map(micros), signed(head.next_place));
    let update = "UPDATE head SET size = $1, recorded = $2, kill_epoch = $3, next_place = $4";
    let row: [&(dyn ToSql + Sync); 4] = [&size, &recorded, &epoch, &next_place];
    let (schema, payload) = (schema.as_str(), format!("{size} {epoch}"));
    let news: [&(dyn ToSql + Sync); 2] = [&schema, &payload];
    let (written, _told) = futures::try_join!(
        execute(transaction, update, &row),
        execute(transaction, "SELECT pg_notify($1, $2)", &news),
    )?;
    all(written, 1, "head")
}
