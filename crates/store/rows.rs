//! Rows as both engines hand them out, and the domain values that they must still be.
//!
//! A document column holds the value's JSON; the columns beside it repeat what the database must find or compare. A
//! row whose columns and document disagree is damaged.

use std::error::Error;
use std::sync::Arc;

use jiff::Timestamp;
use marque_audit::log::AlteredLeaf;
use marque_audit::merkle::Frontier;
use marque_audit::{AuditError, Hash, Leaf, LogError, PrevCheckpoint, StoredCheckpoint};
use marque_exchange::{Deferral, StatusKey};
use marque_intent::pace::{Family, HISTORY, Hushed, PaceKey, PaceRow, Standing};
use marque_intent::{
    DenialId, Digest, Intent, IntentId, KillRecord, KillState, MAX_CLOCK_STEP_BACK,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::transaction::Found;
use crate::{Failure, Kept};

/// The end of the log, and the newest epoch: the one row that every transaction begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) recorded: Option<Timestamp>,
    pub(crate) kill_epoch: u64,
    /// The serial number of the next place of the status lists.
    pub(crate) next_place: u64,
}

impl Head {
    /// The instant before which a token has expired by both clocks that are asked whether it is live: this process's, which
    /// shows `now`, and what is recorded, which stays ahead when a clock that was ahead is set right. Either may step back
    /// by a little.
    pub(crate) fn expired(&self, now: Timestamp) -> i64 {
        let earlier = self.recorded.unwrap_or(Timestamp::MIN).min(now);
        earlier.checked_sub(MAX_CLOCK_STEP_BACK).map_or(i64::MIN, micros)
    }

    pub(crate) fn of_columns(
        size: i64,
        recorded: Option<i64>,
        kill_epoch: i64,
        next_place: i64,
    ) -> Result<Self, Failure> {
        Ok(Self {
            size: count("head", "size", size)?,
            recorded: recorded.map(|at| instant("head", "recorded", at)).transpose()?,
            kill_epoch: count("head", "kill_epoch", kill_epoch)?,
            next_place: count("head", "next_place", next_place)?,
        })
    }
}

/// What a leaf says of the kept checkpoint. One that does not read keeps nothing from being recorded: whoever signs the next
/// one finds it.
pub(crate) fn prev_checkpoint(note: Option<String>) -> Option<PrevCheckpoint> {
    note.and_then(|note| PrevCheckpoint::of_kept_note(&note).ok())
}

/// An idempotency key and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idempotency {
    pub(crate) caller: String,
    pub(crate) key: String,
    pub(crate) body: Digest,
    pub(crate) intent: IntentId,
    pub(crate) created_at: Timestamp,
}

impl Idempotency {
    const TABLE: &'static str = "idempotency";

    pub(crate) fn of_columns(
        caller: &str,
        key: &str,
        body: &str,
        intent: &str,
        created_at: i64,
    ) -> Result<Self, Failure> {
        Ok(Self {
            caller: caller.to_owned(),
            key: key.to_owned(),
            body: name(Self::TABLE, key, body)?,
            intent: name(Self::TABLE, key, intent)?,
            created_at: instant(Self::TABLE, key, created_at)?,
        })
    }
}

/// The JSON of a value.
pub(crate) fn document<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::encode)
}

/// The value of a JSON document.
pub(crate) fn read<T: DeserializeOwned>(
    table: &'static str,
    key: &str,
    document: &str,
) -> Result<T, Failure> {
    serde_json::from_str(document).map_err(|error| Failure::damaged(table, key, error))
}

/// An instant as the database keeps it: microseconds since 1970.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The instant of a column.
pub(crate) fn instant(table: &'static str, key: &str, micros: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(micros).map_err(|error| Failure::damaged(table, key, error))
}

/// A count that the database keeps as a signed number.
pub(crate) fn count(table: &'static str, key: &str, number: i64) -> Result<u64, Failure> {
    u64::try_from(number).map_err(|error| Failure::damaged(table, key, error))
}

/// A count as the database keeps it. No count comes near the end of the signed range.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A name of a domain type in a column.
pub(crate) fn name<T>(table: &'static str, key: &str, text: &str) -> Result<T, Failure>
where
    T: std::str::FromStr<Err: Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error: T::Err| Failure::damaged(table, key, error))
}

