//! What waits for the receiver of a stream, and what it refused: rows that every replica sees.

use std::time::Duration;

use jiff::Timestamp;
use marque_ssf::SetClaims;
use marque_store::{Failure, Kept, KeptChange, Store};
use serde::{Deserialize, Serialize};

/// The rows of cursors, by the name of the stream.
pub(super) const CURSORS: &str = "ssf_stream";
/// How long something waits for a receiver that does not come.
const WAITS: Duration = Duration::from_hours(7 * 24);
/// Why something was put aside that nobody can read.
const UNREADABLE: &str = "unreadable";
/// How long what a receiver refused is kept.
const ASIDE: Duration = Duration::from_hours(14 * 24);

/// A SET that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    /// The leaf that it is about; absent where it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leaf: Option<u64>,
    pub(super) claims: SetClaims,
}

/// A SET that its receiver refused, or a leaf that cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aside {
    pub(super) jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leaf: Option<u64>,
    pub(super) at: Timestamp,
    /// The code that it answered, or why nothing could be sent.
    pub(super) failure: String,
}

impl Waiting {
    /// The row of the `place`th SET of a leaf.
    pub(super) fn row(
        self,
        stream: &str,
        (seq, part, place): (u64, &str, usize),
        now: Timestamp,
    ) -> Result<KeptChange, Failure> {
        // In the order of leaves, and of each in the order in which it is told: a part is the id of a grant, or empty.
        let key = format!("{seq:020}/{part}/{place:04}/{}", self.claims.jti());
        KeptChange::new(&waiting_kind(stream), &key, &self, until(now, WAITS))
    }
}

/// What waits for a receiver.
pub(super) struct Outbox {
    pub(super) waiting: Vec<(Kept, Waiting)>,
    /// Rows that do not read.
    pub(super) damaged: Vec<Kept>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.damaged.len()
    }
}

impl Aside {
    /// An event that waits no more.
    pub(super) fn of(waiting: &Waiting, at: Timestamp, failure: String) -> Self {
        let Waiting { leaf, claims } = waiting;
        Self { jti: claims.jti().to_owned(), leaf: *leaf, at, failure }
    }

    /// An event whose row does not read: what its key says of it.
    pub(super) fn damaged(key: &str, at: Timestamp) -> Self {
        let leaf = key.split('/').next().and_then(|seq| seq.parse().ok());
        let jti = key.rsplit('/').next().unwrap_or(key).to_owned();
        Self { jti, leaf, at, failure: UNREADABLE.to_owned() }
    }

    /// A leaf of which nobody can say what it comes to.
    pub(super) fn unreadable(seq: u64, now: Timestamp) -> Self {
        let (jti, failure) = (format!("leaf-{seq}"), UNREADABLE.to_owned());
        Self { jti, leaf: Some(seq), at: now, failure }
    }

    pub(super) fn row(&self, stream: &str) -> Result<KeptChange, Failure> {
        let key = format!("{}/{}", self.at, self.jti);
        KeptChange::new(&aside_kind(stream), &key, self, until(self.at, ASIDE))
    }
}

/// What waits, the oldest first: the first so many.
pub(super) async fn waiting(
    store: &Store,
    stream: &str,
    most: usize,
    now: Timestamp,
) -> Result<Outbox, Failure> {
    let mut outbox = Outbox { waiting: Vec::new(), damaged: Vec::new() };
    for row in store.first_kept(&waiting_kind(stream), most, now).await? {
        match row.read() {
            Ok(waiting) => outbox.waiting.push((row, waiting)),
            Err(_told_of_the_row) => outbox.damaged.push(row),
        }
    }
    Ok(outbox)
}

/// What was refused.
pub(super) async fn aside(
    store: &Store,
    stream: &str,
    now: Timestamp,
) -> Result<Vec<Aside>, Failure> {
    let rows = store.all_kept(&aside_kind(stream), now).await?;
    // One that does not read itself is still one.
    let read = |row: &Kept| row.read().unwrap_or_else(|_| Aside::damaged(&row.key, now));
    Ok(rows.iter().map(read).collect())
}

fn waiting_kind(stream: &str) -> String {
    format!("ssf_waiting/{stream}")
}

fn aside_kind(stream: &str) -> String {
    format!("ssf_aside/{stream}")
}

fn until(now: Timestamp, length: Duration) -> Timestamp {
    now.checked_add(length).unwrap_or(now)
}
