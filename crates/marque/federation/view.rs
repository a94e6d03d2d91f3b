//! A relationship as operators see it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_registry::{BundleEndpointProfile, Federation};
use marque_spiffe::{Bundle, BundleSource as _, TrustDomain};
use serde::{Deserialize, Serialize};

use super::desk::{Added, Federations};
use super::stored::{NewProfile, StoredFederation};

/// A relationship with another trust domain, and how it stands with its bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederationView {
    /// The other trust domain.
    pub federates_with: String,
    /// Its environment.
    pub environment: String,
    /// `trust-domain.toml:<line>` of the folder, or `command`.
    pub source: String,
    /// Who added it, where that was by command.
    pub added_by: Option<String>,
    /// When that was.
    pub added_at: Option<Timestamp>,
    /// Where the bundle is fetched.
    pub url: Option<String>,
    /// `https_web` or `https_spiffe`, where it is fetched.
    pub profile: Option<String>,
    /// Who is believed at the endpoint, by `https_spiffe`.
    pub endpoint_spiffe_id: Option<String>,
    /// For how many seconds the bundle is used after it was fetched last.
    pub max_staleness_s: Option<u64>,
    /// The bundle that is held; `None` where there was none yet.
    pub bundle: Option<BundleSummary>,
    /// Whether SVIDs of the trust domain verify by it now.
    pub in_use: bool,
    /// When it is withdrawn unless it is refreshed.
    pub used_until: Option<Timestamp>,
    /// When it was fetched last, by this process.
    pub refreshed_at: Option<Timestamp>,
    /// Why it was not fetched the last time.
    pub failure: Option<String>,
    /// How many registration entries ask for it.
    pub entries: usize,
}

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleSummary {
    /// Rises with every change; 0 where the bundle has none.
    pub sequence: u64,
    /// How often it wants to be fetched, in seconds.
    pub refresh_hint_s: u64,
    /// How many certificates verify X.509-SVIDs.
    pub x509_authorities: usize,
    /// How many keys verify JWT-SVIDs.
    pub jwt_authorities: usize,
    /// How many keys verify WIT-SVIDs.
    pub wit_authorities: usize,
}

impl From<&Bundle> for BundleSummary {
    fn from(bundle: &Bundle) -> Self {
        Self {
            sequence: bundle.sequence(),
            refresh_hint_s: bundle.refresh_hint().as_secs(),
            x509_authorities: bundle.x509_authorities().len(),
            jwt_authorities: bundle.jwt_authorities().len(),
            wit_authorities: bundle.wit_authorities().len(),
        }
    }
}

impl Federations {
    /// All relationships, by name.
    pub(crate) async fn views(&self) -> Vec<FederationView> {
        let added = self.added.lock().await;
        let folder = self.document.federation().iter().map(|one| one.trust_domain());
        let names: BTreeSet<_> = folder.chain(added.relationships.keys()).collect();
        names.into_iter().filter_map(|name| self.view(&added, name)).collect()
    }

    /// A relationship as operators see it.
    pub(super) fn view(&self, added: &Added, name: &TrustDomain) -> Option<FederationView> {
        let mut view = match (self.in_folder(name), added.relationships.get(name)) {
            (Some(one), _) => self.of_folder(one),
            (None, Some(one)) => of_command(&one.stored),
            (None, None) => return None,
        };
        let bundles = &self.shared.bundles;
        view.bundle = bundles.latest(name).map(|bundle| (&*bundle).into());
        view.in_use = bundles.bundle(name).is_some();
        view.used_until = bundles.ends_at(name);
        if let Some(relationship) = self.relationship_of(added, name) {
            let attempts = relationship.attempts();
            view.refreshed_at = attempts.refreshed_at;
            view.failure = attempts.failure.clone();
        }
        let snapshot = self.registry.snapshot();
        let asks = snapshot.entries().iter().filter(|entry| entry.federates_with().contains(name));
        view.entries = asks.count();
        Some(view)
    }

    fn of_folder(&self, one: &Federation) -> FederationView {
        let mut view = empty(one.trust_domain());
        view.environment = self.document.environment().to_string();
        view.source = format!("trust-domain.toml:{}", one.line());
        if let Some(endpoint) = one.endpoint() {
            let (profile, id) = match &endpoint.profile {
                BundleEndpointProfile::HttpsWeb { .. } => ("https_web", None),
                BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                    ("https_spiffe", Some(endpoint_spiffe_id.to_string()))
                }
            };
            view.url = Some(endpoint.url.to_string());
            view.profile = Some(profile.to_owned());
            view.endpoint_spiffe_id = id;
            view.max_staleness_s = Some(endpoint.max_staleness.as_secs());
        }
        view
    }
}

fn of_command(stored: &StoredFederation) -> FederationView {
    let StoredFederation { trust_domain, environment, endpoint, added_by, added_at } = stored;
    let mut view = empty(trust_domain);
    view.environment = environment.to_string();
    view.added_by = Some(added_by.clone());
    view.added_at = Some(*added_at);
    if let Some(endpoint) = endpoint {
        let (profile, id) = match &endpoint.profile {
            NewProfile::HttpsWeb { .. } => ("https_web", None),
            NewProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                ("https_spiffe", Some(endpoint_spiffe_id.to_string()))
            }
        };
        view.url = Some(endpoint.url.clone());
        view.profile = Some(profile.to_owned());
        view.endpoint_spiffe_id = id;
        view.max_staleness_s = endpoint.max_staleness().ok().map(|time| time.as_secs());
    }
    view
}

fn empty(name: &TrustDomain) -> FederationView {
    FederationView {
        federates_with: name.to_string(),
        environment: String::new(),
        source: "command".to_owned(),
        added_by: None,
        added_at: None,
        url: None,
        profile: None,
        endpoint_spiffe_id: None,
        max_staleness_s: None,
        bundle: None,
        in_use: false,
        used_until: None,
        refreshed_at: None,
        failure: None,
        entries: 0,
    }
}
