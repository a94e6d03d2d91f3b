//! Notes beside the keys how far the log was signed, behind its checkpoints.

use std::sync::Arc;
use std::time::Duration;

use marque_audit::LogStore as _;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use crate::backup::HighWater;

/// How far apart notes are at least: each costs a flush. So far behind the newest checkpoint the last one may be.
const INTERVAL: Duration = Duration::from_secs(1);

/// Notes how far the log was signed whenever it has grown. A failure keeps nobody from anything.
pub(super) async fn keep_noting(
    high_water: Arc<HighWater>,
    issuer: Arc<Lasting>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut grown = issuer.store.changed();
    loop {
        grown.borrow_and_update();
        note(&high_water, &issuer).await;
        let grows = async {
            let grows = grown.changed().await;
            // The checkpoint comes behind the leaves. Not by the clock that the log is dated by: a step back of it does not
            // put notes off.
            tokio::time::sleep(INTERVAL).await;
            grows
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            grows = grows => if grows.is_err() { return Ok(()) },
        }
    }
}

/// Notes how far the log was signed.
pub(super) async fn note(high_water: &HighWater, issuer: &Lasting) {
    let sequence = issuer.authority.bundle().sequence();
    if let Err(error) = high_water.raise(&issuer.store, sequence).await {
        let (error, trust_domain) = (&error as &dyn std::error::Error, issuer.trust_domain());
        tracing::warn!(error, %trust_domain, "how far the log was signed is not noted");
    }
}