/// The columns of an intent, and the document of its grant.
#[derive(Debug)]
pub(crate) struct IntentRow {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) state_version: i64,
    pub(crate) document: String,
    pub(crate) grant: Option<String>,
}

impl IntentRow {
    pub(crate) const TABLE: &'static str = "intents";

    pub(crate) fn into_intent(self) -> Result<Intent, Failure> {
        let Self { id, state, state_version, document, grant } = self;
        let course = read(Self::TABLE, &id, &document)?;
        let grant =
            grant.ok_or_else(|| Failure::damaged("grants", &*id, "the row is not there"))?;
        // Whoever reads a grant computes its digest anew, which is what approvals and tokens name.
        let intent = Intent::of_parts(Arc::new(read("grants", &id, &grant)?), course);
        let agree = intent.id().as_str() == id
            && intent.state().as_str() == state
            && count(Self::TABLE, &id, state_version)? == intent.state_version();
        if agree {
            Ok(intent)
        } else {
            Err(Failure::damaged(Self::TABLE, id, "its document and its columns disagree"))
        }
    }
}

/// The columns of a deferral.
#[derive(Debug)]
pub(crate) struct DeferralRow {
    pub(crate) code: String,
    pub(crate) client: String,
    pub(crate) state: String,
    pub(crate) document: String,
}

impl DeferralRow {
    const TABLE: &'static str = "deferrals";

    pub(crate) fn into_deferral(self) -> Result<Deferral, Failure> {
        let Self { code, client, state, document } = self;
        let deferral: Deferral = read(Self::TABLE, &code, &document)?;
        let agree = deferral.code.to_string() == code
            && deferral.client.as_str() == client
            && deferral.state.as_str() == state;
        if agree {
            Ok(deferral)
        } else {
            Err(Failure::damaged(Self::TABLE, code, "its document and its columns disagree"))
        }
    }
}

/// The columns of what an edge keeps.
#[derive(Debug)]
pub(crate) struct KeptRow {
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) until: i64,
    pub(crate) document: String,
}

impl KeptRow {
    const TABLE: &'static str = "kept";

    pub(crate) fn into_kept(self) -> Result<Kept, Failure> {
        let Self { kind, key, version, until, document } = self;
        Ok(Kept {
            version: count(Self::TABLE, &key, version)?,
            until: instant(Self::TABLE, &key, until)?,
            // One that is no JSON is of no form that anybody expects: each row fails for itself, when it is read.
            document: serde_json::from_str(&document).unwrap_or_default(),
            kind,
            key,
        })
    }
}

/// The columns of a leaf.
#[derive(Debug)]
pub(crate) struct LeafRow {
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) leaf: Vec<u8>,
}

/// Leaves from number `from` on, which must be dense and must be what was stored.
pub(crate) fn leaves(from: u64, rows: Vec<LeafRow>) -> Result<Vec<Leaf>, LogError> {
    (from..).zip(rows).map(|(expected, row)| leaf(expected, row)).collect()
}

/// The hashes of such leaves. Whether each is a leaf of its place is not looked at.
pub(crate) fn hashes(from: u64, rows: Vec<LeafRow>) -> Result<Vec<Hash>, LogError> {
    (from..).zip(rows).map(|(expected, row)| Ok(bytes(expected, row)?.1)).collect()
}

fn leaf(expected: u64, row: LeafRow) -> Result<Leaf, LogError> {
    let (bytes, _) = bytes(expected, row)?;
    let altered = |form| LogError::Altered { seq: expected, source: AlteredLeaf::Form(form) };
    Leaf::from_bytes(expected, bytes).map_err(altered)
}

/// The bytes of a leaf in its place, and their hash, which must be the one beside them.
fn bytes(expected: u64, row: LeafRow) -> Result<(Vec<u8>, Hash), LogError> {
    let LeafRow { seq, hash, leaf } = row;
    let found = u64::try_from(seq).unwrap_or(u64::MAX);
    if found != expected {
        return Err(LogError::Gap { expected, found });
    }
    let of_bytes = Hash::of_leaf(&leaf);
    if of_bytes.as_bytes().as_slice() != hash {
        return Err(LogError::Altered { seq: expected, source: AlteredLeaf::Hash });
    }
    Ok((leaf, of_bytes))
}

