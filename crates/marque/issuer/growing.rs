//! The upper part of the log's tree, made behind the leaves.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Lasting;

/// How many blocks of leaves are read at a time.
const BLOCKS_AT_ONCE: usize = 16;
/// How long to wait before the leaves are read again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the upper part of the log's tree, behind the leaves: all of it after a start, then what comes.
pub(super) async fn grow_tree(issuer: Arc<Lasting>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut grown = issuer.log_tree.log().changed();
    loop {
        grown.borrow_and_update();
        let grow = issuer.log_tree.grow(BLOCKS_AT_ONCE);
        let known = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            known = grow => known,
        };
        match known {
            Ok(true) => tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = grown.changed() => if changed.is_err() { return Ok(()) },
            },
            // Others have their turn at the store first.
            Ok(false) => tokio::task::yield_now().await,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the log's tree cannot be made from its leaves"
                );
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = issuer.clock.sleep_until(issuer.clock.now() + RETRY) => {}
                }
            }
        }
    }
}
