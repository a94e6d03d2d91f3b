//! The issuer as the HTTP edge reaches it: the token service, and the intent desk for authenticated agents.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use marque_exchange::{
    AuthenticatedClient, IntrospectionRequest, IssuerUrl, OAuthError, Presented, TokenRequest,
    TokenResponse,
};
use marque_intent::{
    Denial, DenialCode, IdempotencyKey, Intent, IntentId, IntentRequest, Outcome, PlaybookSummary,
};
use marque_spiffe::{Bundle, SpiffeId};
use serde_json::Value;

use super::{DeskError, Issuer};
use crate::http::{IntentError, IssuerDoor};

impl IssuerDoor for Issuer {
    fn issuer(&self) -> &IssuerUrl {
        &self.issuer_url
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn token(
        &self,
        request: TokenRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<TokenResponse, OAuthError>> {
        Box::pin(self.tokens.token(request, presented))
    }

    fn introspect(
        &self,
        request: IntrospectionRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<Value, OAuthError>> {
        Box::pin(self.tokens.introspect(request, presented))
    }

    fn metadata(&self) -> Value {
        self.tokens.metadata()
    }

    fn openid_configuration(&self) -> Value {
        self.tokens.openid_configuration()
    }

    fn bundle(&self) -> Arc<Bundle> {
        self.authority.bundle()
    }

    fn jwks(&self) -> Value {
        self.tokens.jwks()
    }

    fn authenticate(&self, bearer: &str) -> Result<AuthenticatedClient, OAuthError> {
        self.tokens.authenticator().authenticate(bearer)
    }

    fn stopped(&self, agent: &SpiffeId) -> Option<DenialCode> {
        self.kill_switch.state().stops_agent(agent)
    }

    fn playbooks(&self, agent: &SpiffeId) -> Vec<PlaybookSummary> {
        self.intents.playbooks_for(agent)
    }

    fn request_intent(
        &self,
        agent: AuthenticatedClient,
        request: IntentRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move { Ok(self.intents.request(&agent, &request, idempotency).await?) })
    }

    fn refuse_intent(
        &self,
        agent: AuthenticatedClient,
        denial: Denial,
    ) -> BoxFuture<'_, IntentError> {
        Box::pin(async move { self.intents.refuse(agent.id(), None, denial).await.into() })
    }

    fn find_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move { Ok(self.intents.find(agent.id(), &id).await?) })
    }

    fn complete_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
        outcome: Outcome,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move { Ok(self.intents.complete(agent.id(), &id, outcome).await?) })
    }

    fn cancel_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move { Ok(self.intents.cancel(agent.id(), &id).await?) })
    }
}

impl From<DeskError> for IntentError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Denied { denial, intent } => Self::Denied { denial, intent },
            DeskError::NotFound => Self::NotFound,
            DeskError::Unavailable(error) => Self::Unavailable(Box::new(error)),
        }
    }
}