/// The columns of the newest checkpoint.
#[derive(Debug)]
pub(crate) struct CheckpointRow {
    pub(crate) size: i64,
    pub(crate) text: String,
    pub(crate) peaks: Vec<u8>,
}

impl CheckpointRow {
    pub(crate) fn of(checkpoint: &StoredCheckpoint) -> Self {
        let StoredCheckpoint { text, frontier } = checkpoint;
        let peaks = frontier.peaks().iter().flat_map(|peak| *peak.as_bytes()).collect();
        Self { size: signed(frontier.size()), text: text.clone(), peaks }
    }

    pub(crate) fn into_checkpoint(self) -> Result<StoredCheckpoint, LogError> {
        let size = u64::try_from(self.size)
            .map_err(|_negative| LogError::Damaged(AuditError::Sequence(0)))?;
        let peaks: Result<Vec<_>, _> = self.peaks.chunks(32).map(Hash::try_from).collect();
        let frontier =
            peaks.and_then(|peaks| Frontier::from_parts(size, peaks)).map_err(LogError::Damaged)?;
        Ok(StoredCheckpoint { text: self.text, frontier })
    }
}

/// The kills and lifts of the database, whose epochs count up from 1 without a gap.
pub(crate) fn kill_state(rows: Vec<(i64, String)>) -> Result<KillState, Failure> {
    let mut state = KillState::default();
    for (epoch, document) in rows {
        let key = epoch.to_string();
        let record: KillRecord = read("kills", &key, &document)?;
        if Ok(record.epoch()) != u64::try_from(epoch) || record.epoch() != state.epoch + 1 {
            return Err(Failure::damaged("kills", key, "its epoch is not the next one"));
        }
        state.take(record.order(), record.at());
    }
    Ok(state)
}

/// The secret of the `store` table under which places are permuted.
pub(crate) fn status_key(digits: &str) -> Result<StatusKey, Failure> {
    let pair = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let mut key = [0; 32];
    let read = key.iter_mut().enumerate().try_for_each(|(at, byte)| {
        *byte = pair(2 * at)?;
        Some(())
    });
    match read {
        Some(()) if digits.len() == 64 => Ok(StatusKey::new(key)),
        Some(()) | None => {
            Err(Failure::damaged("store", "status_key", "it is not 64 hexadecimal digits"))
        }
    }
}

/// The most rows that one count looks at.
pub(crate) const MAX_COUNTED_ROWS: i64 = 1000;

/// What of pace and refusals may be forgotten, and what of that the log was not told of.
pub(crate) type Forgotten = (Vec<String>, Vec<DenialId>, Vec<Hushed>);

/// Rows of pace that may be forgotten, by key; and what of them the log was not told of. One that does not read is forgotten
/// like the others.
pub(crate) fn forgotten_pace(
    rows: impl Iterator<Item = (String, Option<String>)>,
) -> (Vec<String>, Vec<Hushed>) {
    let (mut keys, mut hushed) = (Vec::new(), Vec::new());
    for (key, document) in rows {
        if let Some(Ok(PaceRow::Hushed(row))) = document.map(|text| read("pace", &key, &text)) {
            hushed.push(row);
        }
        keys.push(key);
    }
    (keys, hushed)
}

/// The instant from which refusals count as what came before, in microseconds.
pub(crate) fn history_since(now: Timestamp) -> i64 {
    micros(now.checked_sub(HISTORY).unwrap_or(Timestamp::MIN))
}

/// How a family stands, by a row of pace.
pub(crate) fn family_standing(key: &str, document: &str) -> Result<(Family, Standing), Failure> {
    let family = key.strip_prefix(PaceKey::FAMILIES).unwrap_or(key);
    match read("pace", key, document)? {
        PaceRow::Family(standing) => Ok((name("pace", key, family)?, standing)),
        _ => Err(Failure::damaged("pace", key, "its document is of another kind")),
    }
}

/// The intents that rows of pace say may be open, or runs of an exception.
pub(crate) fn open_intents(pace: &Found<PaceKey, PaceRow>) -> Vec<IntentId> {
    let open = |row: &PaceRow| match row {
        PaceRow::Open(open) => open.intents.iter().map(|open| open.id.clone()).collect(),
        PaceRow::Runs(runs) => runs.intents.clone(),
        _ => Vec::new(),
    };
    pace.readable().flat_map(open).collect()
}
