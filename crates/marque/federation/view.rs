//! A relationship as operators see it.

use jiff::Timestamp;
use marque_spiffe::Bundle;
use serde::{Deserialize, Serialize};

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
