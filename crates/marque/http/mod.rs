//! The HTTP edge: routes and answers of the token service, the intents API and discovery.
//!
//! It reads requests into domain types, asks an [`IssuerDoor`], and writes answers; every rule lives behind the door.
//! Deliberately absent: which playbook, grant or token is right, and plain HTTP.

pub mod accept;
mod approvals;
mod asked;
pub mod bundle;
mod correlated;
mod discovery;
mod grpc;
mod intents;
mod log;
mod negotiation;
pub mod openapi;
mod problem;
mod received;
mod routes;
mod signals;
mod status;
mod stop;
mod svid_discovery;
mod token;

use std::{error::Error, fmt, sync::Arc};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use futures::future::BoxFuture;
use marque_audit::TreeError;
use marque_audit::folder::TilePath;
use marque_exchange::{
    AuthenticatedClient, BackchannelRequest, BackchannelResponse, Introspection,
    IntrospectionRequest, IssuerUrl, OAuthError, Offers, Presented, RevocationRequest,
    SignedStatusList, TokenId, TokenRequest, TokenResponse,
};
use marque_intent::{
    Denial, DenialCode, IdempotencyKey, Intent, IntentId, IntentRequest, Justification, Kill,
    Outcome, PlaybookSummary, Reason,
};
use marque_jose::CompactToken;
use marque_registry::AuditSettings;
use marque_spiffe::{Bundle, SpiffeId};
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

use self::routes::Routes;
use crate::approvers::Approvers;
use crate::ssf::Signals;
pub use accept::{HttpLimits, HttpServer, ListenerHandle, LiveHttpLimits, Routers};
pub(crate) use grpc::grpc_router;
pub use log::ReceiptError;

/// One trust domain's issuer as this edge sees it.
pub trait IssuerDoor: fmt::Debug + Send + Sync {
    /// The issuer identifier, below which everything is served.
    fn issuer(&self) -> &IssuerUrl;

    /// Whether requests can be served.
    fn is_ready(&self) -> BoxFuture<'_, bool>;

