//! Queues with an end, and who empties them: batches are sent one after the other, and what a collector does not take after
//! a few tries is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};
use crate::telemetry::described::{DROPPED, EXPORTED};

/// How many of one kind may wait.
pub(super) const MAX_WAITING: usize = 2048;
/// How many go into one message.
const MAX_BATCH: usize = 512;
/// How long the first of a batch waits for company.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a batch is sent at most, and how long to wait between.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(500);
/// How large an answer may be; nothing in it is needed.
const MAX_ANSWER: usize = 64 * 1024;

/// Where things are put that are to be sent.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: mpsc::Sender<T>,
    signal: &'static str,
    held: Held,
}

/// How many things were put into a queue of which nobody knows yet whether they were taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn settle(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Counts what nobody will send any more as dropped; how many.
    pub(super) fn give_up(&self, signal: &'static str) -> usize {
        let lost = self.0.swap(0, Ordering::Relaxed);
        dropped(signal, "ended", lost);
        lost
    }
}

/// What waits in one.
pub(super) type Waiting<T> = mpsc::Receiver<T>;

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), signal: self.signal, held: self.held.clone() }
    }
}

/// A queue for one signal.
pub(super) fn queue<T>(signal: &'static str) -> (Queue<T>, Waiting<T>) {
    let (sender, waiting) = mpsc::channel(MAX_WAITING);
    (Queue { sender, signal, held: Held::default() }, waiting)
}

impl<T> Queue<T> {
    /// Never waits: where there is no room it is dropped, and counted.
    pub(super) fn put(&self, one: T) {
        self.held.add(1);
        if let Err(refused) = self.sender.try_send(one) {
            self.held.settle(1);
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => "full",
                mpsc::error::TrySendError::Closed(_) => "ended",
            };
            dropped(self.signal, reason, 1);
        }
    }

    /// What is in it, and on its way.
    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }
}

fn dropped(signal: &'static str, reason: &'static str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    metrics::counter!(DROPPED, "signal" => signal, "reason" => reason).increment(count);
}

/// Who sends one signal.
#[derive(Debug)]
pub(super) struct Courier {
    to: Destination,
    settings: Arc<Settings>,
    signal: &'static str,
}

/// Why a collector did not take it.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("call the collector")]
    Call(#[from] OutgoingError),
    #[error("the collector answered {0}")]
    Status(StatusCode),
    #[error("make a request")]
    Request(#[from] http::Error),
}

impl Courier {
    pub(super) fn new(to: Destination, settings: &Arc<Settings>, signal: &'static str) -> Self {
        for reason in ["full", "failed", "ended"] {
            dropped(signal, reason, 0);
        }
        Self { to, settings: Arc::clone(settings), signal }
    }

    /// Sends what comes, until `stop` is cancelled and nothing waits any more.
    pub(super) async fn batches<T: Send + 'static>(
        self,
        (mut waiting, held): (Waiting<T>, Held),
        stop: CancellationToken,
        written: impl Fn(Vec<T>) -> Vec<u8> + Send,
    ) {
        loop {
            let mut batch = Vec::new();
            let ending = tokio::select! {
                () = stop.cancelled() => true,
                first = waiting.recv() => {
                    batch.extend(first);
                    false
                }
            };
            if ending {
                waiting.close();
            } else {
                let more = self.company(&mut waiting, &mut batch);
                tokio::select! {
                    () = more => {}
                    () = stop.cancelled() => {}
                }
            }
            while batch.len() < MAX_BATCH
                && let Ok(one) = waiting.try_recv()
            {
                batch.push(one);
            }
            if batch.is_empty() && ending {
                return;
            }
            let count = batch.len();
            self.send(written(batch), count).await;
            held.settle(count);
        }
    }

    /// Waits for more, for a little while.
    async fn company<T>(&self, waiting: &mut Waiting<T>, batch: &mut Vec<T>) {
        let filled = async {
            while batch.len() < MAX_BATCH {
                match waiting.recv().await {
                    Some(one) => batch.push(one),
                    None => return,
                }
            }
        };
        // That there is no more is as good as that there is.
        drop(tokio::time::timeout(PATIENCE, filled).await);
    }

    /// Sends one message with `count` things in it; drops them if it is not taken.
    pub(super) async fn send(&self, message: Vec<u8>, count: usize) {
        if count == 0 {
            return;
        }
        for turn in 1..=TRIES {
            match self.attempt(message.clone()).await {
                Ok(()) => {
                    let count = u64::try_from(count).unwrap_or(u64::MAX);
                    metrics::counter!(EXPORTED, "signal" => self.signal).increment(count);
                    return;
                }
                Err(error) if turn == TRIES || !error.passes() => {
                    let (error, signal) = (&error as &dyn std::error::Error, self.signal);
                    tracing::warn!(
                        error,
                        signal,
                        count,
                        "a collector did not take what it was sent"
                    );
                    break;
                }
                Err(_again) => tokio::time::sleep(AGAIN * turn).await,
            }
        }
        dropped(self.signal, "failed", count);
    }

    async fn attempt(&self, message: Vec<u8>) -> Result<(), NotTaken> {
        let mut request = Request::post("/").header(header::CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let limits = OutgoingLimits { time: self.settings.timeout, bytes: MAX_ANSWER };
        let answer: Response<Vec<u8>> = self.to.send(request.body(message)?, limits).await?;
        if answer.status().is_success() { Ok(()) } else { Err(NotTaken::Status(answer.status())) }
    }
}

impl NotTaken {
    /// Whether it may be taken a moment later (OTLP, "Retryable Response Codes").
    fn passes(&self) -> bool {
        match self {
            Self::Call(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Request(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_and_nobody_waits() {
        let (queue, mut waiting) = queue("traces");
        for one in 0..=MAX_WAITING {
            queue.put(one);
        }
        let mut kept = 0;
        while waiting.try_recv().is_ok() {
            kept += 1;
        }
        assert_eq!(kept, MAX_WAITING);
        // Nobody has sent them, and nobody will.
        assert_eq!(queue.held().give_up("traces"), MAX_WAITING);
        assert_eq!(queue.held().give_up("traces"), 0);
    }
}
