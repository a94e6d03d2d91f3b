//! Streams of the Workload API that outlive the daemon: whatever ends one, it is opened again, later and later.
//!
//! The one exception is a request that can never work (WE-5: `InvalidArgument`, and `Unimplemented` for a profile that is
//! not served): that ends the stream for good.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use tonic::Code;

use super::super::failure::Failure;
use crate::grpc::CallError;
use crate::grpc::workload::{FetchedX509, WorkloadClient};

/// The first wait after a stream ended, and the longest (as the standard's clients wait).
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a stream tells.
#[derive(Debug)]
pub(super) enum News<T> {
    /// The full state.
    State(T),
    /// The stream ended; it is opened again after this long.
    Interrupted { failure: Failure, again_in: Duration },
    /// It ended, and asking again will not help.
    Over(Failure),
}

impl<T> News<T> {
    /// The same news with another state.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> News<U> {
        match self {
            Self::State(state) => News::State(change(state)),
            Self::Interrupted { failure, again_in } => News::Interrupted { failure, again_in },
            Self::Over(failure) => News::Over(failure),
        }
    }
}

/// Certificates by the id of their trust domain.
pub(super) type X509Bundles = BTreeMap<String, Vec<CertificateDer<'static>>>;
/// Key sets by the id of their trust domain.
pub(super) type KeySets = BTreeMap<String, Value>;

/// The caller's X.509-SVIDs.
pub(super) fn x509(socket: PathBuf) -> BoxStream<'static, News<FetchedX509>> {
    follow(socket, async |mut client: WorkloadClient| {
        client.watch_x509().await.map(StreamExt::boxed)
    })
    .boxed()
}

/// The certificates that verify X.509-SVIDs.
pub(super) fn x509_bundles(socket: PathBuf) -> BoxStream<'static, News<X509Bundles>> {
    follow(socket, async |mut client: WorkloadClient| {
        client.watch_x509_bundles().await.map(StreamExt::boxed)
    })
    .boxed()
}

/// The keys that verify JWT-SVIDs.
pub(super) fn jwt_bundles(socket: PathBuf) -> BoxStream<'static, News<KeySets>> {
    follow(socket, async |mut client: WorkloadClient| {
        client.watch_jwt_bundles().await.map(StreamExt::boxed)
    })
    .boxed()
}

/// The waits between attempts.
pub(super) fn waits() -> ExponentialBackoff {
    let builder = ExponentialBuilder::default().with_min_delay(FIRST_WAIT);
    builder.with_max_delay(LONGEST_WAIT).with_jitter().without_max_times().build()
}

/// Whether asking again may help (WE-5).
fn is_final(error: &CallError) -> bool {
    matches!(error, CallError::Refused { kind: Code::InvalidArgument | Code::Unimplemented, .. })
}

struct Follow<T, O> {
    socket: PathBuf,
    open: O,
    stream: Option<BoxStream<'static, Result<T, CallError>>>,
    waits: ExponentialBackoff,
    /// What to wait before the next attempt.
    wait: Duration,
    over: bool,
}

fn follow<T, O, F>(socket: PathBuf, open: O) -> impl Stream<Item = News<T>> + Send
where
    T: Send + 'static,
    O: Fn(WorkloadClient) -> F + Send + Sync + 'static,
    F: Future<Output = Result<BoxStream<'static, Result<T, CallError>>, CallError>> + Send,
{
    let (stream, wait, over) = (None, Duration::ZERO, false);
    let start = Follow { socket, open, stream, waits: waits(), wait, over };
    futures::stream::unfold(start, async |mut follow| {
        let news = follow.next().await?;
        Some((news, follow))
    })
}

impl<T, O, F> Follow<T, O>
where
    O: Fn(WorkloadClient) -> F,
    F: Future<Output = Result<BoxStream<'static, Result<T, CallError>>, CallError>>,
{
    async fn next(&mut self) -> Option<News<T>> {
        if self.over {
            return None;
        }
        tokio::time::sleep(std::mem::take(&mut self.wait)).await;
        match self.attempt().await {
            Ok(state) => {
                self.waits = waits();
                Some(News::State(state))
            }
            Err(error) => {
                self.stream = None;
                self.over = is_final(&error);
                let failure = Failure::from(error);
                if self.over {
                    return Some(News::Over(failure));
                }
                self.wait = self.waits.next().unwrap_or(LONGEST_WAIT);
                Some(News::Interrupted { failure, again_in: self.wait })
            }
        }
    }

    async fn attempt(&mut self) -> Result<T, CallError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert((self.open)(WorkloadClient::connect(&self.socket).await?).await?),
        };
        stream.next().await.unwrap_or(Err(CallError::Ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_to_the_longest_and_never_end() {
        let waits: Vec<Duration> = waits().take(50).collect();
        assert_eq!(waits.len(), 50);
        // Up to twice the delay is jitter.
        assert!(waits.iter().all(|wait| *wait <= 2 * LONGEST_WAIT), "{waits:?}");
        assert!(waits[0] < Duration::from_secs(1) && waits[49] >= LONGEST_WAIT, "{waits:?}");
    }

    #[test]
    fn we_5_only_what_can_never_work_is_not_asked_again() {
        let refused = |kind| CallError::Refused { kind, message: String::new(), code: None };
        assert!(is_final(&refused(Code::InvalidArgument)));
        assert!(is_final(&refused(Code::Unimplemented)));
        for kind in
            [Code::PermissionDenied, Code::Unavailable, Code::Unauthenticated, Code::Internal]
        {
            assert!(!is_final(&refused(kind)), "{kind:?}");
        }
        assert!(!is_final(&CallError::Ended));
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_waited_for() {
        let mut stream = x509(PathBuf::from("/nonexistent/workload.sock"));
        for _ in 0..2 {
            let news = stream.next().await.unwrap();
            assert!(matches!(news, News::Interrupted { .. }), "{news:?}");
        }
    }
}
