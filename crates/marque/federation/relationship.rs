//! One relationship: a bundle that is fetched at once, then as often as it wants to be (FE-2), and withdrawn when it could
//! not be fetched for too long.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_registry::{BundleEndpoint, BundleEndpointProfile, TrustDomainDocument};
use marque_spiffe::{Bundle, BundleEndpointUrl, BundleError, BundleSource, Clock, TrustDomain};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;

use super::bundles::{FederatedBundles, RefusedBundle, Taken};
use super::end;
use super::fetch::{FetchError, FetchLimits, fetch};
use super::kept::KeptBundles;
use super::tls;

/// The shortest and the longest time between two fetches, whatever the bundle says.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a bundle is missing because it was not refreshed for too long, or never fetched: 1 or 0.
const STALE: &str = "marque_federated_bundle_stale";
/// When a bundle was fetched last, in seconds since 1970.
const REFRESHED: &str = "marque_federated_bundle_refreshed_timestamp_seconds";

/// One trust domain whose bundle is fetched.
#[derive(Debug)]
pub(crate) struct Relationship {
    /// The trust domain that fetches.
    own: TrustDomain,
    /// The one whose bundle it is.
    trust_domain: TrustDomain,
    url: BundleEndpointUrl,
    tls: Arc<ClientConfig>,
    max_staleness: Duration,
    pub(super) limits: FetchLimits,
    bundles: Arc<FederatedBundles>,
    kept: KeptBundles,
    clock: Arc<dyn Clock>,
}

/// Why a bundle was not refreshed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefreshError {
    /// It could not be fetched.
    #[error("fetch the bundle")]
    Fetch(#[source] FetchError),
    /// What was fetched is no bundle.
    #[error("what was fetched is no bundle")]
    Bundle(#[source] BundleError),
    /// It may not take the place of the one before.
    #[error("the bundle that was fetched is refused")]
    Refused(#[source] RefusedBundle),
}

/// Where a bundle of the own trust domain or of another one is found that vouches for an endpoint. One that is withdrawn
/// still does, or it could never come back; the endpoint's SVID ends by itself.
#[derive(Debug)]
struct Everybody<S> {
    own: S,
    others: Arc<FederatedBundles>,
}

impl<S: BundleSource> BundleSource for Everybody<S> {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.others.latest(trust_domain).or_else(|| self.own.bundle(trust_domain))
    }
}

/// The relationships with an endpoint. `folder` is the trust domain's, `own` has the own bundle.
pub(crate) fn relationships(
    document: &TrustDomainDocument,
    folder: &Path,
    bundles: &Arc<FederatedBundles>,
    own: impl BundleSource + 'static,
    kept: &KeptBundles,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<Arc<Relationship>>> {
    let everybody: Arc<dyn BundleSource> = Arc::new(Everybody { own, others: Arc::clone(bundles) });
    let mut relationships = Vec::new();
    for federation in document.federation() {
        let Some(endpoint) = federation.endpoint() else { continue };
        let trust_domain = federation.trust_domain().clone();
        let tls = tls_of(endpoint, folder, &everybody, clock)
            .with_context(|| format!("prepare to fetch the bundle of `{trust_domain}`"))?;
        relationships.push(Arc::new(Relationship {
            own: document.name().clone(),
            trust_domain,
            url: endpoint.url.clone(),
            tls,
            max_staleness: endpoint.max_staleness,
            limits: FetchLimits::default(),
            bundles: Arc::clone(bundles),
            kept: kept.clone(),
            clock: Arc::clone(clock),
        }));
    }
    Ok(relationships)
}

fn tls_of(
    endpoint: &BundleEndpoint,
    folder: &Path,
    bundles: &Arc<dyn BundleSource>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<ClientConfig>> {
    match &endpoint.profile {
        BundleEndpointProfile::HttpsWeb { ca_file } => {
            let ca_file = folder.join(ca_file);
            Ok(tls::web(web_authorities(&ca_file)?, Arc::clone(clock))?)
        }
        BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id } => {
            let id = endpoint_spiffe_id.clone();
            Ok(tls::spiffe(id, Arc::clone(bundles), Arc::clone(clock))?)
        }
    }
}

/// The certificate authorities of a PEM file.
pub(crate) fn web_authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    roots(file).with_context(|| format!("read the certificate authorities `{}`", file.display()))
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let found: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect)?;
    let mut roots = RootCertStore::empty();
    // A collection for everybody may hold a few that are not for TLS.
    let (added, _unusable) = roots.add_parsable_certificates(found);
    anyhow::ensure!(added > 0, "there is no usable certificate");
    Ok(roots)
}

