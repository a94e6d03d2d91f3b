//! Takes the log to one sink, push after push, each until it is taken.

use std::sync::Arc;
use std::time::Duration;

use marque_audit::{Leaf, LogError, LogStore as _};
use marque_store::{FOR_GOOD, Failure, Kept};
use tokio_util::sync::CancellationToken;

use super::state::{CURSORS, SinkView};
use super::{Content, LAG, NotTaken, PUSHES, Push, Sink, Sinks, Target};
use crate::cursor::{self, Cursor, LONGEST_PAUSE, Pace, Step, Turn};
use crate::outgoing::in_one_line;
use crate::witnesses;

/// The most leaves of one push; while as many wait, the next one goes at once.
pub(super) const LEAVES: usize = 256;
/// The most bytes of leaves of one push, of which the first goes whatever its size.
const BYTES: usize = 2 * 1024 * 1024;
/// How often the size of a push that is not taken is halved: then it is one leaf.
const HALVED: u32 = LEAVES.ilog2();
/// How long one push may take.
const TIME: Duration = Duration::from_secs(30);
/// How often a log that another replica writes is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After so many failures in a row the sink counts as dead, and that is told as an error.
const DEAD: u32 = 8;

/// Why a sink could not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    /// The cursor cannot be read or kept.
    #[error("the cursor of an audit sink cannot be read or kept")]
    Cursor(#[from] Failure),
    /// The log cannot be read.
    #[error("the log cannot be read for an audit sink")]
    Log(#[from] LogError),
}

impl Sinks {
    /// One task for each sink.
    pub(crate) fn pushers(
        self: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let pusher = |sink: &Arc<Sink>| {
            let (sinks, sink, stop) = (Arc::clone(self), Arc::clone(sink), stop.clone());
            async move { sinks.serve(&sink, &stop).await }
        };
        self.sinks.iter().map(pusher).collect()
    }

    async fn serve(&self, sink: &Sink, stop: &CancellationToken) {
        let Some(holder) = cursor::holder(&*self.random) else {
            tracing::error!(sink = sink.name, "no randomness: the audit sink is not served");
            return;
        };
        self.follow(sink, &holder, stop).await;
        let now = self.clock.now();
        cursor::give_back(&self.store, (CURSORS, &sink.name), &holder, now).await;
    }

    async fn follow(&self, sink: &Sink, holder: &str, stop: &CancellationToken) {
        let mut pace = Pace::new(&self.store, &self.clock, stop, LOOK);
        loop {
            // How far it is behind is measured meanwhile, whatever it waits for.
            let step = self.step(sink, holder).await.unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, sink = sink.name, "an audit sink cannot be served");
                Step::NotBefore(self.clock.now() + LOOK)
            });
            if !pace.goes_on(step).await {
                return;
            }
        }
    }

    /// Looks at what is next, and pushes once at most.
    async fn step(&self, sink: &Sink, holder: &str) -> Result<Step, SinkError> {
        let now = self.clock.now();
        let size = self.store.size().await?;
        let (row, mut cursor) =
            match cursor::turn(&self.store, (CURSORS, &sink.name), holder, now).await? {
                Turn::Own(own) => *own,
                Turn::Others => return Ok(Step::NotBefore(now + LOOK)),
                Turn::Unbegun => {
                    // A sink that is new is sent the log from its beginning.
                    let first = Cursor::first(0, holder, now);
                    cursor::begin(&self.store, (CURSORS, &sink.name), &first).await?;
                    return Ok(Step::More);
                }
            };
        let behind = size.saturating_sub(cursor.next);
        self.measure(sink, behind);
        let full = matches!(sink.content, Content::Records(_)) && behind >= LEAVES as u64;
        let every = if full { Duration::ZERO } else { sink.every };
        if let Some(due) = due(&cursor, every, now) {
            return Ok(Step::NotBefore(due));
        }
        let (pushed, next) = match sink.content {
            Content::Checkpoints => match self.push_checkpoint(sink, &mut cursor, now).await? {
                Some(pushed) => pushed,
                None => return Ok(Step::Nothing),
            },
            Content::Records(format) => {
                // A server may take less at once than there is; a folder goes on with what it has.
                let halved = match sink.target {
                    Target::Http(_) => cursor.failed.min(HALVED),
                    Target::Folder(_) | Target::Syslog(_) => 0,
                };
                let mut leaves = self.store.leaves(cursor.next, LEAVES >> halved).await?;
                leaves.truncate(fitting(&leaves, BYTES >> halved));
                if leaves.is_empty() {
                    return Ok(Step::Nothing);
                }
                let next = cursor.next + leaves.len() as u64;
                (self.push(sink, Push::Records(&leaves, format)).await, next)
            }
        };
        match pushed {
            Ok(()) => cursor = cursor.taken(next, now),
            Err(error) => self.not_taken(sink, &mut cursor, &error),
        }
        self.moved(&row, &cursor).await
    }

    /// Pushes the newest checkpoint that enough witnesses have cosigned, otherwise the newest of all; nothing where the sink has
    /// both. What came of it, and how many leaves it covers.
    async fn push_checkpoint(
        &self,
        sink: &Sink,
        cursor: &mut Cursor,
        now: jiff::Timestamp,
    ) -> Result<Option<(Result<(), NotTaken>, u64)>, SinkError> {
        // Of what was cosigned, the cursor has the size in words.
        let before = cursor.within.as_deref().and_then(|size| size.parse().ok()).unwrap_or(0_u64);
        let cosigned = witnesses::witnessed(&self.store, now).await?;
        if let Some((size, note)) = cosigned.filter(|(size, _)| *size > before) {
            let pushed = self.push(sink, Push::Cosigned(size, &note)).await;
            if pushed.is_ok() {
                cursor.within = Some(size.to_string());
            }
            return Ok(Some((pushed, size.max(cursor.next))));
        }
        let kept = self.store.checkpoint().await?;
        let Some(kept) = kept.filter(|kept| kept.frontier.size() > cursor.next) else {
            return Ok(None);
        };
        let size = kept.frontier.size();
        Ok(Some((self.push(sink, Push::Checkpoint(size, &kept.text)).await, size)))
    }

    async fn push(&self, sink: &Sink, push: Push<'_>) -> Result<(), NotTaken> {
        let pushing = tokio::time::timeout(TIME, sink.push(push));
        let pushed = pushing.await.unwrap_or(Err(NotTaken::TimedOut(TIME)));
        let result = if pushed.is_ok() { "taken" } else { "not_taken" };
        let labels = [
            ("trust_domain", self.trust_domain.to_string()),
            ("sink", sink.name.clone()),
            ("result", result.to_owned()),
        ];
        metrics::counter!(PUSHES, &labels).increment(1);
        pushed
    }

    fn not_taken(&self, sink: &Sink, cursor: &mut Cursor, error: &NotTaken) {
        let failure = in_one_line(error);
        cursor.not_taken(failure.clone(), self.clock.now());
        let (sink, tries) = (&sink.name, cursor.failed);
        if tries.is_multiple_of(DEAD) {
            tracing::error!(sink, failure, tries, "an audit sink takes nothing and falls behind");
        } else {
            tracing::warn!(sink, failure, tries, "a push was not taken by an audit sink");
        }
    }

    /// Keeps where the cursor is now. Whoever lost the turn meanwhile moves nothing.
    async fn moved(&self, row: &Kept, cursor: &Cursor) -> Result<Step, SinkError> {
        let kept = self.store.keep(vec![row.replaced_by(cursor, FOR_GOOD)?]).await?;
        Ok(if kept { Step::More } else { Step::Nothing })
    }

    fn measure(&self, sink: &Sink, behind: u64) {
        let labels = [("trust_domain", self.trust_domain.to_string()), ("sink", sink.name.clone())];
        // Exact up to 2^53 records.
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
        metrics::gauge!(LAG, &labels).set(behind as f64);
    }

    /// The sinks as they stand.
    pub(crate) async fn views(&self) -> Result<Vec<SinkView>, SinkError> {
        let (now, size) = (self.clock.now(), self.store.size().await?);
        let mut views = Vec::new();
        for sink in &self.sinks {
            let row = self.store.kept(CURSORS, &sink.name, now).await?;
            let cursor = row.map(|row| row.read::<Cursor>()).transpose()?;
            let next = cursor.as_ref().map_or(0, |cursor| cursor.next);
            views.push(SinkView {
                name: sink.name.clone(),
                sends: match sink.content {
                    Content::Checkpoints => "checkpoints".to_owned(),
                    Content::Records(format) => format.to_string(),
                },
                to: sink.to.clone(),
                behind: size.saturating_sub(next),
                failed: cursor.as_ref().map_or(0, |cursor| cursor.failed),
                retry_at: cursor.as_ref().and_then(|cursor| cursor.retry_at),
                failure: cursor.as_ref().and_then(|cursor| cursor.failure.clone()),
                delivered_at: cursor.as_ref().and_then(|cursor| cursor.delivered_at),
            });
        }
        Ok(views)
    }
}

