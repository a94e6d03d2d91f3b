//! Follows the log for one stream: keeps what its receiver is to be told, and pushes what is kept.
//!
//! Absent: fetching, which its receiver does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Leaf, LogStore as _};
use marque_store::{FOR_GOOD, Kept, KeptChange};
use tokio_util::sync::CancellationToken;

use super::outbox::{Aside, CURSORS, Waiting, waiting};
use super::push::NotTaken;
use super::{SignalError, Signals, Stream};
use crate::cursor::{Cursor, pause, turn_from_end};
use crate::outgoing::Destination;

/// How many leaves are read at a time.
const LEAVES: usize = 256;
/// From how many SETs on what was found is kept before more is looked for.
const KEPT_AT_ONCE: usize = 256;
/// How many SETs are pushed before it is written down that they were.
const PUSHED_AT_ONCE: usize = 16;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often a log that another replica writes is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What a step came to.
enum Step {
    /// There may be more at once.
    More,
    /// Not before.
    Until(Timestamp),
    /// There is nothing, or it is another's turn.
    Nothing,
}

/// What one courier knows of what it did.
struct Courier {
    holder: String,
    /// What was taken, and could not be written down as that yet.
    taken: BTreeSet<String>,
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
        let mut holder = [0; 16];
        if self.random.fill(&mut holder).is_err() {
            tracing::error!(stream = name, "no randomness: the stream is not served");
            return;
        }
        let mut courier = Courier { holder: hex::encode(holder), taken: BTreeSet::new() };
        let mut grown = self.store.changed();
        loop {
            let pause = match self.step(stream, &mut courier).await {
                Ok(Step::More) if stop.is_cancelled() => return,
                Ok(Step::More) => continue,
                Ok(Step::Until(at)) => at,
                Ok(Step::Nothing) => self.clock.now() + LOOK,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, stream = name, "a stream cannot be served");
                    self.clock.now() + LOOK
                }
            };
            tokio::select! {
                // Whoever is told to stop takes no further turn.
                biased;
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(pause) => {}
                changed = grown.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn step(&self, stream: &Stream, courier: &mut Courier) -> Result<Step, SignalError> {
        let now = self.clock.now();
        let name = stream.settings.name();
        let found = turn_from_end(&self.store, (CURSORS, name), &courier.holder, now).await?;
        let Some((row, cursor)) = found else { return Ok(Step::Nothing) };
        let leaves = self.store.leaves(cursor.next, LEAVES).await;
        let leaves = leaves.map_err(SignalError::unavailable)?;
        if !leaves.is_empty() {
            return self.take_up(stream, &row, cursor, &leaves).await;
        }
        let Some(destination) = &stream.delivery.destination else { return Ok(Step::Nothing) };
        match cursor.retry_at.filter(|at| *at > now) {
            Some(at) => Ok(Step::Until(at)),
            None => self.deliver((stream, destination), &row, cursor, courier).await,
        }
    }

    /// Keeps what leaves come to, together with how far that goes.
    async fn take_up(
        &self,
        stream: &Stream,
        row: &Kept,
        mut cursor: Cursor,
        leaves: &[Leaf],
    ) -> Result<Step, SignalError> {
        let mut changes: Vec<KeptChange> = Vec::new();
        for leaf in leaves {
            let told = self.told(stream, leaf, cursor.within.as_deref()).await?;
            let part = cursor.within.take().unwrap_or_default();
            for (place, claims) in told.sets.into_iter().enumerate() {
                let waiting = Waiting { leaf: Some(leaf.seq()), claims };
                let at = (leaf.seq(), part.as_str(), place);
                changes.push(waiting.row(stream.settings.name(), at, self.clock.now())?);
            }
            cursor.within = told.after.map(|after| after.as_str().to_owned());
            cursor.next = if cursor.within.is_some() { leaf.seq() } else { leaf.seq() + 1 };
            if cursor.within.is_some() || changes.len() >= KEPT_AT_ONCE {
                break;
            }
        }
        if !changes.is_empty() {
            // What is new does not wait for the end of a pause.
            cursor.retry_at = None;
        }
        changes.push(row.replaced_by(&cursor, FOR_GOOD)?);
        let kept = self.store.keep(changes).await?;
        Ok(if kept { Step::More } else { Step::Nothing })
    }

    /// Pushes what has waited longest.
    async fn deliver(
        &self,
        (stream, destination): (&Stream, &Destination),
        row: &Kept,
        mut cursor: Cursor,
        courier: &mut Courier,
    ) -> Result<Step, SignalError> {
        let name = stream.settings.name();
        let waiting = waiting(&self.store, name, self.clock.now()).await?;
        if waiting.is_empty() {
            return Ok(Step::Nothing);
        }
        let (mut changes, mut failed) = (Vec::new(), None);
        for (found, Waiting { leaf, claims }) in waiting.into_iter().take(PUSHED_AT_ONCE) {
            let jti = claims.jti().to_owned();
            if !courier.taken.contains(&jti) {
                match self.push(stream, destination, &claims).await {
                    Ok(()) => drop(courier.taken.insert(jti)),
                    Err(NotTaken::Refused(code)) => {
                        tracing::error!(stream = name, leaf, code, "an event was put aside");
                        let at = self.clock.now();
                        changes.push(Aside { jti, leaf, at, failure: code.to_owned() }.row(name)?);
                    }
                    Err(error) => {
                        failed = Some(error.told());
                        break;
                    }
                }
                (cursor.failed, cursor.failure) = (0, None);
                cursor.delivered_at = Some(self.clock.now());
            }
            changes.push(found.taken_away());
        }
        let step = match failed {
            Some(failure) => {
                cursor.failed = cursor.failed.saturating_add(1);
                tracing::warn!(stream = name, failure, tries = cursor.failed, "not taken");
                let at = self.clock.now() + pause(cursor.failed, LONGEST_PAUSE);
                (cursor.retry_at, cursor.failure) = (Some(at), Some(failure));
                Step::Until(at)
            }
            None => Step::More,
        };
        changes.push(row.replaced_by(&cursor, FOR_GOOD)?);
        if self.store.keep(changes).await? {
            courier.taken.clear();
            return Ok(step);
        }
        Ok(Step::Nothing)
    }
}
