//! Who is calling: a client is authenticated by exactly one SVID (draft-ietf-oauth-spiffe-client-auth-02).
//!
//! Keys come from the bundle of the trust domain that the SVID's own SPIFFE ID names, never from anything that `iss`, a
//! header or a URL in the request points to. Deliberately absent: passwords, secrets and public clients.

mod actor;
mod attestation_proof;
mod challenge;
mod credentials;
mod jwt_svid;
mod known;
mod proof;
mod wit_svid;
mod workload_proof;
mod x509_svid;

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_dpop::Nonces;
use marque_intent::DenialCode;
use marque_spiffe::{Bundle, BundleSource, Clock, Environment, SpiffeId, TrustDomain};
use rustls_pki_types::CertificateDer;

use crate::{Endpoint, IssuerUrl, NoncePolicy, OAuthError, OAuthErrorCode, Offers, Thumbprint};

use self::{challenge::Challenges, known::KnownSvids};
pub(crate) use wit_svid::WitProofShown;

pub use attestation_proof::UnverifiedAttestationProof;
pub(crate) use credentials::{ClientCredentials, WitProof};
pub use proof::{MAX_JTI_BYTES, ProofError, ShownProof};
pub use workload_proof::UnverifiedWorkloadProof;

/// The environment of trust domains other than the own one.
///
/// `None` means that nothing is known of it, and an SVID of it is refused whatever bundle there may be: federation alone
/// does not carry a trust domain over the firebreak.
pub trait EnvironmentLookup: fmt::Debug + Send + Sync {
    /// What the trust domain declares itself to be, as this issuer was told.
    fn environment(&self, trust_domain: &TrustDomain) -> Option<Environment>;
}

/// The certificate chain that a client showed in its TLS handshake, which proved that it holds the leaf's key. Nothing
/// else about it was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    chain: Arc<[CertificateDer<'static>]>,
}

impl PeerCertificate {
    /// Keeps the chain, leaf first; `None` when it is empty.
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Arc<[_]> =
            chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        (!chain.is_empty()).then_some(Self { chain })
    }

    /// The chain, leaf first, never empty.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate").field("certificates", &self.chain.len()).finish()
    }
}

/// A client that proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedClient {
    id: SpiffeId,
    svid_issued_at: Option<Timestamp>,
    svid_expires_at: Timestamp,
    method: ClientMethod,
}

/// By what a client proved who it is, and which key it thereby showed to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMethod {
    /// A JWT-SVID, which shows no key.
    JwtSvid,
    /// An X.509-SVID: the thumbprint of its leaf (RFC 8705 §3.1).
    X509Svid(Thumbprint),
    /// A WIT-SVID and a proof by its key: the thumbprint of that key (RFC 7638).
    WitSvid(Thumbprint),
}

impl ClientMethod {
    /// The name of JWT-SVID client authentication in metadata, as deployed servers spell it.
    pub const JWT_SVID: &str = "spiffe_jwt";
    /// The name of X.509-SVID client authentication in metadata, as deployed servers spell it.
    pub const X509_SVID: &str = "spiffe_x509";
    /// The name of attestation-based client authentication in metadata
    /// (draft-ietf-oauth-attestation-based-client-auth-10, section 12).
    pub const WIT_SVID: &str = "attest_jwt_client_auth";

    /// The names of the methods that are offered, for `…_auth_methods_supported`.
    pub fn offered(offers: &Offers) -> Vec<&'static str> {
        [
            (Self::JWT_SVID, true),
            (Self::X509_SVID, offers.mutual_tls),
            (Self::WIT_SVID, offers.wit_client_authentication),
        ]
        .into_iter()
        .filter_map(|(name, offered)| offered.then_some(name))
        .collect()
    }
}

impl AuthenticatedClient {
    /// A client that somebody else authenticated: a test's, or one whose proof is not a JWT-SVID.
    pub const fn dangerous_assume(id: SpiffeId, svid_expires_at: Timestamp) -> Self {
        Self { id, svid_issued_at: None, svid_expires_at, method: ClientMethod::JwtSvid }
    }

