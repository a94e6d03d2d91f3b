//! Waiting for conditions, never for luck.

use std::time::Duration;

/// How long anything may take on a busy machine before the test says that it never happened.
const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until the condition holds.
///
/// # Panics
/// With `what`, when it does not hold for half a minute.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}
