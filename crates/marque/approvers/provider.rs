//! The approvers' identity provider: where browsers are sent, and what a code is worth (RFC 6749 §4.1, RFC 7636, RFC 9700).
//!
//! The flow is the `oauth2` crate's, over our own HTTP and TLS; the ID token is verified by `exchange`'s strict verifier.
//! Absent: discovery, user info, refresh tokens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use marque_exchange::{IssuerUrl, LoggedIn, LoginRefusal, LoginRules, LoginVerifier};
use marque_registry::{APPROVER_LOGIN, ApproverLogin};
use marque_spiffe::Clock;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::secrets;
use crate::federation::{web, web_authorities};
use crate::oidc::OidcKeyRing;
use crate::outgoing::{Destination, OutgoingError, OutgoingLimits};

/// How far the provider's clock may differ from ours.
const LEEWAY: Duration = Duration::from_secs(5);
/// What one request for a token may cost.
const LIMITS: OutgoingLimits = OutgoingLimits { time: Duration::from_secs(10), bytes: 64 * 1024 };
/// Where the provider sends people back to, below the issuer.
pub(crate) const CALLBACK_PATH: &str = "/v1/approvals/login/callback";

/// What a token answer has beside OAuth's own.
#[derive(Debug, Serialize, Deserialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdTokenField {}

type OidcClient = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdTokenField, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The provider of one trust domain.
pub(super) struct Provider {
    client: OidcClient,
    tokens: Destination,
    verifier: LoginVerifier,
    settings: ApproverLogin,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.settings.issuer()).finish_non_exhaustive()
    }
}

/// What one login is asked with. It is of one browser.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// Whether the person has to prove anew who they are.
    pub(super) fresh: bool,
    /// The terminal that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) terminal: Option<super::TerminalDoor>,
}

/// Why a code was worth nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodeError {
    /// The provider did not answer, or not as one.
    #[error("the provider gave no token")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider refused the code.
    #[error("the provider refused the code: {0}")]
    Refused(String),
    /// There is no ID token in the answer.
    #[error("the provider gave no ID token")]
    NoIdToken,
    /// The ID token is not one for this login.
    #[error(transparent)]
    IdToken(#[from] LoginRefusal),
}

impl Provider {
    pub(super) fn open(
        settings: &ApproverLogin,
        issuer: &IssuerUrl,
        folder: &Path,
        keys: &Arc<OidcKeyRing>,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let authorities = web_authorities(&folder.join(settings.ca_file()))?;
        let tls = web(authorities, Arc::clone(clock)).context("prepare TLS")?;
        let tokens = Destination::new(settings.token_endpoint().as_str(), Some(tls))
            .context("`token_endpoint`")?;
        let client = Client::new(ClientId::new(settings.client_id().to_owned()))
            .set_auth_uri(AuthUrl::new(settings.authorization_endpoint().as_str().to_owned())?)
            .set_token_uri(TokenUrl::new(settings.token_endpoint().as_str().to_owned())?)
            .set_redirect_uri(RedirectUrl::new(issuer.join(CALLBACK_PATH))?);
        let client = match settings.client_secret_file() {
            None => client,
            Some(file) => {
                let secret = secrets::line(folder, file)?;
                client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            }
        };
        let verifier = LoginVerifier::new(
            LoginRules {
                name: APPROVER_LOGIN.to_owned(),
                issuer: settings.issuer().to_owned(),
                client_id: settings.client_id().to_owned(),
                groups_claim: settings.groups_claim().map(str::to_owned),
                leeway: LEEWAY,
            },
            Arc::clone(keys) as _,
        );
        Ok(Self { client, tokens, verifier, settings: settings.clone() })
    }

    pub(super) fn settings(&self) -> &ApproverLogin {
        &self.settings
    }

    /// How old a login may be that is asked for.
    fn max_age(&self, attempt: &Attempt) -> Duration {
        if attempt.fresh { self.settings.mfa_max_age() } else { self.settings.session() }
    }

    /// Where a browser is sent.
    pub(super) fn authorization_url(&self, attempt: &Attempt) -> String {
        let verifier = PkceCodeVerifier::new(attempt.verifier.clone());
        let state = attempt.state.clone();
        let mut request = self
            .client
            .authorize_url(|| CsrfToken::new(state))
            .add_scope(Scope::new("openid".to_owned()))
            .add_scopes(self.settings.scopes().iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("nonce", attempt.nonce.clone())
            .add_extra_param("max_age", self.max_age(attempt).as_secs().to_string())
            // For providers that say how somebody logged in only when they are asked.
            .add_extra_param("claims", r#"{"id_token":{"acr":null,"amr":null,"auth_time":null}}"#);
        if attempt.fresh {
            request = request.add_extra_param("prompt", "login");
        }
        if !self.settings.mfa_acr().is_empty() {
            let wanted: Vec<&str> = self.settings.mfa_acr().iter().map(String::as_str).collect();
            request = request.add_extra_param("acr_values", wanted.join(" "));
        }
        request.url().0.to_string()
    }

    /// Redeems the code that answers an attempt: who logged in.
    pub(super) async fn redeem(
        &self,
        code: String,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<LoggedIn, CodeError> {
        let forward = |request: HttpRequest| forward(self.tokens.clone(), request);
        let answer = self
            .client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.clone()))
            .request_async(&forward)
            .await;
        let answer = answer.map_err(|error| match error {
            oauth2::RequestTokenError::ServerResponse(refused) => {
                // The code alone: the rest is the provider's text.
                CodeError::Refused(refused.error().as_ref().to_owned())
            }
            oauth2::RequestTokenError::Request(error) => CodeError::Unavailable(Box::new(error)),
            oauth2::RequestTokenError::Parse(..) | oauth2::RequestTokenError::Other(_) => {
                CodeError::Unavailable("what came is no token answer".into())
            }
        })?;
        let id_token = answer.extra_fields().id_token.as_deref().ok_or(CodeError::NoIdToken)?;
        let max_age = Some(self.max_age(&attempt));
        Ok(self.verifier.verify(id_token, &attempt.nonce, max_age, now)?)
    }
}

async fn forward(to: Destination, request: HttpRequest) -> Result<HttpResponse, OutgoingError> {
    to.send(request, LIMITS).await
}
