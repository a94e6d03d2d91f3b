//! Pushes what waits for one receiver, the oldest first; and finds out whether it is one event that is not taken, or all.
//!
//! Absent: when, and what waits.

use std::collections::VecDeque;

use marque_store::{FOR_GOOD, Kept, KeptChange};

use super::courier::{Courier, LONGEST_PAUSE};
use super::outbox::{Aside, Waiting};
use super::push::NotTaken;
use super::{SignalError, Signals, Stream, count_sent};
use crate::cursor::{Cursor, Step, pause};
use crate::outgoing::Destination;

/// How often an event is tried before it is asked whether others are taken.
pub(super) const TRIED_ALONE: u32 = 5;

/// What became of one event.
enum Sent {
    Taken,
    /// The receiver refuses this very event, with this code.
    Refused(&'static str),
    /// For now, and why.
    NotTaken(String),
}

/// What waits, and what its delivery changes.
struct Round<'a> {
    stream: &'a Stream,
    destination: &'a Destination,
    courier: &'a mut Courier,
    cursor: Cursor,
    changes: Vec<KeptChange>,
}

impl Signals {
    /// Pushes what has waited longest. The log is looked at before a pause.
    pub(super) async fn deliver(
        &self,
        (stream, destination): (&Stream, &Destination),
        row: &Kept,
        cursor: Cursor,
        (courier, waiting): (&mut Courier, Vec<(Kept, Waiting)>),
    ) -> Result<Step, SignalError> {
        let mut round = Round { stream, destination, courier, cursor, changes: Vec::new() };
        let mut waiting = VecDeque::from(waiting);
        let mut failed = None;
        while let Some(first) = waiting.pop_front() {
            match self.send(&mut round, &first.1).await {
                Sent::NotTaken(failure) => {
                    if !self.is_alone(&mut round, &mut waiting).await? {
                        failed = Some(failure);
                        break;
                    }
                    // Others are taken. It had its turn while they may not have been: once more, and no more.
                    match self.send(&mut round, &first.1).await {
                        Sent::NotTaken(failure) => self.set_aside(&mut round, &first, failure)?,
                        sent => self.settle(&mut round, &first, &sent)?,
                    }
                }
                sent => self.settle(&mut round, &first, &sent)?,
            }
        }
        let Round { courier, mut cursor, mut changes, .. } = round;
        if let Some(failure) = failed {
            let (stream, tries) = (stream.settings.name(), cursor.failed.saturating_add(1));
            tracing::warn!(stream, failure, tries, "not taken");
            let at = self.clock.now() + pause(tries, LONGEST_PAUSE);
            (cursor.failed, cursor.retry_at, cursor.failure) = (tries, Some(at), Some(failure));
        }
        changes.push(row.replaced_by(&cursor, FOR_GOOD)?);
        if self.store.keep(changes).await? {
            courier.taken.clear();
            return Ok(Step::More);
        }
        Ok(Step::Nothing)
    }

    /// Whether the first one alone is not taken, which was tried for long enough: another one that waits is sent, each time
    /// the next.
    async fn is_alone(
        &self,
        round: &mut Round<'_>,
        waiting: &mut VecDeque<(Kept, Waiting)>,
    ) -> Result<bool, SignalError> {
        let tries = round.cursor.failed.saturating_add(1);
        let Some(turn) = tries.checked_sub(TRIED_ALONE) else { return Ok(false) };
        let turn = usize::try_from(turn).unwrap_or(usize::MAX);
        let Some(at) = turn.checked_rem(waiting.len()) else { return Ok(false) };
        let Some(other) = waiting.remove(at) else { return Ok(false) };
        match self.send(round, &other.1).await {
            Sent::NotTaken(_) => {
                waiting.insert(at, other);
                Ok(false)
            }
            sent => self.settle(round, &other, &sent).map(|()| true),
        }
    }

    async fn send(&self, round: &mut Round<'_>, one: &Waiting) -> Sent {
        let jti = one.claims.jti();
        if round.courier.taken.contains(jti) {
            return Sent::Taken;
        }
        match self.push(round.stream, round.destination, &one.claims).await {
            Ok(()) => {
                round.courier.taken.insert(jti.to_owned());
                Sent::Taken
            }
            Err(NotTaken::Refused(code)) => Sent::Refused(code),
            Err(error) => Sent::NotTaken(error.told()),
        }
    }

    /// One that waits no more, because its receiver has it or does not want it.
    fn settle(
        &self,
        round: &mut Round<'_>,
        (row, one): &(Kept, Waiting),
        sent: &Sent,
    ) -> Result<(), SignalError> {
        if let Sent::Refused(code) = *sent {
            let stream = round.stream.settings.name();
            tracing::error!(stream, leaf = one.leaf, code, "an event was put aside");
            let aside = Aside::of(one, self.clock.now(), code.to_owned());
            round.changes.push(aside.row(stream)?);
        }
        (round.cursor.failed, round.cursor.failure) = (0, None);
        round.cursor.delivered_at = Some(self.clock.now());
        round.changes.push(row.taken_away());
        Ok(())
    }

    /// One that holds up the others, which are taken.
    fn set_aside(
        &self,
        round: &mut Round<'_>,
        (row, one): &(Kept, Waiting),
        failure: String,
    ) -> Result<(), SignalError> {
        let stream = round.stream.settings.name();
        tracing::error!(
            stream,
            leaf = one.leaf,
            failure,
            "an event is not taken and was put aside"
        );
        count_sent(round.stream, "put_aside");
        round.changes.push(Aside::of(one, self.clock.now(), failure).row(stream)?);
        round.changes.push(row.taken_away());
        (round.cursor.failed, round.cursor.failure) = (0, None);
        Ok(())
    }
}
