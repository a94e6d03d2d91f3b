//! Relationships and bundles that operators add by command, as every replica finds them in the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_registry::{DEFAULT_STALENESS, STALENESS};
use marque_spiffe::{Bundle, BundleEndpointUrl, Clock, Environment, SpiffeId, TrustDomain};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::FederationError;
use super::relationship::RelationshipParts;
use super::tls;

/// The rows of relationships, by the name of the trust domain.
pub(super) const RELATIONSHIPS: &str = "federation";
/// The rows of bundles that were set by hand, by the name of the trust domain.
pub(super) const BUNDLES: &str = "federation_bundle";
/// How many certificates of authorities one relationship may have.
const MAX_AUTHORITIES: usize = 512;

/// A relationship as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFederation {
    /// The other trust domain.
    pub trust_domain: TrustDomain,
    /// Its environment, which has to be the own one.
    pub environment: Environment,
    /// Where its bundle is fetched, if it is.
    pub endpoint: Option<NewEndpoint>,
    /// The bundle document to begin with.
    pub bundle: Option<String>,
}

/// A bundle endpoint as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// The address.
    pub url: String,
    /// How it proves who it is.
    pub profile: NewProfile,
    /// For how many seconds the bundle is used after it was fetched last; three days when absent.
    pub max_staleness_s: Option<u64>,
}

/// How a bundle endpoint proves who it is (FE-3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NewProfile {
    /// By a certificate for the host of the URL.
    HttpsWeb {
        /// The authorities that are believed, PEM.
        authorities: String,
    },
    /// By an X.509-SVID.
    HttpsSpiffe {
        /// The only SPIFFE ID that is believed.
        endpoint_spiffe_id: SpiffeId,
    },
}

/// A row of [`RELATIONSHIPS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredFederation {
    pub(super) trust_domain: TrustDomain,
    pub(super) environment: Environment,
    pub(super) endpoint: Option<NewEndpoint>,
    pub(super) added_by: String,
    pub(super) added_at: Timestamp,
}

/// A row of [`BUNDLES`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredBundle {
    pub(super) trust_domain: TrustDomain,
    pub(super) document: Value,
    pub(super) set_by: String,
    pub(super) set_at: Timestamp,
}

impl StoredBundle {
    pub(super) fn bundle(&self) -> Result<Arc<Bundle>, FederationError> {
        read_bundle(&self.trust_domain, self.document.to_string().as_bytes())
    }
}

/// Reads a bundle document that somebody gives; one without any key is nobody's to set.
pub(super) fn read_bundle(
    trust_domain: &TrustDomain,
    document: &[u8],
) -> Result<Arc<Bundle>, FederationError> {
    let bundle = Bundle::parse(trust_domain.clone(), document).map_err(FederationError::Bundle)?;
    let authorities = bundle.x509_authorities().len()
        + bundle.jwt_authorities().len()
        + bundle.wit_authorities().len();
    if authorities == 0 {
        return Err(FederationError::EmptyBundle(trust_domain.clone()));
    }
    Ok(Arc::new(bundle))
}

impl NewEndpoint {
    /// The address, read.
    pub(super) fn url(&self) -> Result<BundleEndpointUrl, FederationError> {
        self.url.parse().map_err(|error| invalid(format!("`url`: `{}` {error}", self.url)))
    }

    /// How long the bundle is used after it was fetched last.
    pub(super) fn max_staleness(&self) -> Result<Duration, FederationError> {
        let asked = self.max_staleness_s.map_or(DEFAULT_STALENESS, Duration::from_secs);
        if STALENESS.contains(&asked) {
            return Ok(asked);
        }
        Err(invalid("the longest time without a refresh must be from 5m to 30d".to_owned()))
    }

    /// Who has to vouch for the endpoint.
    pub(super) fn believed_by(&self) -> Option<&TrustDomain> {
        match &self.profile {
            NewProfile::HttpsWeb { .. } => None,
            NewProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                Some(endpoint_spiffe_id.trust_domain())
            }
        }
    }

    /// The TLS settings by which the endpoint proves who it is.
    pub(super) fn tls(
        &self,
        shared: &RelationshipParts,
    ) -> Result<Arc<ClientConfig>, FederationError> {
        let clock: Arc<dyn Clock> = Arc::clone(&shared.clock);
        let made = match &self.profile {
            NewProfile::HttpsWeb { authorities } => tls::web(roots(authorities)?, clock),
            NewProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                if !endpoint_spiffe_id.has_path() {
                    let message =
                        format!("no server can have the SPIFFE ID `{endpoint_spiffe_id}`");
                    return Err(invalid(message));
                }
                tls::spiffe(endpoint_spiffe_id.clone(), Arc::clone(&shared.vouchers), clock)
            }
        };
        made.map_err(|error| invalid(format!("TLS to the endpoint: {error}")))
    }
}

fn roots(pem: &str) -> Result<RootCertStore, FederationError> {
    let found: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).take(MAX_AUTHORITIES + 1).collect();
    let found = found.map_err(|error| invalid(format!("the authorities are no PEM: {error}")))?;
    if found.len() > MAX_AUTHORITIES {
        return Err(invalid(format!("there are more than {MAX_AUTHORITIES} authorities")));
    }
    let mut roots = RootCertStore::empty();
    // A collection for everybody may hold a few that are not for TLS.
    let (added, _unusable) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(invalid("there is no usable certificate among the authorities".to_owned()));
    }
    Ok(roots)
}

fn invalid(message: String) -> FederationError {
    FederationError::Invalid(message)
}
