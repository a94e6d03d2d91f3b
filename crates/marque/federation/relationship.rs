//! One relationship: a bundle that is fetched at once, then as often as it wants to be (FE-2), and withdrawn when it could
//! not be fetched for too long.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use super::destination::Destinations;
use super::end;
use super::fetch::{FetchError, FetchLimits, fetch_within};
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
    /// The trust domain whose bundle it is.
    trust_domain: TrustDomain,
    url: BundleEndpointUrl,
    tls: Arc<ClientConfig>,
    max_staleness: Duration,
    pub(super) limits: FetchLimits,
    destinations: Destinations,
    /// Cancelled when the relationship has ended.
    ended: CancellationToken,
    attempts: Mutex<Attempts>,
    shared: RelationshipParts,
}

/// What all relationships of a trust domain have in common.
#[derive(Debug, Clone)]
pub(super) struct RelationshipParts {
    /// The trust domain that fetches.
    pub(super) own: TrustDomain,
    pub(super) bundles: Arc<FederatedBundles>,
    /// Who vouches for an endpoint with an SVID.
    pub(super) vouchers: Arc<dyn BundleSource>,
    pub(super) kept: KeptBundles,
    pub(super) clock: Arc<dyn Clock>,
}

/// What became of fetching.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    /// When the bundle was fetched last.
    pub(super) refreshed_at: Option<Timestamp>,
    /// Why it was not fetched the last time.
    pub(super) failure: Option<String>,
}

/// Why a bundle was not refreshed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
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

/// The own trust domain and those that are federated with.
pub(super) fn vouchers(
    own: impl BundleSource + 'static,
    bundles: &Arc<FederatedBundles>,
) -> Arc<dyn BundleSource> {
    Arc::new(Everybody { own, others: Arc::clone(bundles) })
}

/// The relationships in the folder that have an endpoint.
pub(super) fn of_the_folder(
    document: &TrustDomainDocument,
    folder: &Path,
    shared: &RelationshipParts,
) -> anyhow::Result<Vec<Arc<Relationship>>> {
    let mut relationships = Vec::new();
    for federation in document.federation() {
        let Some(endpoint) = federation.endpoint() else { continue };
        let trust_domain = federation.trust_domain().clone();
        let tls = tls_of(endpoint, folder, &shared.vouchers, &shared.clock)
            .with_context(|| format!("prepare to fetch the bundle of `{trust_domain}`"))?;
        let url = endpoint.url.clone();
        let destinations = Destinations::reviewed(&url, document.bundle_fetching());
        let to = Whither { url, tls, destinations, max_staleness: endpoint.max_staleness };
        relationships.push(Arc::new(Relationship::new(trust_domain, to, shared.clone())));
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

/// Where a bundle is fetched, and how long it is used.
pub(super) struct Whither {
    pub(super) url: BundleEndpointUrl,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) destinations: Destinations,
    pub(super) max_staleness: Duration,
}

impl Relationship {
    pub(super) fn new(trust_domain: TrustDomain, to: Whither, shared: RelationshipParts) -> Self {
        let Whither { url, tls, destinations, max_staleness } = to;
        Self {
            trust_domain,
            url,
            tls,
            max_staleness,
            limits: FetchLimits::default(),
            destinations,
            ended: CancellationToken::new(),
            attempts: Mutex::default(),
            shared,
        }
    }

    /// The trust domain whose bundle is fetched.
    pub(super) const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Ends it: what is fetched from now on is not taken.
    pub(super) fn end(&self) {
        self.ended.cancel();
        for gauge in [STALE, REFRESHED] {
            // A gauge cannot be taken back; what has ended is neither stale nor refreshed.
            self.gauge(gauge).set(0.0);
        }
    }

    /// What became of fetching.
    pub(super) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the bundle and only shows it.
    pub(super) async fn look(&self) -> Result<Bundle, RefreshError> {
        let document = fetch_within(&self.destinations, &self.url, &self.tls, self.limits).await;
        let document = document.map_err(RefreshError::Fetch)?;
        Bundle::parse(self.trust_domain.clone(), &document).map_err(RefreshError::Bundle)
    }

    /// Fetches until `stop`. A failure waits for the next turn like a success.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        loop {
            self.withdraw_if_stale();
            let began = self.shared.clock.now();
            let refreshed = tokio::select! {
                () = stop.cancelled() => return,
                () = self.ended.cancelled() => return,
                refreshed = self.refresh() => refreshed,
            };
            let trust_domain = &self.trust_domain;
            if let Err(error) = refreshed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%trust_domain, error, "a bundle was not refreshed; the one before stays");
            }
            let next = began + self.interval();
            loop {
                let stale = self.shared.bundles.ends_at(trust_domain).filter(|end| *end < next);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.ended.cancelled() => return,
                    () = self.shared.clock.sleep_until(stale.unwrap_or(next)) => {}
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
        let bundle = self.shared.bundles.latest(&self.trust_domain);
        let hint = bundle.map_or(Bundle::DEFAULT_REFRESH_HINT, |bundle| bundle.refresh_hint());
        hint.min(self.max_staleness / 3).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }

    /// Stops the use of a bundle that was not refreshed for too long.
    fn withdraw_if_stale(&self) {
        self.shared.bundles.withdraw_stale(&self.trust_domain, self.shared.clock.now());
        self.tell();
    }

    /// What operators see of it: whether there is a bundle that is used.
    fn tell(&self) {
        let stale = self.shared.bundles.bundle(&self.trust_domain).is_none();
        self.gauge(STALE).set(if stale { 1.0 } else { 0.0 });
    }

    fn gauge(&self, name: &'static str) -> metrics::Gauge {
        let (own, federated) = (self.shared.own.to_string(), self.trust_domain.to_string());
        metrics::gauge!(name, "trust_domain" => own, "federated" => federated)
    }

    /// Fetches the bundle, and takes it if it may take the place of the one before.
    pub(super) async fn refresh(&self) -> Result<(), RefreshError> {
        // Counted from before the request: whatever came later may be missing from the answer.
        let refreshed_at = self.shared.clock.now();
        let taken = match self.look().await {
            Ok(bundle) => self.take(Arc::new(bundle), refreshed_at).await,
            Err(error) => Err(error),
        };
        let mut attempts = self.attempts();
        match &taken {
            Ok(()) => *attempts = Attempts { refreshed_at: Some(refreshed_at), failure: None },
            Err(error) => attempts.failure = Some(chain(error)),
        }
        taken
    }

    async fn take(&self, bundle: Arc<Bundle>, refreshed_at: Timestamp) -> Result<(), RefreshError> {
        let until = end(refreshed_at, self.max_staleness);
        let lasts = || !self.ended.is_cancelled();
        let taken = self.shared.bundles.put(Arc::clone(&bundle), Some(until), lasts);
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
        let kept = self.shared.kept.clone();
        let saved = tokio::task::spawn_blocking(move || kept.save(&bundle, refreshed_at)).await;
        if let Err(error) = saved.unwrap_or_else(|stopped| Err(stopped.into())) {
            let trust_domain = &self.trust_domain;
            let error = &error as &dyn std::error::Error;
            tracing::error!(%trust_domain, error, "a bundle that was fetched could not be kept");
        }
    }
}

/// An error with what led to it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
