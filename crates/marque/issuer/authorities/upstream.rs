//! Asking whoever signs the certificates of the X.509 authority, when the next one is due; reminding people where they carry it.
//!
//! On its own, so that nothing else that is due for the authorities waits for an answer.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use marque_authority::{AuthorityError, OrderRefusal, OrderedBy};
use tokio_util::sync::CancellationToken;

use super::super::Lasting;
use super::look_every;

/// The first pause after a failure, and the longest. Half of the authority's life is left when it is first asked.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// People are reminded no more often than this.
const REMIND_EVERY: Duration = Duration::from_hours(1);

/// Has the next certificate signed whenever it is due, until `stop`.
pub(in crate::issuer) async fn follow(
    issuer: Arc<Lasting>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (least, most) = PAUSES;
    let pauses = |longest: Duration| {
        let pauses = ExponentialBuilder::new().with_min_delay(least.min(longest));
        pauses.with_max_delay(longest).without_max_times().build()
    };
    let mut after_failures = None;
    loop {
        let lifetime = issuer.registry().document().ca_lifetime();
        let interval = look_every(lifetime);
        // Half of the life is left when it is first asked: a short one is not spent waiting.
        let longest = most.min(lifetime / 16).max(interval);
        let pause = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            asked = ask_if_due(&issuer) => match asked {
                Outcome::NothingDue => {
                    after_failures = None;
                    interval
                }
                Outcome::Reminded => REMIND_EVERY.min(lifetime / 16).max(interval),
                Outcome::Failed => {
                    let pauses = after_failures.get_or_insert_with(|| pauses(longest));
                    pauses.next().unwrap_or(longest).min(longest)
                }
            },
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = issuer.clock.sleep_until(issuer.clock.now() + pause) => {}
        }
    }
}

enum Outcome {
    NothingDue,
    Reminded,
    Failed,
}

async fn ask_if_due(issuer: &Lasting) -> Outcome {
    if !issuer.authority.wants_certificate(issuer.clock.now()) {
        return Outcome::NothingDue;
    }
    let trust_domain = issuer.trust_domain();
    if issuer.authority.upstream().is_none() {
        let ends_at = issuer.authority.ends_at();
        tracing::warn!(
            %trust_domain, %ends_at,
            "the X.509 authority needs its next certificate: print the request with `marque authority csr`, have the offline root \
             sign it, and bring it back with `marque authority import`"
        );
        return Outcome::Reminded;
    }
    let asked = issuer.authority.prepare_below_upstream(OrderedBy::default(), &*issuer.clock).await;
    match asked {
        Ok(slot) => {
            tracing::info!(%trust_domain, %slot, "upstream signed the next certificate");
            Outcome::NothingDue
        }
        // Another replica was faster; its record is taken up with the next look.
        Err(AuthorityError::Refused(
            OrderRefusal::AlreadyPrepared { .. } | OrderRefusal::NotTheNext { .. },
        )) => Outcome::NothingDue,
        Err(error) => {
            let ends_at = issuer.authority.ends_at();
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, %trust_domain, %ends_at, "upstream signed no certificate; what signs now goes on");
            Outcome::Failed
        }
    }
}
