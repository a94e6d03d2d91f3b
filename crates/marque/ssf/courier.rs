//! Follows the log for one stream: keeps what its receiver is to be told, and has what is kept delivered.
//!
//! Absent: delivery, and fetching, which a receiver does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Leaf, LogStore as _};
use marque_store::{FOR_GOOD, Kept, KeptChange};
use tokio_util::sync::CancellationToken;

use super::outbox::{Aside, CURSORS, Outbox, Waiting, waiting};
use super::told::{Part, Told};
use super::{SignalError, Signals, Stream, count_sent};
use crate::cursor::{Cursor, Pace, Step, give_back, holder, turn_from_end};

/// How many leaves are read at a time.
const LEAVES: usize = 256;
/// From how many SETs on what was found is kept before more is looked for.
const KEPT_AT_ONCE: usize = 256;
/// How many SETs are pushed before it is written down that they were, and more is looked for.
const PUSHED_AT_ONCE: usize = 16;
/// From how many waiting SETs on no leaf is taken up: what is behind stays in the log until there is room.
const MOST_WAITING: usize = 512;
/// For how long a leaf that cannot be told is tried again before it is put aside.
const TRIED_FOR: Duration = Duration::from_mins(1);
/// The longest pause between two tries.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often a log that another replica writes is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What one courier knows of what it did.
pub(super) struct Courier {
    holder: String,
    /// What was taken, and could not be written down as that yet.
    pub(super) taken: BTreeSet<String>,
    /// Whether the last step delivered, so that it is the log's turn.
    has_delivered: bool,
    /// The leaf that cannot be told, and since when.
    stuck: Option<(u64, Timestamp)>,
}

impl Courier {
    fn new(holder: String) -> Self {
        Self { holder, taken: BTreeSet::new(), has_delivered: false, stuck: None }
    }

    /// Whether a leaf that cannot be told once more was tried for long enough.
    fn gives_up(&mut self, leaf: u64, now: Timestamp) -> bool {
        match self.stuck.filter(|(stuck, _)| *stuck == leaf) {
            Some((_, since)) => now >= since + TRIED_FOR,
            None => {
                self.stuck = Some((leaf, now));
                false
            }
        }
    }
}

impl Signals {
    /// Two tasks for each stream: one follows the log, the other the kill switch.
    pub(crate) fn couriers(
        self: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let courier = |stream: &Arc<Stream>| {
            let (signals, stream, stop) = (Arc::clone(self), Arc::clone(stream), stop.clone());
            async move {
                // What is told at once does not wait for a database that takes its time.
                tokio::join!(
                    signals.serve(&stream, &stop),
                    signals.tell_unrecorded(&stream, &stop)
                );
            }
        };
        self.streams.iter().map(courier).collect()
    }

    async fn serve(&self, stream: &Stream, stop: &CancellationToken) {
        let name = stream.settings.name();
        let Some(holder) = holder(&*self.random) else {
            tracing::error!(stream = name, "no randomness: the stream is not served");
            return;
        };
        self.follow(stream, Courier::new(holder.clone()), stop).await;
        give_back(&self.store, (CURSORS, name), &holder, self.clock.now()).await;
    }

