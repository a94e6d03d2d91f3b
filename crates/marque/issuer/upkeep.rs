//! What a trust domain needs done now and then.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::pruning::prune;
use super::{Lasting, endings};

/// How often clocks that ran out and entries that another replica changed are looked for. A reader never sees an intent
/// that ran out as alive; this tells the log.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long before their end the signing authorities are warned of, and how often.
const WARNING_AHEAD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What needs doing now and then: intents whose clocks ran out are ended, so that the log says so; entries that another
/// replica changed are read; an end of the authorities that draws near is announced.
pub(super) async fn keep_up(issuer: Arc<Lasting>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut warned: Option<Timestamp> = None;
    loop {
        if let Err(error) = endings::sweep(&issuer, &stop).await {
            tracing::error!(error = &*error, "intents that ran out could not be ended");
        }
        if let Err(error) = issuer.registrar.reconcile().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the stored entries could not be read");
        }
        if let Err(error) = issuer.workload().keep_alive().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "identities of templates that are in use could not be renewed");
        }
        match prune(&issuer, &stop).await {
            Ok(0) => {}
            Ok(pruned) => tracing::debug!(pruned, "rows of what ended long ago were forgotten"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "what ended long ago could not be forgotten");
            }
        }
        let now = issuer.clock.now();
        if warned.is_none_or(|last| last + WARNING_INTERVAL <= now) {
            warn_of_the_end(&issuer, now);
            warned = Some(now);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = issuer.clock.sleep_until(now + UPKEEP_INTERVAL) => {}
        }
    }
}

/// An authority that should have been replaced long before; and a revocation list that gets old: none is read again.
fn warn_of_the_end(issuer: &Lasting, now: Timestamp) {
    let ends_at = issuer.authority.ends_at();
    // The next one signs when a sixth is left, or a week.
    let ahead = WARNING_AHEAD.min(issuer.registry().document().ca_lifetime() / 12);
    if ends_at <= now + ahead {
        let trust_domain = issuer.trust_domain();
        tracing::warn!(%trust_domain, %ends_at, "a signing authority ends and no other one has taken its place; see `marque authority list`");
    }
    for list in issuer.minting.foreign().outdated(now) {
        let (trust_domain, issuer) = (issuer.trust_domain(), list.issuer());
        let next_update = list.next_update();
        tracing::warn!(%trust_domain, issuer, %next_update, "a revocation list gets out of date; who uses it then refuses every SVID");
    }
}
