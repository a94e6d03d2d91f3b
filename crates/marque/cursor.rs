//! How far somebody who reads the log on has come, as every replica sees it: one row, of which every step replaces exactly
//! what was read, so that a replica that lost its turn moves nothing.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use marque_audit::{LogError, LogStore as _};
use marque_spiffe::{Clock, Random};
use marque_store::{FOR_GOOD, Failure, Kept, KeptChange, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a replica has its turn.
pub(crate) const TURN: Duration = Duration::from_secs(30);
/// A turn that ends later than this from now was taken by a clock that was ahead, and is nobody's.
const FARTHEST_TURN: Duration = Duration::from_secs(2 * TURN.as_secs());
/// The first pause between tries, and the longest unless a reader has another.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How far it has come.
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
    /// How often what is next was not taken.
    pub(crate) failed: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<Timestamp>,
    /// Why it was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// When something was last taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_at: Option<Timestamp>,
}

impl Cursor {
    /// The first one, held by `holder` from `now` on.
    pub(crate) fn first(next: u64, holder: &str, now: Timestamp) -> Self {
        Self {
            next,
            within: None,
            holder: holder.to_owned(),
            held_until: now + TURN,
            failed: 0,
            retry_at: None,
            failure: None,
            delivered_at: None,
        }
    }

    /// What came before `next` was taken at `now`.
    pub(crate) fn taken(self, next: u64, now: Timestamp) -> Self {
        Self { next, failed: 0, retry_at: None, failure: None, delivered_at: Some(now), ..self }
    }

    /// What is next was not taken, and is tried again.
    pub(crate) fn not_taken(&mut self, failure: String, now: Timestamp) {
        self.failed = self.failed.saturating_add(1);
        self.failure = Some(failure);
        self.retry_at = Some(now + pause(self.failed, LONGEST_PAUSE));
    }
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// There may be more at once.
    More,
    /// Then, or as soon as the log grows.
    Until(Timestamp),
    /// Not before, whatever the log does; looked at meanwhile as often as a log is that another replica writes.
    NotBefore(Timestamp),
    /// There is nothing, or it is another's turn.
    Nothing,
}

/// When somebody who follows the log takes the next step.
#[derive(Debug)]
pub(crate) struct Pace<'a> {
    clock: &'a dyn Clock,
    stop: &'a CancellationToken,
    /// How often a log that another replica writes is looked at.
    look: Duration,
    grown: watch::Receiver<u64>,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(
        store: &Store,
        clock: &'a Arc<dyn Clock>,
        stop: &'a CancellationToken,
        look: Duration,
    ) -> Self {
        Self { clock: &**clock, stop, look, grown: store.changed() }
    }

    /// Waits after a step until the next one; whether there is one.
    pub(crate) async fn goes_on(&mut self, step: Step) -> bool {
        let look = self.clock.now() + self.look;
        let (pause, grows) = match step {
            Step::More => return !self.stop.is_cancelled(),
            Step::Until(at) => (at, true),
            Step::NotBefore(at) => (at.min(look), false),
            Step::Nothing => (look, true),
        };
        tokio::select! {
            // Whoever is told to stop takes no further turn.
            biased;
            () = self.stop.cancelled() => false,
            () = self.clock.sleep_until(pause) => true,
            changed = self.grown.changed(), if grows => changed.is_ok(),
        }
    }
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// There is no cursor yet.
    Unbegun,
    /// Another replica's.
    Others,
    /// The own.
    Own(Box<(Kept, Cursor)>),
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

/// The name of a replica for its turns.
pub(crate) fn holder(random: &dyn Random) -> Option<String> {
    let mut holder = [0; 16];
    random.fill(&mut holder).ok()?;
    Some(hex::encode(holder))
}

/// The cursor `key` of a `kind`, if it is this replica's turn, which is renewed when half of it is over.
///
/// # Errors
/// The store cannot be read or written.
pub(crate) async fn turn(
    store: &Store,
    (kind, key): (&str, &str),
    holder: &str,
    now: Timestamp,
) -> Result<Turn, Failure> {
    let Some(row) = store.kept(kind, key, now).await? else { return Ok(Turn::Unbegun) };
    let mut cursor: Cursor = row.read()?;
    let own = cursor.holder == holder;
    let sound = cursor.held_until <= now + FARTHEST_TURN;
    if !own && sound && cursor.held_until > now {
        return Ok(Turn::Others);
    }
    if own && sound && cursor.held_until >= now + TURN / 2 {
        return Ok(Turn::Own(Box::new((row, cursor))));
    }
    (cursor.holder, cursor.held_until) = (holder.to_owned(), now + TURN);
    store.keep(vec![row.replaced_by(&cursor, FOR_GOOD)?]).await?;
    let row = store.kept(kind, key, now).await?;
    let row = row.filter(|row| row.read::<Cursor>().is_ok_and(|seen| seen == cursor));
    Ok(row.map_or(Turn::Others, |row| Turn::Own(Box::new((row, cursor)))))
}

/// Gives the turn back, if it is this replica's: whoever goes on need not wait for its end.
pub(crate) async fn give_back(
    store: &Store,
    (kind, key): (&str, &str),
    holder: &str,
    now: Timestamp,
) {
    let given_back = async {
        let Some(row) = store.kept(kind, key, now).await? else { return Ok(()) };
        let mut cursor: Cursor = row.read()?;
        if cursor.holder == holder {
            cursor.held_until = now;
            store.keep(vec![row.replaced_by(&cursor, FOR_GOOD)?]).await?;
        }
        Ok::<(), Failure>(())
    };
    if let Err(error) = given_back.await {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, kind, key, "a turn was not given back, and ends by itself");
    }
}

/// As [`turn`], for a reader that begins with what happens next: a new one stands at the end of the log.
///
/// # Errors
/// The store or the log cannot be read or written.
pub(crate) async fn turn_from_end(
    store: &Store,
    id: (&str, &str),
    holder: &str,
    now: Timestamp,
) -> Result<Option<(Kept, Cursor)>, TurnError> {
    match turn(store, id, holder, now).await? {
        Turn::Own(own) => return Ok(Some(*own)),
        Turn::Others => {}
        Turn::Unbegun => begin(store, id, &Cursor::first(store.size().await?, holder, now)).await?,
    }
    Ok(None)
}

/// Makes the first cursor; where another replica was first, its own stands.
///
/// # Errors
/// The store cannot be written.
pub(crate) async fn begin(
    store: &Store,
    (kind, key): (&str, &str),
    cursor: &Cursor,
) -> Result<(), Failure> {
    store.keep(vec![KeptChange::new(kind, key, cursor, FOR_GOOD)?]).await.map(drop)
}

/// How long to wait after so many failures: one second, then twice as long each time, and no longer than `longest`.
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
        let pauses: Vec<u64> =
            (1..=11).map(|failed| pause(failed, LONGEST_PAUSE).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }
}
