//! Whose turn it is to serve one receiver of what the log says, and how far that one has come: a row for each.
//!
//! A replica has its turn for [`TURN`] and renews it when half of it is over; another one takes over when it does not. Every
//! step replaces exactly the row that was read, so a replica that lost its turn moves nothing. Absent: what is sent.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use marque_audit::{LogError, LogStore as _};
use marque_store::{FOR_GOOD, Failure, Kept, KeptChange, Store};
use serde::{Deserialize, Serialize};

/// How long a replica has its turn.
pub(crate) const TURN: Duration = Duration::from_secs(30);
/// The first pause between tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How far a receiver has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    /// The number of the next leaf that is looked at.
    pub(crate) next: u64,
    /// How much of that leaf was told already, in the words of who tells it; nothing where it is told at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) within: Option<String>,
    /// Whose turn it is.
    pub(crate) holder: String,
    /// Until when.
    pub(crate) held_until: Timestamp,
    /// How often the next message was not taken.
    pub(crate) failed: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<Timestamp>,
    /// Why it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// When a message was last taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_at: Option<Timestamp>,
}

/// Why nobody knows whose turn it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    /// The row cannot be read or written.
    #[error("read or keep how far a receiver has come")]
    Store(#[from] Failure),
    /// The log cannot be read.
    #[error("read how far the log has come")]
    Log(#[from] LogError),
}

/// The cursor of `(kind, name)`, if it is the turn of `holder`. A receiver that is new begins at the end of the log.
pub(crate) async fn turn(
    store: &Store,
    (kind, name): (&str, &str),
    holder: &str,
    now: Timestamp,
) -> Result<Option<(Kept, Cursor)>, TurnError> {
    let Some(row) = store.kept(kind, name, now).await? else {
        let cursor = Cursor {
            next: store.size().await?,
            within: None,
            holder: holder.to_owned(),
            held_until: now + TURN,
            failed: 0,
            retry_at: None,
            failure: None,
            delivered_at: None,
        };
        store.keep(vec![KeptChange::new(kind, name, &cursor, FOR_GOOD)?]).await?;
        return Ok(None);
    };
    let mut cursor: Cursor = row.read()?;
    let own = cursor.holder == holder;
    if !own && cursor.held_until > now {
        return Ok(None);
    }
    if !own || cursor.held_until < now + TURN / 2 {
        (cursor.holder, cursor.held_until) = (holder.to_owned(), now + TURN);
        store.keep(vec![row.replaced_by(&cursor, FOR_GOOD)?]).await?;
        let row = store.kept(kind, name, now).await?;
        let row = row.filter(|row| row.read::<Cursor>().is_ok_and(|seen| seen == cursor));
        return Ok(row.map(|row| (row, cursor)));
    }
    Ok(Some((row, cursor)))
}

/// How long to wait after so many failures.
pub(crate) fn pause(failed: u32, longest: Duration) -> Duration {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(longest)
        .without_max_times();
    let at = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX);
    pauses.build().nth(at).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_limit() {
        let longest = Duration::from_mins(5);
        let pauses: Vec<u64> = (1..=11).map(|failed| pause(failed, longest).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }
}
