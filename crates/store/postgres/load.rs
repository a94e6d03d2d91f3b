//! Loading and locking the rows of a batch, inside its transaction.
//!
//! The head comes first: whoever has it has the turn. What is read after it is what the last turn left, because at READ
//! COMMITTED every statement sees what was committed before it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use deadpool_postgres::Transaction;
use marque_authority::AuthorityRecord;
use marque_exchange::{Deferral, TokenId, TokenRecord};
use marque_intent::{Digest, Intent, IntentId, KillState};
use marque_spiffe::SpiffeId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{entries, open, pace, recent};
use crate::known::KnownIntents;
use crate::rows::{
    DeferralRow, Head, Idempotency, IntentRow, KeptRow, count, instant, kill_state, micros, name,
    open_intents, prev_checkpoint, read, signed,
};
use crate::transaction::{Found, Keys, Loaded, OverRows, Replays};
use crate::writer::Shared;
use crate::{Failure, Kept};

pub(super) async fn load(
    transaction: &Transaction<'_>,
    keys: &Keys,
    shared: &Shared,
) -> Result<Loaded, Failure> {
    let lock = transaction
        .prepare_cached("SELECT size, recorded, kill_epoch, next_place FROM head FOR UPDATE")
        .await?;
    let head = head(&transaction.query_one(&lock, &[]).await?)?;
    let kills = match shared.known_kills(head.kill_epoch) {
        Some(known) => known,
        None => kills(
            &transaction
                .query("SELECT epoch, document::text FROM kills ORDER BY epoch", &[])
                .await?,
        )?,
    };
    let authorities =
        async { if keys.authorities { authorities(transaction).await } else { Ok(Vec::new()) } };
    let expired = head.expired(shared.clock.now());
    let asked = keys.intents.iter().collect();
    let (
        idempotency,
        (tokens, damaged_families),
        deferrals,
        replays,
        kept,
        pace,
        entries,
        authorities,
        over,
        mut found,
        open,
        checkpoint,
    ) = futures::try_join!(
        idempotency(transaction, keys),
        tokens(transaction, keys, expired),
        deferrals(transaction, keys),
        replays(transaction, keys),
        kept(transaction, keys),
        pace::load(transaction, &keys.pace),
        entries::load(transaction, &keys.entries),
        authorities,
        rows_over(transaction, keys),
        intents(transaction, &asked, &shared.intents),
        open::load(transaction, keys, shared.clock.now()),
        checkpoint_note(transaction),
    )?;
    // A replayed request answers with the intent that its key led to.
    let earlier = idempotency.readable().map(|row| &row.intent);
    // A poll is answered by what its intent is.
    let awaited = deferrals.readable().filter(|row| keys.deferrals.contains(&row.code));
    let awaited = awaited.map(|row| &row.intent);
    let below = open.below.values().flatten();
    let maybe_open = open_intents(&pace);
    let recent = recent::load(transaction, keys.recent.iter()).await?;
    let led_to = earlier.chain(awaited).chain(below).chain(&maybe_open).chain(&recent);
    let led_to = led_to.filter(|id| !keys.intents.contains(*id)).collect();
    found.extend(intents(transaction, &led_to, &shared.intents).await?);
    Ok(Loaded {
        head,
        kills,
        intents: found,
        tokens,
        damaged_families,
        idempotency,
        deferrals,
        replays,
        kept,
        pace,
        entries,
        authorities,
        over,
        open,
        checkpoint: prev_checkpoint(checkpoint),
    })
}

