//! Writing what came out of a batch, inside its transaction.

use marque_exchange::TokenId;
use rusqlite::{Connection, params};

use super::{open, pace};
use crate::Failure;
use crate::rows::{CheckpointRow, document, micros, signed};
use crate::transaction::{Batch, Changes, IntentChangeRow, TokenChangeRow, forgotten_with};

pub(super) fn save(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let changes = batch.changes();
    intents(connection, changes)?;
    tokens(connection, changes)?;
    ended_intents(connection, changes)?;
    idempotency(connection, changes)?;
    deferrals(connection, batch)?;
    replays(connection, batch)?;
    kept(connection, batch)?;
    pace::save(connection, changes)?;
    kills(connection, changes)?;
    authorities(connection, changes)?;
    entries(connection, changes)?;
    checkpoint(connection, changes)?;
    forgotten_tokens(connection, changes)?;
    leaves(connection, batch)
}

fn intents(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    for (id, row) in &changes.intents {
        let IntentChangeRow { replaces, intent, .. } = row;
        let due = intent.due().map(|(end, _)| micros(end));
        let holds = intent.holds_until().map(micros);
        let (state, version) = (intent.state().as_str(), signed(intent.state_version()));
        let course = document(intent.course())?;
        let written = match replaces {
            None => {
                let grant = intent.shared_grant().as_ref();
                let written = connection
                    .prepare_cached(
                        "INSERT INTO intents (id, agent, playbook, state, state_version, created_at, document,
                                              due_at, holds_until)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    )?
                    .execute(params![
                        id.as_str(),
                        grant.agent.as_str(),
                        grant.playbook.id.as_str(),
                        state,
                        version,
                        micros(intent.created_at()),
                        course,
                        due,
                        holds
                    ])?;
                connection
                    .prepare_cached("INSERT INTO grants (intent, document) VALUES (?1, ?2)")?
                    .execute(params![id.as_str(), document(grant)?])?;
                written
            }
            Some(before) => connection
                .prepare_cached(
                    "UPDATE intents
                     SET state = ?3, state_version = ?4, document = ?5, due_at = ?6, holds_until = ?7
                     WHERE id = ?1 AND state_version = ?2",
                )?
                .execute(params![
                    id.as_str(),
                    signed(*before),
                    state,
                    version,
                    course,
                    due,
                    holds
                ])?,
        };
        if written != 1 {
            return Err(Failure::Conflict { table: "intents" });
        }
        if row.has_another_grant() {
            connection
                .prepare_cached("UPDATE grants SET document = ?2 WHERE intent = ?1")?
                .execute(params![id.as_str(), document(intent.shared_grant().as_ref())?])?;
        }
    }
    open::save(connection, changes)
}

fn tokens(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    for (id, TokenChangeRow { is_new, token }) in &changes.tokens {
        let ended_at = token.ended_at().map(micros);
        let written = if *is_new {
            connection
                .prepare_cached(
                    "INSERT INTO tokens (id, intent, expires_at, parent, ended_at, place, epoch, document)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    id.as_str(),
                    token.intent.as_str(),
                    micros(token.expires_at),
                    token.parent.as_ref().map(TokenId::as_str),
                    ended_at,
                    token.status_index.map(|place| signed(place.number())),
                    signed(token.epoch),
                    document(token)?
                ])?
        } else {
            connection
                .prepare_cached("UPDATE tokens SET ended_at = ?2, document = ?3 WHERE id = ?1")?
                .execute(params![id.as_str(), ended_at, document(token)?])?
        };
        if written != 1 {
            return Err(Failure::Conflict { table: "tokens" });
        }
    }
    Ok(())
}

fn ended_intents(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut mark =
        connection.prepare_cached("UPDATE tokens SET intent_ended = 1 WHERE intent = ?1")?;
    for intent in changes.ended_intents() {
        mark.execute([intent.as_str()])?;
    }
    Ok(())
}

fn forgotten_tokens(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached("DELETE FROM tokens WHERE id = ?1")?;
    for id in &changes.deleted_tokens {
        delete.execute([id.as_str()])?;
    }
    Ok(())
}

