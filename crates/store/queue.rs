//! How transactions wait for their batch: the queue before the writer, and how long a batch lingers for company.
//!
//! Deliberately absent: the writer itself, which is the engine's.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use marque_audit::Correlation;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as task, oneshot};
use tracing::Instrument as _;

use crate::Failure;
use crate::transaction::{Batch, Keys, Transaction};

/// How many transactions may wait or be under way; more callers wait in line for a place.
const MAX_WAITING: usize = 4096;
/// How many transactions one commit takes.
pub(crate) const MAX_BATCH: usize = 512;
/// How long a batch waits for company at most.
const MAX_LINGER: Duration = Duration::from_millis(1);

/// A transaction whose caller waits, whatever it answers.
pub(crate) trait Job: fmt::Debug + Send {
    fn keys(&self, keys: &mut Keys);
    /// Runs the plan, and keeps the answer back.
    fn run(&mut self, batch: &mut Batch);
    /// Gives the answer: its own after the commit, or why there was none.
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

#[derive(Debug)]
struct Waiting<T: Transaction> {
    transaction: T,
    /// The request that it is run for.
    correlation: Option<Correlation>,
    outcome: Option<Result<T::Answer, Failure>>,
    reply: oneshot::Sender<Result<T::Answer, Failure>>,
    _place: OwnedSemaphorePermit,
}

impl<T: Transaction> Job for Waiting<T>
where
    T::Answer: fmt::Debug,
{
    fn keys(&self, keys: &mut Keys) {
        self.transaction.keys(keys);
    }

    fn run(&mut self, batch: &mut Batch) {
        self.outcome = Some(batch.run_for(self.correlation, &self.transaction));
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        let Self { transaction: _, correlation: _, outcome, reply, _place } = *self;
        let answer = committed.and_then(|()| outcome.unwrap_or(Err(Failure::Stopped)));
        // A caller that went away does not undo what is durable.
        drop(reply.send(answer));
    }
}

/// Where an engine's writer takes its jobs from.
#[derive(Debug)]
pub(crate) enum Mailbox {
    Thread(mpsc::Sender<Box<dyn Job>>),
    Task(task::UnboundedSender<Box<dyn Job>>),
}

/// The line of transactions before the writer.
#[derive(Debug)]
pub(crate) struct Queue {
    mailbox: Mailbox,
    places: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        MAX_WAITING - self.places.available_permits()
    }

    /// Runs a transaction, and answers once it is durable. One that was queued runs even if its caller goes away.
    pub(crate) async fn run<T>(&self, transaction: T) -> Result<T::Answer, Failure>
    where
        T: Transaction,
        T::Answer: fmt::Debug,
    {
        let place =
            self.places.clone().acquire_owned().await.map_err(|_closed| Failure::Stopped)?;
        let since = Instant::now();
        let (reply, answer) = oneshot::channel();
        let correlation = Correlation::current();
        let job =
            Box::new(Waiting { transaction, correlation, outcome: None, reply, _place: place });
        let sent = match &self.mailbox {
            Mailbox::Thread(sender) => sender.send(job).is_ok(),
            Mailbox::Task(sender) => sender.send(job).is_ok(),
        };
        if !sent {
            return Err(Failure::Stopped);
        }
        let answer = answer.instrument(tracing::info_span!("record")).await;
        metrics::histogram!("marque_check_seconds", "check" => "record").record(since.elapsed());
        answer.unwrap_or(Err(Failure::Stopped))
    }
}

/// How long a batch waits for company: as long as it takes for as many to come as the last one had, and never more than
/// [`MAX_LINGER`]. Whoever is alone does not wait.
///
/// Callers who were just answered tend to come back at once; without waiting, the first of them would be written alone
/// while the others queue behind its fsync.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    last: usize,
}

impl Linger {
    /// How long to wait for more when `have` transactions are there.
    pub(crate) fn patience(&self, have: usize) -> Option<Duration> {
        (have < self.last.min(MAX_BATCH)).then_some(MAX_LINGER)
    }

    /// Remembers how many came.
    pub(crate) fn took(&mut self, count: usize) {
        self.last = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_alone_does_not_wait() {
        let mut linger = Linger::default();
        assert_eq!(linger.patience(1), None);
        linger.took(1);
        assert_eq!(linger.patience(1), None);
    }

    #[test]
    fn under_load_a_batch_waits_for_as_many_as_came_last() {
        let mut linger = Linger::default();
        linger.took(64);
        assert_eq!(linger.patience(3), Some(MAX_LINGER));
        assert_eq!(linger.patience(64), None);
        linger.took(3);
        assert_eq!(linger.patience(3), None);
    }

    #[test]
    fn a_full_batch_never_waits() {
        let mut linger = Linger::default();
        linger.took(10 * MAX_BATCH);
        assert_eq!(linger.patience(MAX_BATCH), None);
    }

    #[tokio::test]
    async fn without_a_writer_nothing_is_answered_as_done() {
        let (sender, receiver) = mpsc::channel();
        drop(receiver);
        let queue = Queue::new(Mailbox::Thread(sender));
        let event =
            marque_audit::Event::new(marque_audit::EventKind::Kill, jiff::Timestamp::UNIX_EPOCH);
        let answer = queue.run(crate::transactions::Append { event }).await;
        assert!(matches!(answer, Err(Failure::Stopped)));
    }
}
