//! Waiting for conditions, never for luck.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before the test says that it never happened.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it answers; panics with `what` at the deadline.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Gives the future the usual limit; panics with `what` at the deadline.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("waited {LIMIT:?} for {what}"),
    }
}
