//! The token service: authenticate, verify, decide, redeem, sign, answer (RFC 8693).
//!
//! A use is redeemed and on disk before anything is signed, and a refusal about an intent is on disk before it is
//! answered. Deliberately absent: HTTP, and how an intent came to be approved.

use std::{fmt, sync::Arc, time::Duration};

use marque_audit::{Event, EventKind, PlaybookPin};
use marque_intent::{Denial, DenialCode, Intent, IntentId};
use marque_jose::{Audiences, JwkSet, NumericDate, Signer, sign_compact};
use marque_spiffe::{BundleSource, Clock, Random};

use crate::{
    ACCESS_TOKEN_TYPE, AuthenticatedClient, ClientAuthenticator, ClientRules, EnvironmentLookup,
    IssuedToken, OAuthError, OAuthErrorCode, Presented, RedeemError, Redemption, TokenId,
    TokenKind, TokenRecord, TokenRequest, TokenResponse, TokenServiceConfig, TokenStore,
    decision::{Decision, Question, Refusal},
    request::{ClientCredentials, ExchangeRequest, GrantRequest},
    token::{AccessTokenClaims, IntentClaim, granted_details},
};

/// The token service of one trust domain.
pub struct TokenService {
    pub(crate) config: TokenServiceConfig,
    pub(crate) authenticator: ClientAuthenticator,
    pub(crate) keys: JwkSet,
    pub(crate) store: Arc<dyn TokenStore>,
    pub(crate) clock: Arc<dyn Clock>,
    signer: Arc<dyn Signer>,
    random: Arc<dyn Random>,
}

/// What a [`TokenService`] works with.
#[derive(Debug, Clone)]
pub struct TokenServiceParts {
    /// The bundles that SVIDs are verified with.
    pub bundles: Arc<dyn BundleSource>,
    /// The environments of other trust domains.
    pub environments: Arc<dyn EnvironmentLookup>,
    /// The key that signs access tokens.
    pub signer: Arc<dyn Signer>,
    /// The keys that access tokens verify with, the signer's among them.
    pub keys: JwkSet,
    /// Intents and tokens at rest.
    pub store: Arc<dyn TokenStore>,
    /// Randomness for token ids.
    pub random: Arc<dyn Random>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl TokenService {
    /// A token service.
    pub fn new(config: TokenServiceConfig, parts: TokenServiceParts) -> Self {
        let TokenServiceParts { bundles, environments, signer, keys, store, random, clock } = parts;
        let rules = ClientRules {
            issuer: config.issuer.clone(),
            trust_domain: config.trust_domain.clone(),
            environment: config.environment,
            max_assertion_lifetime: config.max_assertion_lifetime,
            leeway: config.leeway,
        };
        let authenticator =
            ClientAuthenticator::new(rules, bundles, environments, Arc::clone(&clock));
        Self { config, authenticator, keys, store, clock, signer, random }
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
        _presented: Presented,
    ) -> Result<TokenResponse, OAuthError> {
        let client = self.authenticate(&request.client)?;
        match &request.grant {
            GrantRequest::Exchange(exchange) => {
                self.exchange(&request.client, client, exchange).await
            }
        }
    }

    /// Exchanges an SVID and an approved intent for an access token.
    async fn exchange(
        &self,
        credentials: &ClientCredentials,
        client: AuthenticatedClient,
        request: &ExchangeRequest,
    ) -> Result<TokenResponse, OAuthError> {
        let subject = self.subject(credentials, request, &client)?;
        let intent = self.store.intent(&request.intent).await.map_err(unavailable)?;
        let kills = self.store.kill_state();
        let token_id = TokenId::generate(&*self.random).map_err(server_error)?;
        let now = self.clock.now();
        let question = Question {
            request,
            client: &client,
            subject: &subject,
            intent: intent.as_ref(),
            kills: &kills,
            trust_domain: &self.config.trust_domain,
            max_lifetime: self.config.max_token_lifetime,
            token_id: &token_id,
            now,
        };
        let decision = match question.decide() {
            Ok(decision) => decision,
            Err(refusal) => {
                return Err(self.refused(&client, &request.intent, intent.as_ref(), refusal).await);
            }
        };
        let redemption = Redemption {
            intent: request.intent.clone(),
            agent: client.id().clone(),
            grant_digest: decision.grant_digest,
            token: TokenRecord {
                id: token_id.clone(),
                intent: request.intent.clone(),
                kind: TokenKind::AccessToken,
                client: client.id().clone(),
                through: Vec::new(),
                parent: None,
                confirmation: None,
                single_use: false,
                used_at: None,
                audiences: decision.audiences.clone(),
                issued_at: decision.issued_at,
                expires_at: decision.expires_at,
                epoch: kills.epoch,
                revoked_at: None,
            },
            now,
        };
        match self.redeem(redemption).await {
            // Signed from what was redeemed, not from what was read before.
            Ok(redeemed) => self.sign(&client, &redeemed, token_id, decision),
            Err(RedeemError::Refused(denial)) => Err(self
                .refused(&client, &request.intent, intent.as_ref(), Refusal::denied(denial))
                .await),
            Err(RedeemError::Store(source)) => Err(unavailable(source)),
        }
    }

    /// Redeems the use. A kill may come into force while the transaction is being written: it costs the use, and no
    /// token is signed after it.
    async fn redeem(&self, redemption: Redemption) -> Result<Intent, RedeemError> {
        let redeemed = self.store.redeem(redemption).await?;
        match self.store.kill_state().stops_grant(redeemed.intent.grant()) {
            Some(code) => Err(RedeemError::Refused(Denial::new(
                code,
                "the kill switch was thrown while the use was redeemed",
            ))),
            None => Ok(redeemed.intent),
        }
    }

    /// Authenticates by the assertion; a `client_id` must be the SVID's own SPIFFE ID.
    pub(crate) fn authenticate(
        &self,
        credentials: &ClientCredentials,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let client = self.authenticator.authenticate(credentials.assertion.expose_token())?;
        match &credentials.client_id {
            Some(client_id) if client_id != client.id().as_str() => Err(OAuthError::new(
                OAuthErrorCode::InvalidClient,
                "client_id is not the SPIFFE ID of the client assertion",
            )),
            Some(_) | None => Ok(client),
        }
    }

    /// The subject is the client itself: an SVID exchanging itself, in place of whose scope the grant stands.
    fn subject(
        &self,
        credentials: &ClientCredentials,
        request: &ExchangeRequest,
        client: &AuthenticatedClient,
    ) -> Result<AuthenticatedClient, OAuthError> {
        // Commonly one SVID plays both parts; it was verified a moment ago, and more strictly.
        if request.subject_token.expose_token() == credentials.assertion.expose_token() {
            return Ok(client.clone());
        }
        let subject = self.authenticator.verify_subject(request.subject_token.expose_token())?;
        if subject.id() != client.id() {
            return Err(OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not the client's own SVID",
            ));
        }
        Ok(subject)
    }

