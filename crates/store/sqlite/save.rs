//! Writing what came out of a batch, inside its transaction.

use rusqlite::{Connection, params};

use crate::Failure;
use crate::rows::{CheckpointRow, document, micros, signed};
use crate::transaction::{Batch, Changes, IntentChangeRow};
use crate::transactions::IDEMPOTENCY_LIFETIME;

pub(super) fn save(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let changes = batch.changes();
    intents(connection, changes)?;
    tokens(connection, changes)?;
    idempotency(connection, batch)?;
    kills(connection, changes)?;
    authorities(connection, changes)?;
    entries(connection, changes)?;
    checkpoint(connection, changes)?;
    leaves(connection, batch)
}

fn intents(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    for (id, IntentChangeRow { replaces, intent }) in &changes.intents {
        let (state, version) = (intent.state().as_str(), signed(intent.state_version()));
        let document = document(intent)?;
        let written = match replaces {
            None => {
                let grant = intent.grant();
                connection
                    .prepare_cached(
                        "INSERT INTO intents (id, agent, playbook, state, state_version, created_at, document)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute(params![
                        id.as_str(),
                        grant.agent.as_str(),
                        grant.playbook.id.as_str(),
                        state,
                        version,
                        micros(intent.created_at()),
                        document
                    ])?
            }
            Some(before) => connection
                .prepare_cached(
                    "UPDATE intents SET state = ?3, state_version = ?4, document = ?5
                     WHERE id = ?1 AND state_version = ?2",
                )?
                .execute(params![id.as_str(), signed(*before), state, version, document])?,
        };
        if written != 1 {
            return Err(Failure::Conflict { table: "intents" });
        }
    }
    Ok(())
}

fn tokens(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO tokens (id, intent, expires_at, document) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for token in &changes.tokens {
        let document = document(token)?;
        insert.execute(params![
            token.id.as_str(),
            token.intent.as_str(),
            micros(token.expires_at),
            document
        ])?;
    }
    Ok(())
}

fn idempotency(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let rows = &batch.changes().idempotency;
    if rows.is_empty() {
        return Ok(());
    }
    let oldest =
        batch.view().now().checked_sub(IDEMPOTENCY_LIFETIME).unwrap_or(jiff::Timestamp::MIN);
    connection
        .prepare_cached("DELETE FROM idempotency WHERE created_at <= ?1")?
        .execute([micros(oldest)])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO idempotency (agent, key, body, intent, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in rows {
        insert.execute(params![
            row.agent.as_str(),
            row.key,
            row.body.to_string(),
            row.intent.as_str(),
            micros(row.created_at)
        ])?;
    }
    Ok(())
}

fn kills(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut insert =
        connection.prepare_cached("INSERT INTO kills (epoch, document) VALUES (?1, ?2)")?;
    for kill in &changes.kills {
        insert.execute(params![signed(kill.epoch), document(kill)?])?;
    }
    Ok(())
}

fn authorities(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO authorities (slot, document) VALUES (?1, ?2) ON CONFLICT (slot) DO NOTHING",
    )?;
    for (slot, record) in &changes.authorities {
        insert.execute(params![slot, document(record)?])?;
    }
    Ok(())
}

fn entries(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    for id in &changes.deleted_entries {
        connection.prepare_cached("DELETE FROM entries WHERE id = ?1")?.execute([id.as_str()])?;
    }
    let mut insert = connection
        .prepare_cached("INSERT INTO entries (id, spiffe_id, document) VALUES (?1, ?2, ?3)")?;
    for entry in &changes.created_entries {
        insert.execute(params![
            entry.id().as_str(),
            entry.spiffe_id().as_str(),
            document(entry)?
        ])?;
    }
    Ok(())
}

fn checkpoint(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    if let Some(checkpoint) = &changes.checkpoint {
        let CheckpointRow { size, text, peaks } = CheckpointRow::of(checkpoint);
        let mut upsert = connection.prepare_cached(
            "INSERT INTO checkpoints (one, size, text, peaks) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (one) DO UPDATE SET size = excluded.size, text = excluded.text, peaks = excluded.peaks
             WHERE excluded.size > checkpoints.size",
        )?;
        upsert.execute(params![size, text, peaks])?;
    }
    Ok(())
}

fn leaves(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let mut insert =
        connection.prepare_cached("INSERT INTO leaves (seq, hash, leaf) VALUES (?1, ?2, ?3)")?;
    for leaf in &batch.changes().leaves {
        insert.execute(params![signed(leaf.seq()), leaf.hash().as_bytes(), leaf.bytes()])?;
    }
    let head = batch.view().head();
    let mut update =
        connection.prepare_cached("UPDATE head SET size = ?1, recorded = ?2, kill_epoch = ?3")?;
    update.execute(params![
        signed(head.size),
        head.recorded.map(micros),
        signed(head.kill_epoch)
    ])?;
    Ok(())
}
