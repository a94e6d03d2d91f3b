//! Who is calling: a client is authenticated by its JWT-SVID (draft-ietf-oauth-spiffe-client-auth-02).
//!
//! The signature is checked with the bundle of the trust domain that `sub` names, never with anything that `iss` or a
//! header points to. An SVID is a cached credential, so its re-use is no replay; its remaining lifetime is bounded
//! instead. Deliberately absent: X.509-SVID and WIT-SVID authentication.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_intent::DenialCode;
use marque_spiffe::{
    Bundle, BundleSource, Clock, Environment, JwtSvid, SpiffeId, TrustDomain, UnverifiedJwtSvid,
};
use rustls_pki_types::CertificateDer;

use crate::{IssuerUrl, OAuthError, OAuthErrorCode};

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
    svid_expires_at: Timestamp,
}

impl AuthenticatedClient {
    /// A client that somebody else authenticated: a test's, or one whose proof is not a JWT-SVID.
    pub const fn dangerous_assume(id: SpiffeId, svid_expires_at: Timestamp) -> Self {
        Self { id, svid_expires_at }
    }

    /// Its SPIFFE ID, which is also its `client_id`.
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// When the SVID that it showed ends.
    pub const fn svid_expires_at(&self) -> Timestamp {
        self.svid_expires_at
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
    /// How far in the future an SVID may end.
    pub max_assertion_lifetime: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Authenticates clients by JWT-SVID, for the token endpoint and for the intents API alike.
#[derive(Debug, Clone)]
pub struct ClientAuthenticator {
    rules: ClientRules,
    bundles: Arc<dyn BundleSource>,
    environments: Arc<dyn EnvironmentLookup>,
    clock: Arc<dyn Clock>,
}

impl ClientAuthenticator {
    /// An authenticator by these rules and bundles.
    pub fn new(
        rules: ClientRules,
        bundles: Arc<dyn BundleSource>,
        environments: Arc<dyn EnvironmentLookup>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { rules, bundles, environments, clock }
    }

    /// Authenticates the bearer of a JWT-SVID whose only audience is the issuer.
    ///
    /// # Errors
    /// `access_denied` with the denial `environment_boundary` for an SVID of the other environment; `invalid_client` for
    /// everything else.
    pub fn authenticate(&self, assertion: &str) -> Result<AuthenticatedClient, OAuthError> {
        let svid = self.verify(assertion, Audience::Sole).map_err(|refusal| {
            refusal.into_error(
                OAuthErrorCode::InvalidClient,
                "the JWT-SVID does not authenticate a client",
            )
        })?;
        Ok(AuthenticatedClient { id: svid.id().clone(), svid_expires_at: svid.expires_at() })
    }

    /// Verifies a subject token: a JWT-SVID with the issuer among its audiences. Gives who it is and when it ends.
    pub(crate) fn verify_subject(&self, token: &str) -> Result<AuthenticatedClient, OAuthError> {
        // RFC 8693 §2.2.2: an unacceptable subject token is an invalid request, whatever the reason.
        let svid = self.verify(token, Audience::Among).map_err(|refusal| {
            refusal.into_error(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not an acceptable JWT-SVID",
            )
        })?;
        Ok(AuthenticatedClient { id: svid.id().clone(), svid_expires_at: svid.expires_at() })
    }

    fn verify(&self, token: &str, audience: Audience) -> Result<JwtSvid, Refusal> {
        let now = self.clock.now();
        let svid =
            UnverifiedJwtSvid::parse(token).map_err(|source| Refusal::Invalid(source.into()))?;
        let bundle = self.bundle(svid.trust_domain())?;
        let issuer = self.rules.issuer.as_str();
        let svid = match audience {
            Audience::Sole => svid.verify_sole_audience(&bundle, issuer, now),
            Audience::Among => svid.verify(&bundle, issuer, now),
        }
        .map_err(|source| Refusal::Invalid(source.into()))?;
        if svid.expires_at() > now + self.rules.max_assertion_lifetime + self.rules.leeway {
            return Err(Refusal::LivesTooLong);
        }
        Ok(svid)
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

#[derive(Clone, Copy)]
enum Audience {
    Sole,
    Among,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the SVID is of the other environment")]
    EnvironmentBoundary,
    #[error("the SVID's trust domain is not known here")]
    UnknownTrustDomain,
    #[error("the SVID ends too far in the future")]
    LivesTooLong,
    #[error("the SVID is not valid")]
    Invalid(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    fn into_error(self, code: OAuthErrorCode, description: &'static str) -> OAuthError {
        match self {
            Self::EnvironmentBoundary => OAuthError::new(
                OAuthErrorCode::AccessDenied,
                "the SVID is of the other environment",
            )
            .with_denial(DenialCode::EnvironmentBoundary),
            Self::UnknownTrustDomain | Self::LivesTooLong | Self::Invalid(_) => {
                OAuthError::new(code, description)
            }
        }
        .with_source(self)
    }
}
