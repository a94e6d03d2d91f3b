//! The issuer as the HTTP edge reaches it: the token service, and the intent desk for authenticated agents.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_audit::TreeError;
use marque_audit::find::token_leaf;
use marque_audit::folder::TilePath;
use marque_exchange::{
    AuthenticatedClient, BackchannelRequest, BackchannelResponse, Introspection,
    IntrospectionRequest, IssuerUrl, Listed, OAuthError, OAuthErrorCode, Offers, Presented,
    RevocationRequest, SignedStatusList, TokenId, TokenRequest, TokenResponse,
};
use marque_intent::{
    Denial, DenialCode, IdempotencyKey, Intent, IntentId, IntentRequest, Justification, Kill,
    Outcome, PlaybookSummary, Reason,
};
use marque_jose::CompactToken;
use marque_registry::AuditSettings;
use marque_spiffe::{Bundle, SpiffeId};
use serde_json::Value;
use tracing::{Instrument as _, info_span};

use super::{DeskError, Issuer};
use crate::http::{IntentError, IssuerDoor, ReceiptError};
use crate::telemetry::timer::Timer;

impl IssuerDoor for Issuer {
    fn issuer(&self) -> &IssuerUrl {
        &self.issuer_url
    }

    fn is_ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { self.readiness().await.is_empty() })
    }

    fn token(
        &self,
        request: TokenRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<TokenResponse, OAuthError>> {
        let timer = Timer::of("exchange");
        let exchanged = self.tokens.token(request, presented).instrument(info_span!("exchange"));
        Box::pin(async move {
            let exchanged = exchanged.await;
            drop(timer);
            exchanged
        })
    }

    fn backchannel(
        &self,
        request: BackchannelRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<BackchannelResponse, OAuthError>> {
        Box::pin(self.tokens.backchannel(request, presented))
    }

    fn introspect(
        &self,
        request: IntrospectionRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<Introspection, OAuthError>> {
        Box::pin(self.tokens.introspect(request, presented))
    }

    fn dpop_nonce(&self) -> Option<String> {
        self.tokens.dpop_nonce()
    }

    fn attestation_challenge(&self) -> Option<String> {
        self.tokens.attestation_challenge()
    }

    fn revoke(
        &self,
        request: RevocationRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<(), OAuthError>> {
        Box::pin(self.tokens.revoke(request, presented))
    }

    fn status_list(
        &self,
        list: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<SignedStatusList>>, OAuthError>> {
        Box::pin(async move {
            let epoch = match self.tokens.look_up_status_list(list).await? {
                Listed::Fresh(list) => return Ok(Some(list)),
                Listed::Absent => return Ok(None),
                Listed::Due { epoch } => epoch,
            };
            let make = || {
                let tokens = Arc::clone(&self.tokens);
                async move { tokens.status_list(list).await.map_err(Arc::new) }
            };
            let not_made = |code| OAuthError::new(code, "the status list was not made");
            match self.status_lists.get(list, epoch, make).await {
                Some(Ok(list)) => Ok(list),
                Some(Err(error)) => Err(not_made(error.code()).with_source(error)),
                None => Err(not_made(OAuthErrorCode::ServerError)),
            }
        })
    }

    fn status_lists(&self) -> BoxFuture<'_, Result<Option<Value>, OAuthError>> {
        Box::pin(self.tokens.status_lists())
    }

    fn metadata(&self) -> Value {
        self.tokens.metadata()
    }

    fn openid_configuration(&self) -> Value {
        self.tokens.openid_configuration()
    }

    fn resource_metadata(&self) -> Value {
        self.tokens.resource_metadata()
    }

    fn offers(&self) -> &Offers {
        self.tokens.offers()
    }

    fn log_readers(&self) -> &AuditSettings {
        self.document.audit()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, TreeError>> {
        Box::pin(async move {
            let cosigned = self.witnesses.checkpoint().await?;
            let found = match cosigned {
                Some(cosigned) => Some(cosigned),
                None => self.log_tree.checkpoint().await?,
            };
            Ok(found.map(|signed| signed.text().to_owned()))
        })
    }

    fn tile(&self, tile: TilePath) -> BoxFuture<'_, Result<Vec<u8>, TreeError>> {
        Box::pin(async move { self.log_tree.tile(&tile).await })
    }

    fn receipt(&self, bearer: String, id: TokenId) -> BoxFuture<'_, Result<String, ReceiptError>> {
        Box::pin(async move {
            let token = self.tokens.token_for_receipt(&bearer, &id).await;
            let token = token.map_err(ReceiptError::Refused)?;
            let log = self.log_tree.log();
            let found = token_leaf(log, token.id.as_str(), token.issued_at).await;
            let leaf = found.map_err(|error| ReceiptError::Tree(error.into()))?;
            let leaf = leaf.ok_or(ReceiptError::NotInLog)?;
            // With cosignatures where there are some of a checkpoint that covers it.
            let cosigned = self.witnesses.checkpoint().await.map_err(ReceiptError::Tree)?;
            let proven = match cosigned.filter(|signed| signed.checkpoint().size > leaf.seq()) {
                Some(signed) => self.log_tree.prove_under(leaf.seq(), &signed).await,
                None => self.log_tree.prove(leaf.seq()).await,
            };
            match proven {
                Ok(proof) => Ok(proof.to_text()),
                // The leaf is there: what is not there is a checkpoint that covers it.
                Err(TreeError::NotThere) => Err(ReceiptError::Pending),
                Err(error) => Err(ReceiptError::Tree(error)),
            }
        })
    }

    fn bundle(&self) -> Arc<Bundle> {
        self.authority.bundle()
    }

    fn own_bundle(&self) -> Arc<Bundle> {
        self.authority.own_bundle()
    }

    fn svid_issuer(&self) -> Option<&IssuerUrl> {
        self.svid_issuer.as_ref()
    }

    fn jwks(&self) -> Value {
        self.tokens.jwks()
    }

    fn authenticate(&self, bearer: &str) -> Result<AuthenticatedClient, OAuthError> {
        self.tokens.authenticator().authenticate(bearer)
    }

    fn stopped(&self, agent: &SpiffeId) -> Option<DenialCode> {
        self.kill_switch.stops(agent)
    }

    fn kill_state(&self) -> Result<Arc<CompactToken>, OAuthError> {
        self.tokens.kill_state()
    }

    fn stop_self(
        &self,
        agent: AuthenticatedClient,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Kill, IntentError>> {
        Box::pin(async move {
            let stopped = self.kill_switch.stop_self(agent.id(), reason).await;
            stopped.map_err(|error| IntentError::Unavailable(Box::new(error)))
        })
    }

    fn playbooks(&self, agent: &SpiffeId) -> Vec<PlaybookSummary> {
        self.intents.playbooks_for(agent)
    }

    fn warning(&self, intent: &Intent) -> Option<String> {
        self.intents.warning(intent)
    }

    fn request_intent(
        &self,
        agent: AuthenticatedClient,
        request: IntentRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move {
            let asked = self.intents.request(&agent, &request, idempotency);
            Ok(asked.instrument(info_span!("intent")).await?)
        })
    }

    fn refuse_intent(
        &self,
        agent: AuthenticatedClient,
        denial: Denial,
    ) -> BoxFuture<'_, IntentError> {
        Box::pin(async move { self.intents.refuse(agent.id(), None, denial).await.into() })
    }

    fn approvers(&self) -> Option<Arc<crate::approvers::Approvers>> {
        self.approvers.clone()
    }

    fn signals(&self) -> Option<Arc<crate::ssf::Signals>> {
        Some(Arc::clone(&self.signals))
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
        report: Option<Justification>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move {
            let completed = self.intents.complete(agent.id(), &id, outcome, report, idempotency);
            Ok(completed.await?)
        })
    }

    fn hear_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move { Ok(self.intents.hear(agent.id(), &id).await?) })
    }

    fn cancel_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        Box::pin(async move { Ok(self.intents.cancel(agent.id(), &id, idempotency).await?) })
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