    async fn follow(&self, stream: &Stream, mut courier: Courier, stop: &CancellationToken) {
        let name = stream.settings.name();
        let mut pace = Pace::new(&self.store, &self.clock, stop, LOOK);
        loop {
            let step = self.step(stream, &mut courier).await.unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, stream = name, "a stream cannot be served");
                Step::Nothing
            });
            if !pace.goes_on(step).await {
                return;
            }
        }
    }

    /// What waits is delivered first, then it is the log's turn, and so on: neither waits for the other to come to its end.
    async fn step(&self, stream: &Stream, courier: &mut Courier) -> Result<Step, SignalError> {
        let now = self.clock.now();
        let name = stream.settings.name();
        let found = turn_from_end(&self.store, (CURSORS, name), &courier.holder, now).await?;
        let Some((row, cursor)) = found else { return Ok(Step::Nothing) };
        let pause = cursor.retry_at.filter(|at| *at > now);
        let destination = stream.delivery.destination.as_ref().filter(|_| pause.is_none());
        let has_delivered = std::mem::take(&mut courier.has_delivered);
        let Outbox { waiting, damaged } = waiting(&self.store, name, PUSHED_AT_ONCE, now).await?;
        if !damaged.is_empty() {
            return self.put_damaged_aside(stream, &row, &cursor, damaged).await;
        }
        if let Some(destination) = destination.filter(|_| !has_delivered)
            && !waiting.is_empty()
        {
            courier.has_delivered = true;
            return self.deliver((stream, destination), &row, cursor, (courier, waiting)).await;
        }
        let leaves = self.store.leaves(cursor.next, LEAVES).await;
        let leaves = leaves.map_err(SignalError::unavailable)?;
        if !leaves.is_empty() && self.has_room(name, now).await? {
            return self.take_up(stream, &row, cursor, (courier, &leaves)).await;
        }
        Ok(match pause {
            Some(at) => Step::Until(at),
            None if has_delivered && destination.is_some() => Step::More,
            None => Step::Nothing,
        })
    }

    async fn has_room(&self, stream: &str, now: Timestamp) -> Result<bool, SignalError> {
        Ok(waiting(&self.store, stream, MOST_WAITING, now).await?.len() < MOST_WAITING)
    }

    /// Rows that nobody can read any more hold nothing up: whoever looks at the stream is told of them.
    async fn put_damaged_aside(
        &self,
        stream: &Stream,
        row: &Kept,
        cursor: &Cursor,
        damaged: Vec<Kept>,
    ) -> Result<Step, SignalError> {
        let (name, now) = (stream.settings.name(), self.clock.now());
        let mut changes = vec![row.replaced_by(cursor, FOR_GOOD)?];
        for one in damaged {
            tracing::error!(
                stream = name,
                row = one.key,
                "an event that does not read was put aside"
            );
            count_sent(stream, "put_aside");
            changes.extend([Aside::damaged(&one.key, now).row(name)?, one.taken_away()]);
        }
        Ok(if self.store.keep(changes).await? { Step::More } else { Step::Nothing })
    }

    /// Keeps what leaves come to, together with how far that goes.
    async fn take_up(
        &self,
        stream: &Stream,
        row: &Kept,
        mut cursor: Cursor,
        (courier, leaves): (&mut Courier, &[Leaf]),
    ) -> Result<Step, SignalError> {
        let (name, now) = (stream.settings.name(), self.clock.now());
        let is_news = Part::is_news(cursor.within.as_deref());
        let mut changes: Vec<KeptChange> = Vec::new();
        for (nth, leaf) in leaves.iter().enumerate() {
            let told = match self.told(stream, leaf, cursor.within.as_deref()).await {
                Ok(told) => told,
                // What is before it is kept first.
                Err(_) if nth > 0 => break,
                Err(error) if courier.gives_up(leaf.seq(), now) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        error,
                        stream = name,
                        leaf = leaf.seq(),
                        "a leaf was put aside"
                    );
                    changes.push(Aside::unreadable(leaf.seq(), now).row(name)?);
                    Told::default()
                }
                Err(error) => return Err(error),
            };
            let part = cursor.within.take().unwrap_or_default();
            for (place, claims) in told.sets.into_iter().enumerate() {
                let waiting = Waiting { leaf: Some(leaf.seq()), claims };
                let at = (leaf.seq(), part.as_str(), place);
                changes.push(waiting.row(name, at, now)?);
            }
            cursor.within = told.next.map(|next| next.as_str().to_owned());
            cursor.next = if cursor.within.is_some() { leaf.seq() } else { leaf.seq() + 1 };
            if cursor.within.is_some() || changes.len() >= KEPT_AT_ONCE {
                break;
            }
        }
        if is_news && !changes.is_empty() {
            // What is new does not wait for the end of a pause.
            cursor.retry_at = None;
        }
        changes.push(row.replaced_by(&cursor, FOR_GOOD)?);
        if self.store.keep(changes).await? {
            courier.stuck = None;
            return Ok(Step::More);
        }
        Ok(Step::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use marque_testkit::START;

    use super::*;

    #[test]
    fn a_leaf_that_cannot_be_told_is_given_up_after_a_minute_and_no_other_with_it() {
        let mut courier = Courier::new("a".to_owned());
        let after = |seconds| START + Duration::from_secs(seconds);
        for (leaf, seconds, expected) in
            [(7, 0, false), (7, 59, false), (7, 60, true), (8, 61, false), (8, 121, true)]
        {
            assert_eq!(courier.gives_up(leaf, after(seconds)), expected, "{leaf} {seconds}");
        }
    }
}