fn idempotency(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut delete =
        connection.prepare_cached("DELETE FROM idempotency WHERE agent = ?1 AND key = ?2")?;
    for (agent, key) in &changes.deleted_idempotency {
        delete.execute([agent, key])?;
    }
    // A key that is over and not yet forgotten gives way.
    let mut insert = connection.prepare_cached(
        "INSERT INTO idempotency (agent, key, body, intent, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (agent, key) DO UPDATE
         SET body = excluded.body, intent = excluded.intent, created_at = excluded.created_at",
    )?;
    for row in &changes.idempotency {
        insert.execute(params![
            row.caller,
            row.key,
            row.body.to_string(),
            row.intent.as_str(),
            micros(row.created_at)
        ])?;
    }
    Ok(())
}

fn deferrals(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let Changes { deferrals, forgotten_deferrals, .. } = batch.changes();
    if deferrals.is_empty() && forgotten_deferrals.is_empty() {
        return Ok(());
    }
    connection
        .prepare_cached("DELETE FROM deferrals WHERE kept_until <= ?1")?
        .execute([micros(batch.view().now())])?;
    let mut forget = connection.prepare_cached("DELETE FROM deferrals WHERE code = ?1")?;
    for code in forgotten_deferrals {
        forget.execute([code.to_string()])?;
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO deferrals (code, client, intent, state, kept_until, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (code) DO UPDATE SET state = excluded.state, document = excluded.document",
    )?;
    for (code, deferral) in deferrals {
        upsert.execute(params![
            code.to_string(),
            deferral.client.as_str(),
            deferral.intent.as_str(),
            deferral.state.as_str(),
            micros(deferral.kept_until()),
            document(deferral)?
        ])?;
    }
    Ok(())
}

fn replays(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let Changes { replays, new_replays, .. } = batch.changes();
    if replays.is_empty() {
        return Ok(());
    }
    let mut upsert = connection.prepare_cached(
        "INSERT INTO replays (key, until) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET until = excluded.until",
    )?;
    for proof in replays {
        upsert.execute(params![proof.key.as_bytes(), micros(proof.until)])?;
    }
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM replays WHERE key IN
             (SELECT key FROM replays WHERE until < ?1 ORDER BY until LIMIT ?2)",
        )?
        .execute(params![micros(batch.view().now()), forgotten_with(replays.len())])?;
    connection
        .prepare_cached("UPDATE replay_count SET kept = kept + ?1 - ?2")?
        .execute(params![signed(*new_replays), signed(forgotten as u64)])?;
    Ok(())
}

fn kept(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    let changes = &batch.changes().kept;
    if changes.is_empty() {
        return Ok(());
    }
    connection
        .prepare_cached("DELETE FROM kept WHERE until <= ?1")?
        .execute([micros(batch.view().now())])?;
    let mut delete = connection.prepare_cached("DELETE FROM kept WHERE kind = ?1 AND key = ?2")?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO kept (kind, key, version, until, document) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, key) DO UPDATE
         SET version = excluded.version, until = excluded.until, document = excluded.document",
    )?;
    for ((kind, key), row) in changes {
        match row {
            None => delete.execute([kind, key])?,
            Some(row) => upsert.execute(params![
                kind,
                key,
                signed(row.version),
                micros(row.until),
                document(&row.document)?
            ])?,
        };
    }
    Ok(())
}

fn kills(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut insert =
        connection.prepare_cached("INSERT INTO kills (epoch, document) VALUES (?1, ?2)")?;
    for record in &changes.kills {
        insert.execute(params![signed(record.epoch()), document(record)?])?;
    }
    Ok(())
}

fn authorities(connection: &Connection, changes: &Changes) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached("DELETE FROM authorities WHERE slot = ?1")?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO authorities (slot, document) VALUES (?1, ?2)
         ON CONFLICT (slot) DO UPDATE SET document = excluded.document",
    )?;
    for (slot, record) in &changes.authorities {
        let slot = slot.to_string();
        match record {
            Some(record) => upsert.execute(params![slot, document(record)?])?,
            None => delete.execute([slot])?,
        };
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
    let mut update = connection.prepare_cached(
        "UPDATE head SET size = ?1, recorded = ?2, kill_epoch = ?3, next_place = ?4",
    )?;
    update.execute(params![
        signed(head.size),
        head.recorded.map(micros),
        signed(head.kill_epoch),
        signed(head.next_place)
    ])?;
    Ok(())
}