    /// A `client_id` that was sent is the SVID's own SPIFFE ID.
    ///
    /// # Errors
    /// `invalid_client`
    pub(crate) fn is_named_by(&self, credentials: &ClientCredentials) -> Result<(), OAuthError> {
        match credentials.client_id() {
            Some(client_id) if client_id != self.id.as_str() => Err(OAuthError::new(
                OAuthErrorCode::InvalidClient,
                "client_id is not the SPIFFE ID of the SVID",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Its SPIFFE ID, which is also its `client_id`.
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// When the SVID that it showed was issued, and so when it was attested; `None` if the SVID does not say.
    pub const fn svid_issued_at(&self) -> Option<Timestamp> {
        self.svid_issued_at
    }

    /// When the SVID that it showed ends.
    pub const fn svid_expires_at(&self) -> Timestamp {
        self.svid_expires_at
    }

    /// By what it proved who it is.
    pub const fn method(&self) -> ClientMethod {
        self.method
    }
}

/// What a [`ClientAuthenticator`] holds a client to.
#[derive(Debug, Clone)]
pub struct ClientRules {
    /// The issuer identifier, which must be the assertion's only audience.
    pub issuer: IssuerUrl,
    /// The trust domain that is served here.
    pub trust_domain: TrustDomain,
    /// Its environment.
    pub environment: Environment,
    /// How far in the future a JWT-SVID may end.
    pub max_assertion_lifetime: Duration,
    /// How far in the future a WIT-SVID may end: it opens nothing without its key, and lives longer.
    pub max_wit_svid_lifetime: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Which methods are offered beside JWT-SVIDs.
    pub offers: Offers,
    /// Whether the proof beside a client attestation needs a challenge of ours.
    pub attestation_challenge: NoncePolicy,
    /// How many verified JWT-SVIDs are remembered; 0 for none.
    pub verified_svids: u64,
}

/// Authenticates clients by their SVIDs, for the token endpoint and for the intents API alike.
#[derive(Debug, Clone)]
pub struct ClientAuthenticator {
    rules: ClientRules,
    bundles: Arc<dyn BundleSource>,
    environments: Arc<dyn EnvironmentLookup>,
    challenges: Challenges,
    clock: Arc<dyn Clock>,
    known: KnownSvids,
}

impl ClientAuthenticator {
    /// An authenticator by these rules and bundles, which hands out `challenges` for the proofs beside client attestations.
    pub fn new(
        rules: ClientRules,
        bundles: Arc<dyn BundleSource>,
        environments: Arc<dyn EnvironmentLookup>,
        challenges: Nonces,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let known = KnownSvids::new(rules.verified_svids);
        let challenges = Challenges::new(challenges, rules.attestation_challenge);
        Self { rules, bundles, environments, challenges, clock, known }
    }

    /// Authenticates the client of a request to `endpoint` by the method that it used. A proof that it made for that is
    /// given back: whether it is shown for the first time was not looked at.
    ///
    /// # Errors
    /// `access_denied` with the denial `environment_boundary` for an SVID of the other environment;
    /// `use_attestation_challenge` for a proof without a challenge of ours, `invalid_client_attestation` for a client attestation or its proof otherwise,
    /// and `invalid_client` for everything else.
    pub(crate) fn authenticate_client(
        &self,
        credentials: &ClientCredentials,
        endpoint: Endpoint,
    ) -> Result<(AuthenticatedClient, Option<WitProofShown>), OAuthError> {
        let (client, shown) = match credentials {
            ClientCredentials::JwtSvid { assertion, .. } => {
                (self.authenticate(assertion.expose_token())?, None)
            }
            ClientCredentials::X509Svid { client_id, certificate } => {
                offered(self.rules.offers.mutual_tls)?;
                (self.by_x509_svid(client_id, certificate)?, None)
            }
            ClientCredentials::WitSvid { wit, proof, .. } => {
                offered(self.rules.offers.wit_client_authentication)?;
                let (client, shown) = self.by_wit_svid(wit, proof, endpoint)?;
                (client, Some(shown))
            }
        };
        Ok((client, shown))
    }

    fn check_remaining_life(&self, expires_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        self.ends_within(self.rules.max_assertion_lifetime, expires_at, now)
    }

    fn check_remaining_life_of_wit_svid(
        &self,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.ends_within(self.rules.max_wit_svid_lifetime, expires_at, now)
    }

    fn ends_within(
        &self,
        lifetime: Duration,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if expires_at > now + lifetime + self.rules.leeway {
            return Err(Refusal::LivesTooLong);
        }
        Ok(())
    }

    /// The bundle of a trust domain of the same environment. `trust_domain` is what an unverified token claims; all
    /// that it can achieve is a refusal or the choice of the keys that it must then verify with.
    fn bundle(&self, trust_domain: &TrustDomain) -> Result<Arc<Bundle>, Refusal> {
        let environment = if *trust_domain == self.rules.trust_domain {
            self.rules.environment
        } else {
            self.environments.environment(trust_domain).ok_or(Refusal::UnknownTrustDomain)?
        };
        if environment != self.rules.environment {
            return Err(Refusal::EnvironmentBoundary);
        }
        self.bundles.bundle(trust_domain).ok_or(Refusal::UnknownTrustDomain)
    }
}

fn offered(method: bool) -> Result<(), OAuthError> {
    if method {
        return Ok(());
    }
    Err(OAuthError::new(
        OAuthErrorCode::InvalidClient,
        "this method of client authentication is not offered",
    ))
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the SVID is of the other environment")]
    EnvironmentBoundary,
    #[error("the SVID's trust domain is not known here")]
    UnknownTrustDomain,
    #[error("the SVID ends too far in the future")]
    LivesTooLong,
    #[error("client_id is not the SPIFFE ID of the SVID")]
    OtherClientId,
    #[error("the proof has no challenge of ours, or one that is too old")]
    Challenge,
    #[error("the SVID is not valid")]
    Invalid(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    fn invalid(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Invalid(Box::new(source))
    }

    fn into_error(self, code: OAuthErrorCode, description: &'static str) -> OAuthError {
        match self {
            Self::EnvironmentBoundary => OAuthError::new(
                OAuthErrorCode::AccessDenied,
                "the SVID is of the other environment",
            )
            .with_denial(DenialCode::EnvironmentBoundary),
            Self::Challenge => OAuthError::new(
                OAuthErrorCode::UseAttestationChallenge,
                "the proof needs the challenge of the OAuth-Client-Attestation-Challenge header",
            ),
            Self::UnknownTrustDomain
            | Self::LivesTooLong
            | Self::OtherClientId
            | Self::Invalid(_) => OAuthError::new(code, description),
        }
        .with_source(self)
    }
}

#[cfg(test)]
mod tests;
