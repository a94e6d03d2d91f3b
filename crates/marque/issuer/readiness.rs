//! What keeps a trust domain from serving requests, and the numbers that are measured when somebody looks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use marque_audit::LogStore as _;
use metrics::gauge;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use crate::grpc::admin::UpstreamStanding;
use crate::telemetry::described as names;
use crate::telemetry::health::{self, NotReady};
use crate::telemetry::inventory::Textfile;
use crate::telemetry::number;

/// How long an answer stands: whoever asks more often is told the same, and costs nothing.
const STANDS_FOR: Duration = Duration::from_secs(1);
/// How long a row may take to be written, and a token to answer.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// Whether anybody is served, and what was found when it was last looked.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// From when on requests are served; cancelled when the daemon is asked to end.
    served: OnceLock<CancellationToken>,
    found: Mutex<Option<(Instant, Vec<NotReady>)>>,
}

impl Lasting {
    /// From now on requests are served, until `stop` is cancelled. The first word stands.
    pub(super) fn serves_until(&self, stop: CancellationToken) {
        self.looked.served.get_or_init(|| stop);
    }

    /// What keeps requests from being served; nothing where they can be. A row is written to find out, unless nobody is
    /// served anyway.
    pub(crate) async fn readiness(&self) -> Vec<NotReady> {
        let reasons = match self.looked.served.get() {
            None => vec![NotReady::Starting],
            Some(stop) if stop.is_cancelled() => vec![NotReady::Draining],
            Some(_) => self.found().await,
        };
        health::measure(self.trust_domain().as_str(), &reasons);
        reasons
    }

    async fn found(&self) -> Vec<NotReady> {
        let mut found = self.looked.found.lock().await;
        if let Some((at, reasons)) = &*found
            && at.elapsed() < STANDS_FOR
        {
            return reasons.clone();
        }
        let reasons = self.look().await;
        *found = Some((Instant::now(), reasons.clone()));
        reasons
    }

    async fn look(&self) -> Vec<NotReady> {
        let written = tokio::time::timeout(WRITTEN_WITHIN, self.store.probe()).await;
        let unwritable = match written {
            Ok(Ok(())) => false,
            Ok(Err(failure)) => {
                let error = &failure as &dyn std::error::Error;
                tracing::warn!(error, trust_domain = %self.trust_domain(), "the store cannot be written");
                true
            }
            Err(_elapsed) => true,
        };
        let found = [
            (NotReady::StoreUnwritable, unwritable),
            (NotReady::LogUnsigned, !self.ready.load(Ordering::Relaxed)),
            (NotReady::AuthoritiesEnded, self.authority.ends_at() <= self.clock.now()),
            (NotReady::KillsUnheard, !self.store.hears_of_kills()),
            (NotReady::KeysUnreachable, !self.keys_answer().await),
        ];
        found.into_iter().filter_map(|(reason, holds)| holds.then_some(reason)).collect()
    }

    /// Whether the private keys sign. A token is asked on a thread that may wait for it.
    async fn keys_answer(&self) -> bool {
        let keys = Arc::clone(&self.keys);
        let asked = tokio::task::spawn_blocking(move || keys.reachable());
        match tokio::time::timeout(WRITTEN_WITHIN, asked).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(failure))) => {
                let error = &failure as &dyn std::error::Error;
                tracing::error!(error, trust_domain = %self.trust_domain(), "the private keys cannot be used");
                false
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(trust_domain = %self.trust_domain(), "the private keys do not answer");
                false
            }
        }
    }

    /// Where it is said how many workflows have stored secrets. The first word stands.
    pub(crate) fn knows_inventory_by(&self, textfile: Textfile) {
        self.inventory.get_or_init(|| textfile);
    }

    /// Measures what is not counted as it happens.
    pub(crate) async fn measure(&self) {
        let label = || self.trust_domain().to_string();
        self.measure_folder();
        self.readiness().await;
        gauge!(names::KILL_EPOCH, "trust_domain" => label())
            .set(number(self.kill_switch.state().epoch));
        let ends = i32::try_from(self.authority.ends_at().as_second()).unwrap_or(i32::MAX);
        gauge!(names::AUTHORITIES_END, "trust_domain" => label()).set(f64::from(ends));
        let wanted = self.authority.wants_certificate(self.clock.now());
        gauge!(names::CERTIFICATE_DUE, "trust_domain" => label()).set(f64::from(u8::from(wanted)));
        if let Some(UpstreamStanding { heard_at, is_stale, .. }) = self.upstream_standing() {
            gauge!(names::UPSTREAM_STALE, "trust_domain" => label())
                .set(f64::from(u8::from(is_stale)));
            if let Some(at) = heard_at {
                let at = i32::try_from(at.as_second()).unwrap_or(i32::MAX);
                gauge!(names::UPSTREAM_HEARD, "trust_domain" => label()).set(f64::from(at));
            }
        }
        // A store that cannot be read leaves these as they were; that it cannot be is told above.
        if let Ok(size) = self.store.size().await {
            gauge!(names::LOG_LEAVES, "trust_domain" => label()).set(number(size));
        }
        if let Ok(checkpoint) = self.store.checkpoint().await {
            let covered = checkpoint.map_or(0, |checkpoint| checkpoint.frontier.size());
            gauge!(names::CHECKPOINT_LEAVES, "trust_domain" => label()).set(number(covered));
        }
        let inventory = self.inventory.get().map(Textfile::read).unwrap_or_default();
        self.registrar.measure();
        self.figures.measure(&inventory, self.clock.now());
    }
}