async fn checkpoint_note(transaction: &Transaction<'_>) -> Result<Option<String>, Failure> {
    let query = transaction.prepare_cached("SELECT text FROM checkpoints").await?;
    let row = transaction.query_opt(&query, &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The columns `size, recorded, kill_epoch, next_place`.
pub(super) fn head(row: &Row) -> Result<Head, Failure> {
    Head::of_columns(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)
}

/// The columns `epoch, document`.
pub(super) fn kills(rows: &[Row]) -> Result<KillState, Failure> {
    let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    kill_state(rows.collect::<Result<_, tokio_postgres::Error>>()?)
}

/// The columns `id, state, state_version, document`, and the document of the grant.
pub(super) fn intent_row(row: &Row) -> Result<IntentRow, Failure> {
    Ok(IntentRow {
        id: row.try_get(0)?,
        state: row.try_get(1)?,
        state_version: row.try_get(2)?,
        document: row.try_get(3)?,
        grant: row.try_get(4)?,
    })
}

async fn idempotency(
    transaction: &Transaction<'_>,
    keys: &Keys,
) -> Result<Found<(String, String), Idempotency>, Failure> {
    if keys.idempotency.is_empty() {
        return Ok(Found::nothing());
    }
    let (agents, names): (Vec<&str>, Vec<&str>) =
        keys.idempotency.iter().map(|(agent, key)| (agent.as_str(), key.as_str())).unzip();
    let query = transaction
        .prepare_cached(
            "SELECT agent, key, body, intent, created_at FROM idempotency
             WHERE (agent, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
             ORDER BY agent, key FOR UPDATE",
        )
        .await?;
    let mut found = Found::nothing();
    for row in transaction.query(&query, &[&agents, &names]).await? {
        let (agent, key): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (body, intent): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let read = Idempotency::of_columns(&agent, &key, &body, &intent, row.try_get(4)?);
        found.insert((agent, key), read);
    }
    Ok(found)
}

async fn deferrals(
    transaction: &Transaction<'_>,
    keys: &Keys,
) -> Result<Found<Digest, Deferral>, Failure> {
    if keys.deferrals.is_empty() && keys.deferral_clients.is_empty() {
        return Ok(Found::nothing());
    }
    let query = transaction
        .prepare_cached(
            "SELECT code, client, state, document::text FROM deferrals
             WHERE code = ANY($1::text[]) OR client = ANY($2::text[]) ORDER BY code FOR UPDATE",
        )
        .await?;
    let codes: Vec<String> = keys.deferrals.iter().map(ToString::to_string).collect();
    let clients: Vec<&str> = keys.deferral_clients.iter().map(SpiffeId::as_str).collect();
    let mut found = Found::nothing();
    for row in transaction.query(&query, &[&codes, &clients]).await? {
        let row = deferral_row(&row)?;
        if let Ok(code) = row.code.parse() {
            found.insert(code, row.into_deferral());
        }
    }
    Ok(found)
}

/// The columns `code, client, state, document`.
pub(super) fn deferral_row(row: &Row) -> Result<DeferralRow, Failure> {
    Ok(DeferralRow {
        code: row.try_get(0)?,
        client: row.try_get(1)?,
        state: row.try_get(2)?,
        document: row.try_get(3)?,
    })
}

async fn intents(
    transaction: &Transaction<'_>,
    ids: &BTreeSet<&IntentId>,
    known: &KnownIntents,
) -> Result<Found<IntentId, Arc<Intent>>, Failure> {
    if ids.is_empty() {
        return Ok(Found::nothing());
    }
    let query = transaction
        .prepare_cached(
            // The documents come only where they are not known already.
            "SELECT intents.id, intents.state, state_version,
                    CASE WHEN unchanged THEN NULL ELSE intents.document::text END,
                    CASE WHEN unchanged THEN NULL ELSE grants.document::text END
             FROM intents JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS known (id, state, version)
                  ON known.id = intents.id
                  LEFT JOIN grants ON grants.intent = intents.id
                  CROSS JOIN LATERAL (SELECT coalesce(
                      state_version = known.version AND intents.state = known.state, false)) AS now (unchanged)
             ORDER BY intents.id FOR UPDATE OF intents",
        )
        .await?;
    let seen: BTreeMap<&str, _> =
        ids.iter().map(|id| (id.as_str(), (*id, known.last_seen(id)))).collect();
    let names: Vec<&str> = seen.keys().copied().collect();
    let last = || seen.values().map(|(_, intent)| intent.as_ref());
    let states: Vec<Option<&str>> =
        last().map(|intent| intent.map(|intent| intent.state().as_str())).collect();
    let versions: Vec<Option<i64>> =
        last().map(|intent| intent.map(|intent| signed(intent.state_version()))).collect();
    let mut found = Found::nothing();
    for row in transaction.query(&query, &[&names, &states, &versions]).await? {
        let Some((id, seen)) = seen.get(row.try_get::<_, &str>(0)?) else { continue };
        let unchanged = row.try_get::<_, Option<&str>>(3)?.is_none();
        let intent = match seen {
            Some(intent) if unchanged => Ok(Arc::clone(intent)),
            _ => known.of_row(intent_row(&row)?),
        };
        found.insert((*id).clone(), intent);
    }
    Ok(found)
}

/// Tokens by id and what has not expired of every family, and the families of which not every row reads.
async fn tokens(
    transaction: &Transaction<'_>,
    keys: &Keys,
    expired: i64,
) -> Result<(Found<TokenId, TokenRecord>, BTreeMap<IntentId, Failure>), Failure> {
    let (mut tokens, mut damaged) = (Found::nothing(), BTreeMap::new());
    if !keys.tokens.is_empty() {
        let query = transaction
            .prepare_cached("SELECT id, document::text FROM tokens WHERE id = ANY($1::text[])")
            .await?;
        let ids: Vec<&str> = keys.tokens.iter().map(TokenId::as_str).collect();
        for row in transaction.query(&query, &[&ids]).await? {
            let id: &str = row.try_get(0)?;
            tokens.insert(name("tokens", id, id)?, read("tokens", id, row.try_get(1)?));
        }
    }
    if !keys.families.is_empty() {
        let query = transaction
            .prepare_cached(
                "SELECT id, document::text, intent FROM tokens WHERE intent = ANY($1::text[])
                 AND expires_at > $2 AND parent IS NOT NULL",
            )
            .await?;
        let intents: Vec<&str> = keys.families.iter().map(IntentId::as_str).collect();
        for row in transaction.query(&query, &[&intents, &expired]).await? {
            let (id, intent): (&str, &str) = (row.try_get(0)?, row.try_get(2)?);
            let record: Result<TokenRecord, Failure> = read("tokens", id, row.try_get(1)?);
            if let Err(failure) = &record {
                damaged.insert(name("tokens", id, intent)?, failure.clone());
            }
            tokens.insert(name("tokens", id, id)?, record);
        }
    }
    Ok((tokens, damaged))
}

async fn replays(transaction: &Transaction<'_>, keys: &Keys) -> Result<Replays, Failure> {
    if keys.replays.is_empty() {
        return Ok(Replays::default());
    }
    let kept = transaction.prepare_cached("SELECT kept FROM replay_count").await?;
    let known = transaction
        .prepare_cached("SELECT key, until FROM replays WHERE key = ANY($1::bytea[])")
        .await?;
    let names: Vec<&[u8]> = keys.replays.iter().map(|key| key.as_bytes().as_slice()).collect();
    let parameters: [&(dyn ToSql + Sync); 1] = [&names];
    let (kept, known) = futures::try_join!(
        transaction.query_one(&kept, &[]),
        transaction.query(&known, &parameters)
    )?;
    let kept = count("replay_count", "kept", kept.try_get(0)?)?;
    let mut replays = Replays { kept, ..Replays::default() };
    for row in known {
        let (name, until): (&[u8], i64) = (row.try_get(0)?, row.try_get(1)?);
        let key = keys.replays.iter().find(|key| key.as_bytes().as_slice() == name);
        let until = instant("replays", "until", until)?;
        replays.known.extend(key.map(|key| (*key, until)));
    }
    Ok(replays)
}

async fn kept(
    transaction: &Transaction<'_>,
    keys: &Keys,
) -> Result<Found<(String, String), Kept>, Failure> {
    let mut found = Found::nothing();
    if keys.kept.is_empty() {
        return Ok(found);
    }
    let (kinds, names): (Vec<&str>, Vec<&str>) =
        keys.kept.iter().map(|(kind, key)| (kind.as_str(), key.as_str())).unzip();
    let query = transaction
        .prepare_cached(
            "SELECT kind, key, version, until, document::text FROM kept
             WHERE (kind, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
             ORDER BY kind, key FOR UPDATE",
        )
        .await?;
    for row in transaction.query(&query, &[&kinds, &names]).await? {
        let row = kept_row(&row)?;
        found.insert((row.kind.clone(), row.key.clone()), row.into_kept());
    }
    Ok(found)
}

/// The columns `kind, key, version, until, document`.
pub(super) fn kept_row(row: &Row) -> Result<KeptRow, Failure> {
    Ok(KeptRow {
        kind: row.try_get(0)?,
        key: row.try_get(1)?,
        version: row.try_get(2)?,
        until: row.try_get(3)?,
        document: row.try_get(4)?,
    })
}

async fn authorities(transaction: &Transaction<'_>) -> Result<Vec<AuthorityRecord>, Failure> {
    let rows = transaction.query("SELECT slot, document::text FROM authorities", &[]).await?;
    rows.iter().map(|row| read("authorities", row.try_get(0)?, row.try_get(1)?)).collect()
}

async fn rows_over(transaction: &Transaction<'_>, keys: &Keys) -> Result<OverRows, Failure> {
    let Some(over) = keys.over else { return Ok(OverRows::default()) };
    let limit = signed(over.limit as u64);
    let tokens = transaction
        .prepare_cached("SELECT id FROM tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2")
        .await?;
    let tokens = transaction.query(&tokens, &[&micros(over.tokens_expired_before), &limit]).await?;
    let tokens = tokens.iter().map(|row| name("tokens", "id", row.try_get(0)?));
    let query = transaction
        .prepare_cached(
            "SELECT agent, key FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT $2",
        )
        .await?;
    let rows = transaction.query(&query, &[&micros(over.keys_created_before), &limit]).await?;
    let (pace_over, denials, hushed) = pace::over(transaction, over).await?;
    let idempotency = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok(OverRows {
        tokens: tokens.collect::<Result<_, Failure>>()?,
        idempotency: idempotency.collect::<Result<_, Failure>>()?,
        pace: pace_over,
        denials,
        hushed,
    })
}