impl Relationship {
    /// Fetches until `stop`. A failure waits for the next turn like a success.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        loop {
            self.withdraw_if_stale();
            let began = self.clock.now();
            let refreshed = tokio::select! {
                () = stop.cancelled() => return,
                refreshed = self.refresh() => refreshed,
            };
            let trust_domain = &self.trust_domain;
            if let Err(error) = refreshed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%trust_domain, error, "a bundle was not refreshed; the one before stays");
            }
            let next = began + self.interval();
            loop {
                let stale = self.bundles.ends_at(trust_domain).filter(|end| *end < next);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.clock.sleep_until(stale.unwrap_or(next)) => {}
                }
                if stale.is_none() {
                    break;
                }
                self.withdraw_if_stale();
            }
        }
    }

    /// How long to wait between two fetches: what the bundle says, within reason, and often enough that a single failure
    /// makes no bundle stale, however long the fetches take.
    fn interval(&self) -> Duration {
        let bundle = self.bundles.latest(&self.trust_domain);
        let hint = bundle.map_or(Bundle::DEFAULT_REFRESH_HINT, |bundle| bundle.refresh_hint());
        hint.min(self.max_staleness / 3).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }

    /// Stops the use of a bundle that was not refreshed for too long.
    fn withdraw_if_stale(&self) {
        self.bundles.withdraw_stale(&self.trust_domain, self.clock.now());
        self.tell();
    }

    /// What operators see of it: whether there is a bundle that is used.
    fn tell(&self) {
        let stale = self.bundles.bundle(&self.trust_domain).is_none();
        self.gauge(STALE).set(if stale { 1.0 } else { 0.0 });
    }

    fn gauge(&self, name: &'static str) -> metrics::Gauge {
        let (own, federated) = (self.own.to_string(), self.trust_domain.to_string());
        metrics::gauge!(name, "trust_domain" => own, "federated" => federated)
    }

    pub(super) async fn refresh(&self) -> Result<(), RefreshError> {
        // Counted from before the request: whatever came later may be missing from the answer.
        let refreshed_at = self.clock.now();
        let document =
            fetch(&self.url, &self.tls, self.limits).await.map_err(RefreshError::Fetch)?;
        let bundle =
            Bundle::parse(self.trust_domain.clone(), &document).map_err(RefreshError::Bundle)?;
        let bundle = Arc::new(bundle);
        let until = end(refreshed_at, self.max_staleness);
        let taken = self.bundles.replace(Arc::clone(&bundle), until);
        let (trust_domain, sequence) = (&self.trust_domain, bundle.sequence());
        match taken.map_err(RefreshError::Refused)? {
            Taken::Same => {}
            Taken::New => tracing::info!(%trust_domain, sequence, "a new bundle was fetched"),
            Taken::Again => {
                tracing::info!(%trust_domain, sequence, "a stale bundle was refreshed and is used again");
            }
        }
        self.tell();
        self.gauge(REFRESHED).set(refreshed_at.as_duration().as_secs_f64());
        self.keep(bundle, refreshed_at).await;
        Ok(())
    }

    /// A bundle that cannot be kept is used all the same: only a restart would miss it.
    async fn keep(&self, bundle: Arc<Bundle>, refreshed_at: Timestamp) {
        let kept = self.kept.clone();
        let saved = tokio::task::spawn_blocking(move || kept.save(&bundle, refreshed_at)).await;
        if let Err(error) = saved.unwrap_or_else(|stopped| Err(stopped.into())) {
            let trust_domain = &self.trust_domain;
            let error = &error as &dyn std::error::Error;
            tracing::error!(%trust_domain, error, "a bundle that was fetched could not be kept");
        }
    }
}