/// When the next push is, if that is still to come. Times that a clock which was ahead has left are waited for by nobody.
fn due(cursor: &Cursor, every: Duration, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let due = match cursor.retry_at {
        Some(at) => Some(at).filter(|at| *at <= now + LONGEST_PAUSE),
        None => cursor.delivered_at.filter(|at| *at <= now).map(|at| at + every),
    };
    due.filter(|due| *due > now)
}

/// How many of these go into one push of so many bytes.
fn fitting(leaves: &[Leaf], most: usize) -> usize {
    let mut bytes = 0_usize;
    let fits = |leaf: &&Leaf| {
        bytes = bytes.saturating_add(leaf.bytes().len());
        bytes <= most
    };
    leaves.iter().take_while(fits).count().max(usize::from(!leaves.is_empty()))
}

#[cfg(test)]
mod tests {
    use marque_audit::{Event, EventKind};

    use super::*;

    fn leaf(seq: u64, bytes: usize) -> Leaf {
        let event = Event::new(EventKind::PostureSet, jiff::Timestamp::UNIX_EPOCH)
            .with_detail("pad", "x".repeat(bytes));
        let trust_domain = "prod.example.org".parse().unwrap();
        Leaf::seal(event, &trust_domain, seq, jiff::Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_push_has_so_many_bytes_of_leaves_at_most_and_one_leaf_at_least() {
        let large: Vec<Leaf> = (0..60).map(|seq| leaf(seq, 60_000)).collect();
        let fits = fitting(&large, BYTES);
        let bytes = |many| large.iter().take(many).map(|leaf| leaf.bytes().len()).sum::<usize>();
        assert!(bytes(fits) <= BYTES && bytes(fits + 1) > BYTES, "{fits}");
        assert!(fitting(&large, BYTES / 2) <= fits / 2 + 1);
        for most in [BYTES, 1] {
            assert_eq!(fitting(&large[..1], most), 1);
            assert_eq!(fitting(&[], most), 0);
        }
        assert_eq!(fitting(&large, 1), 1);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_no_push_up() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let every = Duration::from_secs(10);
        let mut cursor = Cursor::first(0, "a", at(1000));
        assert_eq!(due(&cursor, every, at(1000)), None);
        cursor.delivered_at = Some(at(995));
        assert_eq!(due(&cursor, every, at(1000)), Some(at(1005)));
        assert_eq!(due(&cursor, Duration::ZERO, at(1000)), None);
        cursor.delivered_at = Some(at(9000));
        assert_eq!(due(&cursor, every, at(1000)), None);
        cursor.retry_at = Some(at(1300));
        assert_eq!(due(&cursor, every, at(1000)), Some(at(1300)));
        cursor.retry_at = Some(at(1301));
        assert_eq!(due(&cursor, every, at(1000)), None);
    }
}
