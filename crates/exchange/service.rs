//! The token service: what it works with, and which path a request takes.
//!
//! Deliberately absent: the paths themselves, HTTP, and how an intent came to be approved.

use std::{fmt, sync::Arc};

use marque_dpop::{NoncePurpose, Nonces};
use marque_jose::SigningKeys;
use marque_spiffe::{BundleSource, Clock, Random};

use crate::{
    AuthenticatedClient, ClientAuthenticator, ClientRules, DeferralStore, Endpoint,
    EnvironmentLookup, IntentDesk, NonceSecret, OAuthError, OAuthErrorCode, OidcKeys, Presented,
    ReplayStore, TokenLifeStore, TokenRequest, TokenResponse, TokenServiceConfig, TokenStore,
    UseGate, binding::Proofs, client::ClientCredentials, kill_state::KillStatements,
    oidc::PersonVerifier, request::GrantRequest, status::StatusLists,
};

/// The token service of one trust domain.
pub struct TokenService {
    pub(crate) config: TokenServiceConfig,
    pub(crate) authenticator: ClientAuthenticator,
    pub(crate) persons: PersonVerifier,
    /// The keys of authorization servers of other domains.
    pub(crate) foreign_keys: Arc<dyn OidcKeys>,
    pub(crate) keys: Arc<dyn SigningKeys>,
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) deferrals: Arc<dyn DeferralStore>,
    pub(crate) desk: Arc<dyn IntentDesk>,
    /// What grants are bound to beside their clocks.
    pub(crate) gate: Arc<dyn UseGate>,
    pub(crate) life: Arc<dyn TokenLifeStore>,
    pub(crate) status_lists: StatusLists,
    pub(crate) kill_statements: KillStatements,
    pub(crate) replays: Arc<dyn ReplayStore>,
    pub(crate) nonces: Nonces,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// What a [`TokenService`] works with.
