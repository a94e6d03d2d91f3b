//! Following the bundle of an upstream that tells one: its roots and keys for tokens come and go here as they do there.
//!
//! Beside everything else that is due for the authorities, so that nothing waits for an answer.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use marque_authority::{AuthorityError, Hearing, LeftOut, OrderRefusal};
use marque_spiffe::{Bundle, CertificateDigest};
use tokio_util::sync::CancellationToken;

use super::super::Lasting;
use crate::grpc::admin::UpstreamStanding;

/// How often the upstream is asked, at the least and at the most: what it publishes has to be known below it before it signs,
/// and what it takes out is believed here until it is asked again.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// The same after a certificate was not to be had: servers sign a few in a minute.
const MOVE_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// A failure that goes on is told no more often than this.
const TOLD_EVERY: Duration = Duration::from_mins(5);
/// After so many of the upstream's refresh hints without a word its bundle is stale, and not before the second of these.
const STALE_AFTER: (u32, Duration) = (3, Duration::from_mins(1));
/// No refresh hint counts for longer than this.
const LONGEST_HINT: Duration = Duration::from_hours(1);

impl Lasting {
    /// How the own bundle stands to that of the upstream; `None` where there is none to follow.
    pub(in crate::issuer) fn upstream_standing(&self) -> Option<UpstreamStanding> {
        let upstream = self.authority.upstream()?;
        let source = upstream.source()?.to_owned();
        let heard = self.authority.heard();
        let (hints, least) = STALE_AFTER;
        let hint = heard.map_or(Bundle::DEFAULT_REFRESH_HINT, |heard| heard.refresh_hint);
        let hint = hint.min(LONGEST_HINT);
        let last = heard.map_or(self.started_at, |heard| heard.at);
        let until = last.checked_add(hint.saturating_mul(hints).max(least));
        let is_stale = until.is_ok_and(|until| until < self.clock.now());
        let followed = self.authority.followed().filter(|followed| followed.source == source);
        let followed = followed.map(|mut followed| {
            // On record is that of the last change.
            followed.sequence = heard.map_or(0, |heard| heard.sequence).max(followed.sequence);
            followed
        });
        Some(UpstreamStanding { source, followed, heard_at: heard.map(|heard| heard.at), is_stale })
    }
}

/// Goes by the bundle of the upstream until `stop`; ends at once where there is none.
pub(in crate::issuer) async fn follow(
    issuer: Arc<Lasting>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut following = Following::default();
    loop {
        let pause = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            pause = following.look(&issuer) => pause,
        };
        let Some(pause) = pause else { return Ok(()) };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = issuer.clock.sleep_until(issuer.clock.now() + pause) => {}
        }
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Following {
    failures: Option<ExponentialBackoff>,
    told: Option<Timestamp>,
    left_out: Vec<CertificateDigest>,
    moves: Option<ExponentialBackoff>,
    /// When another certificate is asked for again.
    move_at: Option<Timestamp>,
}

impl Following {
    /// How long until the next look; `None` where there is nobody to follow.
    async fn look(&mut self, issuer: &Lasting) -> Option<Duration> {
        let (authority, clock) = (&issuer.authority, issuer.clock.as_ref());
        let pause = match authority.hear_upstream(clock).await {
            Ok(None) => return None,
            Ok(Some(hearing)) => self.heard(issuer, &hearing),
            Err(error) => self.failed(issuer, &error),
        };
        self.move_if_due(issuer).await;
        Some(pause)
    }

    fn heard(&mut self, issuer: &Lasting, hearing: &Hearing) -> Duration {
        let Hearing { refresh_hint, changed, left_out } = hearing;
        let trust_domain = issuer.trust_domain();
        if self.told.take().is_some() {
            tracing::info!(%trust_domain, "the bundle of the upstream is heard again");
        }
        self.failures = None;
        if *changed {
            tracing::info!(%trust_domain, "the bundle follows that of the upstream");
        }
        let digests: Vec<_> = left_out.iter().map(|left_out| left_out.root).collect();
        if self.left_out != digests {
            for LeftOut { root, why } in left_out {
                tracing::warn!(%trust_domain, %root, code = why.code(), "a root of the upstream is left out: {why}");
            }
            self.left_out = digests;
        }
        let (least, most) = EVERY;
        (*refresh_hint).clamp(least, most)
    }

    fn failed(&mut self, issuer: &Lasting, error: &AuthorityError) -> Duration {
        let now = issuer.clock.now();
        if self.told.is_none_or(|told| told + TOLD_EVERY <= now) {
            let code = match error {
                AuthorityError::ToldBundle(source) => source.code(),
                AuthorityError::Refused(refusal) => refusal.code(),
                _ => "upstream_bundle_unheard",
            };
            let error = error as &dyn std::error::Error;
            let trust_domain = issuer.trust_domain();
            tracing::error!(error, code, %trust_domain, "the bundle of the upstream is not followed; what was heard last stays");
            self.told = Some(now);
        }
        self.failures.get_or_insert_with(|| pauses(PAUSES)).next().unwrap_or(PAUSES.1)
    }

    async fn move_if_due(&mut self, issuer: &Lasting) {
        let (authority, now) = (&issuer.authority, issuer.clock.now());
        if !authority.is_to_stand_elsewhere() {
            (self.moves, self.move_at) = (None, None);
            return;
        }
        if self.move_at.is_some_and(|at| now < at) {
            return;
        }
        let trust_domain = issuer.trust_domain();
        match authority.move_to_another_root(issuer.clock.as_ref()).await {
            Ok(()) => {}
            // Another replica was faster; its record is taken up with the next look.
            Err(AuthorityError::Refused(
                OrderRefusal::AlreadyPrepared { .. } | OrderRefusal::NotTheNext { .. },
            )) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                let issues_nothing = authority.has_lost_its_root();
                tracing::error!(
                    error, %trust_domain, issues_nothing,
                    "the upstream gives up the root that the X.509 authority stands on, and there is no other certificate yet"
                );
                let pause = self.moves.get_or_insert_with(|| pauses(MOVE_PAUSES)).next();
                self.move_at = Some(issuer.clock.now() + pause.unwrap_or(MOVE_PAUSES.1));
            }
        }
    }
}

fn pauses((least, most): (Duration, Duration)) -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(least).with_max_delay(most);
    pauses.without_max_times().build()
}