    /// Exchanges tokens.
    fn token(
        &self,
        request: TokenRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<TokenResponse, OAuthError>>;

    /// Begins a backchannel authentication.
    fn backchannel(
        &self,
        request: BackchannelRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<BackchannelResponse, OAuthError>>;

    /// Answers about a token.
    fn introspect(
        &self,
        request: IntrospectionRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<Introspection, OAuthError>>;

    /// Revokes a token.
    fn revoke(
        &self,
        request: RevocationRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<(), OAuthError>>;

    /// The token status list of this number, if there is one.
    fn status_list(
        &self,
        list: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<SignedStatusList>>, OAuthError>>;

    /// Where the token status lists are, if there are any.
    fn status_lists(&self) -> BoxFuture<'_, Result<Option<Value>, OAuthError>>;

    /// The epoch of the kill switch, signed.
    ///
    /// # Errors
    /// It is not known, or cannot be signed.
    fn kill_state(&self) -> Result<Arc<CompactToken>, OAuthError>;

    /// Stops the agent itself, at its own word.
    fn stop_self(
        &self,
        agent: AuthenticatedClient,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Kill, IntentError>>;

    /// The nonce for the next DPoP proof; `None` where DPoP is not offered.
    fn dpop_nonce(&self) -> Option<String>;

    /// The challenge for the next proof beside a client attestation; `None` where that is not offered.
    fn attestation_challenge(&self) -> Option<String>;

    /// The RFC 8414 document.
    fn metadata(&self) -> Value;

    /// The OpenID discovery document.
    fn openid_configuration(&self) -> Value;

    /// The RFC 9728 document of the intents API.
    fn resource_metadata(&self) -> Value;

    /// What is offered: what is not has no route.
    fn offers(&self) -> &Offers;

    /// Who may read the log.
    fn log_readers(&self) -> &AuditSettings;

    /// The newest checkpoint of the log, as it was signed.
    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, TreeError>>;

    /// The bytes of one tile or entry bundle of the log.
    fn tile(&self, tile: TilePath) -> BoxFuture<'_, Result<Vec<u8>, TreeError>>;

    /// The proof that a token is in the log, for whoever shows a JWT-SVID or the token.
    fn receipt(&self, bearer: String, id: TokenId) -> BoxFuture<'_, Result<String, ReceiptError>>;

    /// The newest bundle of the trust domain.
    fn bundle(&self) -> Arc<Bundle>;

    /// The same without the token keys of an upstream, which sign nothing in the name of this issuer.
    fn own_bundle(&self) -> Arc<Bundle>;

    /// The issuer that JWT-SVIDs name, where they name one: another one than that of access tokens.
    fn svid_issuer(&self) -> Option<&IssuerUrl> {
        None
    }

    /// The keys of access tokens.
    fn jwks(&self) -> Value;

    /// Authenticates the bearer of a JWT-SVID.
    ///
    /// # Errors
    /// The SVID does not authenticate anybody.
    fn authenticate(&self, bearer: &str) -> Result<AuthenticatedClient, OAuthError>;

    /// Why the kill switch stops this agent, if it does.
    fn stopped(&self, agent: &SpiffeId) -> Option<DenialCode>;

    /// The playbooks that an agent may ask for.
    fn playbooks(&self, agent: &SpiffeId) -> Vec<PlaybookSummary>;

    /// What an agent should know of the playbook of its intent: that it is about to go.
    fn warning(&self, intent: &Intent) -> Option<String>;

    /// Takes an agent's request. Gives the intent, approved or pending.
    fn request_intent(
        &self,
        agent: AuthenticatedClient,
        request: IntentRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>>;

    /// Records the refusal of a request that could not be read, and gives what to answer.
    fn refuse_intent(
        &self,
        agent: AuthenticatedClient,
        denial: Denial,
    ) -> BoxFuture<'_, IntentError>;

    /// The approvers who are no local operators; `None` where there are none.
    fn approvers(&self) -> Option<Arc<Approvers>>;

    /// What is told to others of what was stopped, and heard of them.
    fn signals(&self) -> Option<Arc<Signals>>;

    /// The agent's own intent.
    fn find_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>>;

    /// Ends the agent's own intent with its report.
    fn complete_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
        outcome: Outcome,
        report: Option<Justification>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>>;

    /// Takes note that the agent still works under its own intent.
    fn hear_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>>;

    /// Withdraws the agent's own intent.
    fn cancel_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>>;
}

/// Why the door did not do what an agent asked of an intent.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// Refused, with a reason that a program can read.
    #[error("refused")]
    Denied {
        /// The reason.
        #[source]
        denial: Denial,
        /// The intent, where one was made.
        intent: Option<IntentId>,
    },
    /// There is no such intent, or it is somebody else's.
    #[error("no such intent")]
    NotFound,
    /// Nothing was done, because it could not be kept.
    #[error("intents cannot be kept right now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// What handlers share.
#[derive(Debug, Clone)]
struct HttpState {
    issuer: Arc<dyn IssuerDoor>,
}

/// Every route of one issuer.
pub fn router(issuer: Arc<dyn IssuerDoor>) -> Router {
    let state = HttpState { issuer };
    let routes = routes(&state);
    served(routes, state)
}

/// The bundle endpoint alone, for a listener of its own.
pub fn bundle_router(issuer: Arc<dyn IssuerDoor>) -> Router {
    served(bundle::alone(), HttpState { issuer })
}

/// The routes with what surrounds every answer.
fn served(routes: Routes, state: HttpState) -> Router {
    routes
        .into_router()
        .fallback(async || problem::plain(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            problem::plain(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this resource")
        })
        .layer(
            ServiceBuilder::new()
                .layer(axum::middleware::from_fn(correlated::correlated))
                .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, NO_STORE))
                .layer(SetResponseHeaderLayer::overriding(
                    header::X_CONTENT_TYPE_OPTIONS,
                    HeaderValue::from_static("nosniff"),
                ))
                .layer(CatchPanicLayer::custom(problem::panicked)),
        )
        .with_state(state)
}

/// What is served for this issuer.
fn routes(state: &HttpState) -> Routes {
    let path = state.issuer.issuer().path();
    let svids = state.issuer.svid_issuer().map(svid_discovery::routes);
    Routes::new()
        .merge(svids.unwrap_or_default())
        .merge(token::routes(path, state))
        .merge(status::routes(path, *state.issuer.offers()))
        .merge(intents::routes(path))
        .merge(stop::routes(path))
        .merge(approvals::routes(path))
        .merge(signals::routes(path))
        .merge(discovery::routes(path))
        .merge(bundle::routes(path))
        .merge(log::routes(path))
        .merge(openapi::routes(path, state))
}

/// Whether there is exactly one `Content-Type` and it is this one, whatever its parameters.
fn is_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = values
        .next()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
        && values.next().is_none()
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

#[cfg(test)]
mod tests;