#[derive(Debug, Clone)]
pub struct TokenServiceParts {
    /// The bundles that SVIDs are verified with.
    pub bundles: Arc<dyn BundleSource>,
    /// The environments of other trust domains.
    pub environments: Arc<dyn EnvironmentLookup>,
    /// The keys of the issuers of ID tokens.
    pub oidc_keys: Arc<dyn OidcKeys>,
    /// The key that signs access tokens, and those that they verify with.
    pub keys: Arc<dyn SigningKeys>,
    /// Intents and tokens at rest.
    pub store: Arc<dyn TokenStore>,
    /// Deferrals at rest.
    pub deferrals: Arc<dyn DeferralStore>,
    /// Where inline requests for an intent go.
    pub desk: Arc<dyn IntentDesk>,
    /// What grants are bound to beside their clocks.
    pub gate: Arc<dyn UseGate>,
    /// Tokens after their issue.
    pub life: Arc<dyn TokenLifeStore>,
    /// Which proofs were shown.
    pub replays: Arc<dyn ReplayStore>,
    /// What nonces and challenges are made with.
    pub nonce_secret: NonceSecret,
    /// Randomness for token ids and deferral codes.
    pub random: Arc<dyn Random>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl TokenService {
    /// A token service.
    pub fn new(config: TokenServiceConfig, parts: TokenServiceParts) -> Self {
        let TokenServiceParts {
            bundles,
            environments,
            oidc_keys,
            keys,
            store,
            deferrals,
            desk,
            gate,
            life,
            replays,
            nonce_secret,
            random,
            clock,
        } = parts;
        let rules = ClientRules {
            issuer: config.issuer.clone(),
            trust_domain: config.trust_domain.clone(),
            environment: config.environment,
            max_assertion_lifetime: config.max_assertion_lifetime,
            max_wit_svid_lifetime: config.max_wit_svid_lifetime,
            leeway: config.leeway,
            offers: config.offers,
            attestation_challenge: config.attestation_challenge,
            verified_svids: config.verified_svids,
        };
        let authenticator = ClientAuthenticator::new(
            rules,
            bundles,
            environments,
            nonce_secret.nonces(NoncePurpose::AttestationProof, &config.issuer),
            Arc::clone(&clock),
        );
        let foreign_keys = Arc::clone(&oidc_keys);
        let persons = PersonVerifier::new(config.oidc_issuers.clone(), oidc_keys, config.leeway);
        let nonces = nonce_secret.nonces(NoncePurpose::DpopProof, &config.issuer);
        let status_lists = StatusLists::default();
        Self {
            config,
            authenticator,
            persons,
            foreign_keys,
            keys,
            store,
            gate,
            life,
            status_lists,
            kill_statements: KillStatements::default(),
            deferrals,
            desk,
            replays,
            nonces,
            clock,
            random,
        }
    }

    /// The authenticator that it uses, for other edges that know clients by their SVIDs.
    pub const fn authenticator(&self) -> &ClientAuthenticator {
        &self.authenticator
    }

    /// Answers a request to the token endpoint. Whatever came beside its body is in `presented`.
    ///
    /// # Errors
    /// What the client is to be told. Whatever refuses because of the intent is in the audit log by then.
    pub async fn token(
        &self,
        request: TokenRequest,
        presented: Presented,
    ) -> Result<TokenResponse, OAuthError> {
        let (client, proofs) = self.prove(&request.client, &presented, Endpoint::Token).await?;
        let answered = match &request.grant {
            GrantRequest::Exchange(exchange) => {
                self.exchange(&request.client, client, exchange, &presented, &proofs).await
            }
            GrantRequest::Assertion(assertion) => {
                self.redeem_grant(&client, assertion, &proofs).await
            }
            GrantRequest::Poll(poll) => self.poll(&client, poll, &proofs).await,
        };
        // Whatever was refused before anything was written used up its proofs all the same.
        if answered.is_err() && !proofs.are_settled() {
            self.remember(&proofs).await?;
        }
        answered
    }

    /// Authenticates the client of a request to `endpoint` of which nothing is written but what it showed for that.
    pub(crate) async fn authenticate(
        &self,
        credentials: &ClientCredentials,
        endpoint: Endpoint,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let (client, shown) = self.authenticator.authenticate_client(credentials, endpoint)?;
        self.remember(&Proofs::of(&client).with(shown)).await?;
        client.is_named_by(credentials)?;
        Ok(client)
    }

    /// Authenticates the client of a request to `endpoint`, and finds which keys it proved to hold. What it showed is to be
    /// remembered with whatever comes of the request; where nothing can come of it, that was done.
    pub(crate) async fn prove(
        &self,
        credentials: &ClientCredentials,
        presented: &Presented,
        endpoint: Endpoint,
    ) -> Result<(AuthenticatedClient, Proofs), OAuthError> {
        let (client, shown) = self.authenticator.authenticate_client(credentials, endpoint)?;
        let by_client = Proofs::of(&client).with(shown);
        let proven = client
            .is_named_by(credentials)
            .and_then(|()| self.proofs(presented, endpoint, by_client.clone()));
        match proven {
            Ok(proofs) => Ok((client, proofs)),
            Err(error) => {
                self.remember(&by_client).await?;
                Err(error)
            }
        }
    }
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The code of a deferral was redeemed before.
pub(crate) fn spent() -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidGrant, "the code was already redeemed")
}

/// Something that we need is out of reach; nothing was issued.
pub(crate) fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> OAuthError {
    OAuthError::new(
        OAuthErrorCode::TemporarilyUnavailable,
        "the token service cannot decide right now",
    )
    .with_source(source)
}

pub(crate) fn server_error(source: impl std::error::Error + Send + Sync + 'static) -> OAuthError {
    OAuthError::new(OAuthErrorCode::ServerError, "the token service failed").with_source(source)
}

#[cfg(test)]
mod tests;
