//! Signing checkpoints of the log as it grows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use marque_audit::{LogStore, Sequencer, checkpoint::origin};
use tokio_util::sync::CancellationToken;

use super::Lasting;

/// How far apart checkpoints are at least: each costs a commit, and one covers all that was recorded since the last. So far
/// behind its leaves the newest checkpoint may be.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(50);
/// How long to wait before the log is sequenced again after a failure.
const SEQUENCER_RETRY: Duration = Duration::from_secs(1);

/// Signs a checkpoint when the log has grown, every [`CHECKPOINT_INTERVAL`] at most; once more at the end.
pub(super) async fn sequence(issuer: Arc<Lasting>, stop: CancellationToken) {
    let log: Arc<dyn LogStore> = Arc::clone(&issuer.store) as _;
    let mut grown = log.changed();
    let signer = Arc::clone(&issuer.checkpoint_key) as _;
    let mut sequencer = Sequencer::new(log, signer, origin(issuer.trust_domain()));
    loop {
        let ending = stop.is_cancelled();
        grown.borrow_and_update();
        let advanced = sequencer.advance().await;
        issuer.ready.store(advanced.is_ok(), Ordering::Relaxed);
        if let Err(error) = advanced {
            tracing::error!(error = &error as &dyn std::error::Error, "no checkpoint");
            tokio::select! {
                () = stop.cancelled() => {}
                () = issuer.clock.sleep_until(issuer.clock.now() + SEQUENCER_RETRY) => continue,
            }
        }
        if ending {
            return;
        }
        let grows = async {
            // Not by the clock that the log is dated by: a step back of it does not put checkpoints off.
            tokio::time::sleep(CHECKPOINT_INTERVAL).await;
            grown.changed().await
        };
        tokio::select! {
            () = stop.cancelled() => {}
            grows = grows => if grows.is_err() { return },
        }
    }
}