    fn sign(
        &self,
        client: &AuthenticatedClient,
        intent: &Intent,
        token_id: TokenId,
        decision: Decision,
    ) -> Result<TokenResponse, OAuthError> {
        let Decision { grant_digest, audiences, scope, issued_at, expires_at } = decision;
        let grant = intent.grant();
        let details =
            granted_details(intent.id(), &grant.authorization_details).map_err(server_error)?;
        let claims = AccessTokenClaims {
            iss: self.config.issuer.to_string(),
            sub: client.id().clone(),
            aud: Audiences::new(audiences).map_err(server_error)?,
            client_id: client.id().clone(),
            iat: NumericDate::floor(issued_at).map_err(server_error)?,
            exp: NumericDate::floor(expires_at).map_err(server_error)?,
            jti: token_id,
            scope: scope.clone(),
            authorization_details: details.clone(),
            intent: IntentClaim {
                id: intent.id().clone(),
                digest: grant_digest,
                playbook: grant.playbook.id.clone(),
                version: grant.playbook.version,
            },
        };
        let access_token =
            sign_compact(Some(ACCESS_TOKEN_TYPE), &claims, &*self.signer).map_err(unavailable)?;
        let expires_in =
            Duration::try_from(expires_at.duration_since(issued_at)).map_err(server_error)?;
        Ok(TokenResponse::new(IssuedToken::Bearer, access_token, expires_in, scope, details))
    }

    /// Records a refusal about an intent, and only then lets it be answered.
    async fn refused(
        &self,
        client: &AuthenticatedClient,
        id: &IntentId,
        intent: Option<&Intent>,
        refusal: Refusal,
    ) -> OAuthError {
        let denial = &refusal.denial;
        let mut event = Event::new(EventKind::TokenRefused, self.clock.now())
            .with_agent(client.id().clone())
            .with_intent(id.as_str())
            .with_denial(denial.code().as_str(), denial.class().as_str())
            .with_detail("reason", denial.detail());
        if let Some(intent) = intent {
            let playbook = &intent.grant().playbook;
            event = event.with_grant_digest(intent.grant().digest().to_string()).with_playbook(
                PlaybookPin {
                    id: playbook.id.to_string(),
                    version: playbook.version,
                    digest: playbook.digest.to_string(),
                },
            );
        }
        match self.store.record_refusal(event).await {
            Ok(()) => refusal.into_error(),
            Err(source) => unavailable(source).with_denial(DenialCode::AuditUnavailable),
        }
    }
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Something that we need is out of reach; nothing was issued.
pub(crate) fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> OAuthError {
    OAuthError::new(
        OAuthErrorCode::TemporarilyUnavailable,
        "the token service cannot decide right now",
    )
    .with_source(source)
}

fn server_error(source: impl std::error::Error + Send + Sync + 'static) -> OAuthError {
    OAuthError::new(OAuthErrorCode::ServerError, "the token service failed").with_source(source)
}

#[cfg(test)]
mod tests;
