//! What is going on on one connection: which requests are open, and since when none is.
//!
//! A request is open until its answer was taken: all of it but the last [`PIECE`] at most, which HTTP/2 buffers. Neither HTTP/2 nor its pings end a connection on which nothing
//! happens, or a stream whose answer the client never takes; this says when they have lasted long enough. Deliberately
//! absent: ending anything.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What HTTP/2 gets of an answer at once, in bytes. It buffers what it has, and asks for more when the client has taken that.
const PIECE: usize = 1024;

/// How long anything may last on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without an open request.
    pub(super) idle: Duration,
    /// From the beginning of a request until its answer was taken.
    pub(super) request: Duration,
}

/// Why a connection has lasted long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nobody asked for anything yet.
    Silent,
    /// Nothing was asked for since.
    Idle,
    /// An answer is not taken.
    Stuck,
}

/// What is going on on one connection.
#[derive(Debug)]
pub(super) struct Traffic {
    patience: Patience,
    asked: CancellationToken,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    /// How many requests there were.
    begun: u64,
    /// When those began that are open, by their number.
    since: BTreeMap<u64, Instant>,
    /// When the last one ended.
    ended: Instant,
}

impl Traffic {
    pub(super) fn new(patience: Patience) -> Arc<Self> {
        let open = Open { begun: 0, since: BTreeMap::new(), ended: Instant::now() };
        Arc::new(Self { patience, asked: CancellationToken::new(), open: Mutex::new(open) })
    }

    /// A request has come, and is open until what is given back is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> OpenRequest {
        let mut open = self.open();
        open.begun += 1;
        let number = open.begun;
        open.since.insert(number, Instant::now());
        drop(open);
        if number == 1 {
            self.asked.cancel();
        }
        OpenRequest { traffic: Arc::clone(self), number }
    }

    /// Waits until something was asked.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// When the connection will have lasted long enough if nothing changes, and why.
    pub(super) fn due(&self) -> (Instant, Overdue) {
        let open = self.open();
        match open.since.first_key_value() {
            Some((_, begun)) => (*begun + self.patience.request, Overdue::Stuck),
            None if open.begun == 0 => (open.ended + self.patience.idle, Overdue::Silent),
            None => (open.ended + self.patience.idle, Overdue::Idle),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that is open.
#[derive(Debug)]
pub(super) struct OpenRequest {
    traffic: Arc<Traffic>,
    number: u64,
}

impl OpenRequest {
    /// Keeps it open until this body was taken, or given up.
    pub(super) fn until_taken(self, body: Body) -> Body {
        Body::new(Watched { body, rest: Bytes::new(), _open: self })
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut open = self.traffic.open();
        open.since.remove(&self.number);
        open.ended = Instant::now();
    }
}

struct Watched {
    body: Body,
    /// What the body gave and nobody asked for yet.
    rest: Bytes,
    _open: OpenRequest,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
                return Poll::Ready(None);
            };
            match frame?.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let of_body = self.body.size_hint();
        let mut all = SizeHint::new();
        all.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            all.set_upper(upper.saturating_add(rest));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const PATIENCE: Patience =
        Patience { idle: Duration::from_secs(10), request: Duration::from_secs(30) };

    /// Asserts that it is due so long after an instant from `since` to now.
    fn assert_due(traffic: &Traffic, why: Overdue, since: Instant, patience: Duration) {
        let (due, found) = traffic.due();
        assert_eq!(found, why);
        assert!(since + patience <= due && due <= Instant::now() + patience, "{why:?}");
    }

    #[test]
    fn the_oldest_open_request_counts_and_where_there_is_none_the_end_of_the_last() {
        let Patience { idle, request } = PATIENCE;
        let began = Instant::now();
        let traffic = Traffic::new(PATIENCE);
        assert_due(&traffic, Overdue::Silent, began, idle);
        let first = traffic.begin();
        assert_due(&traffic, Overdue::Stuck, began, request);
        let due = traffic.due();
        let began = Instant::now();
        let second = traffic.begin();
        assert_eq!(traffic.due(), due, "others do not help the first");
        drop(first);
        assert_due(&traffic, Overdue::Stuck, began, request);
        // Its answer is still to be taken.
        let body = second.until_taken(Body::from("x"));
        assert_due(&traffic, Overdue::Stuck, began, request);
        let ended = Instant::now();
        drop(body);
        assert_due(&traffic, Overdue::Idle, ended, idle);
    }

    #[tokio::test]
    async fn an_answer_is_given_in_pieces_and_is_whole() {
        let whole: Vec<u8> = (0..=255).cycle().take(2 * PIECE + 1).collect();
        let mut body = Traffic::new(PATIENCE).begin().until_taken(Body::from(whole.clone()));
        let mut taken = Vec::new();
        for (piece, left) in [(PIECE, PIECE + 1), (PIECE, 1), (1, 0)] {
            assert!(!body.is_end_stream());
            let frame = body.frame().await.unwrap().unwrap();
            let data = frame.into_data().unwrap();
            assert_eq!((data.len(), body.size_hint().exact()), (piece, Some(left as u64)));
            taken.extend_from_slice(&data);
        }
        assert!(body.is_end_stream() && taken == whole);
    }
}
