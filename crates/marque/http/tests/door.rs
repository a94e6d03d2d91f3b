//! An issuer that answers as it is told.

mod pending;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use marque_audit::TreeError;
use marque_audit::folder::TilePath;
use marque_exchange::{
    AnswerForm, AuthenticatedClient, BackchannelRequest, BackchannelResponse, Introspection,
    IntrospectionRequest, IssuedToken, IssuerUrl, OAuthError, OAuthErrorCode, Offers,
    PeerCertificate, Presented, ReceiptRefusal, RevocationRequest, SignedStatusList, TokenId,
    TokenRequest, TokenResponse,
};
use marque_intent::{
    Denial, DenialCode, IdempotencyKey, Intent, IntentId, IntentRequest, Justification, Kill,
    KillMode, KillScope, Outcome, PlaybookSummary, Reason,
};
use marque_jose::CompactToken;
use marque_registry::{AuditSettings, TrustDomainDocument};
use marque_spiffe::{Bundle, SpiffeId};
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::{Value, json};
use tokio::sync::Notify;

use self::pending::intent;
use crate::http::{IntentError, IssuerDoor, ReceiptError};

pub(in crate::http) const AGENT: &str = "spiffe://prod.example.org/agent/rotator";
pub(in crate::http) const INTENT: &str = "int_00000000000000000000000001";

/// Everything off that can be off.
pub(in crate::http) const NOTHING: Offers = Offers {
    dpop: false,
    mutual_tls: false,
    wit_client_authentication: false,
    deferred: false,
    ciba: false,
    jwt_introspection: false,
    token_status_list: false,
    transaction_tokens: false,
    identity_chaining: false,
    id_jag: false,
};

#[derive(Debug)]
pub(in crate::http) struct FakeDoor {
    pub(in crate::http) issuer: IssuerUrl,
    pub(in crate::http) ready: AtomicBool,
    /// What reached the door, in words.
    pub(in crate::http) calls: Mutex<Vec<String>>,
    /// What the next intent call is refused with.
    pub(in crate::http) refusal: Mutex<Option<IntentError>>,
    pub(in crate::http) pending: bool,
    /// Why the kill switch stops every agent.
    pub(in crate::http) stopped: Option<DenialCode>,
    /// Token requests wait for `released` after they have told `arrived`.
    pub(in crate::http) slow: bool,
    pub(in crate::http) arrived: Notify,
    pub(in crate::http) released: Notify,
    pub(in crate::http) panics: bool,
    pub(in crate::http) offers: Offers,
    pub(in crate::http) bundle: Mutex<Arc<Bundle>>,
    pub(in crate::http) document: Arc<TrustDomainDocument>,
}

impl Default for FakeDoor {
    fn default() -> Self {
        Self::at("https://localhost:8443")
    }
}

impl FakeDoor {
    pub(in crate::http) fn at(issuer: &str) -> Self {
        Self {
            issuer: issuer.parse().unwrap(),
            ready: AtomicBool::new(true),
            calls: Mutex::default(),
            refusal: Mutex::default(),
            pending: false,
            stopped: None,
            slow: false,
            arrived: Notify::new(),
            released: Notify::new(),
            panics: false,
            offers: Offers::ALL,
            bundle: Mutex::new(ScratchTrustDomain::new("prod.example.org").bundle()),
            document: document(""),
        }
    }

    pub(in crate::http) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn called(&self, what: impl Into<String>) {
        self.calls.lock().unwrap().push(what.into());
    }

    fn intent(&self) -> Result<Intent, IntentError> {
        match self.refusal.lock().unwrap().take() {
            Some(refusal) => Err(refusal),
            None => Ok(intent(self.pending)),
        }
    }
}

/// A trust domain's document with some more in it.
pub(in crate::http) fn document(more: &str) -> Arc<TrustDomainDocument> {
    let shipped =
        concat!(env!("CARGO_MANIFEST_DIR"), "/trust-domains/prod.example.org/trust-domain.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let text = format!("{text}\n{more}");
    Arc::new(TrustDomainDocument::parse(shipped.as_ref(), &text).unwrap())
}

fn peer_in_words(peer: Option<&PeerCertificate>) -> String {
    peer.map_or_else(
        || "nobody".to_owned(),
        |peer| hex::encode(marque_jose::sha256(&peer.chain()[0])),
    )
}

impl IssuerDoor for FakeDoor {
    fn issuer(&self) -> &IssuerUrl {
        &self.issuer
    }

    fn log_readers(&self) -> &AuditSettings {
        self.document.audit()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, TreeError>> {
        Box::pin(async { Ok(Some("checkpoint".to_owned())) })
    }

    fn tile(&self, tile: TilePath) -> BoxFuture<'_, Result<Vec<u8>, TreeError>> {
        Box::pin(async move {
            self.called(tile.to_path().display().to_string());
            match tile.first() {
                Some(0) => Ok(vec![7; 32 * tile.width()]),
                Some(256) => Err(TreeError::Behind),
                Some(512) => Err(TreeError::Busy),
                _ => Err(TreeError::NotThere),
            }
        })
    }

    fn receipt(&self, bearer: String, id: TokenId) -> BoxFuture<'_, Result<String, ReceiptError>> {
        Box::pin(async move {
            self.called(format!("receipt {id}"));
            match bearer.as_str() {
                "agent" => Ok("proof".to_owned()),
                "early" => Err(ReceiptError::Pending),
                "stranger" => Err(ReceiptError::Refused(ReceiptRefusal::NotFound)),
                "stopped" => {
                    let code = DenialCode::KillSwitchAgent;
                    Err(ReceiptError::Refused(ReceiptRefusal::Stopped(code)))
                }
                _ => {
                    let error = OAuthError::new(OAuthErrorCode::InvalidClient, "nobody");
                    Err(ReceiptError::Refused(ReceiptRefusal::Unauthenticated(error)))
                }
            }
        })
    }

    fn is_ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { self.ready.load(Ordering::Relaxed) })
    }

    fn token(
        &self,
        _request: TokenRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<TokenResponse, OAuthError>> {
        assert!(!self.panics, "a panic with a secret in it");
        let key = presented.idempotency_key.one();
        let under = key.map(|key| format!(" under {key}")).unwrap_or_default();
        self.called(format!("token by {}{under}", peer_in_words(presented.peer.as_ref())));
        let without_nonce = presented.dpop.one() == Some("without a nonce");
        Box::pin(async move {
            if without_nonce {
                return Err(OAuthError::new(OAuthErrorCode::UseDpopNonce, "once more"));
            }
            if self.slow {
                self.arrived.notify_one();
                self.released.notified().await;
            }
            let token = CompactToken::from_string("a.b.c".to_owned());
            Ok(TokenResponse::new(
                IssuedToken::Bearer,
                token,
                Duration::from_secs(240),
                "secrets.update".to_owned(),
                vec![],
            ))
        })
    }

    fn backchannel(
        &self,
        _request: BackchannelRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<BackchannelResponse, OAuthError>> {
        self.called(format!("backchannel by {}", peer_in_words(presented.peer.as_ref())));
        let refusal = self.refusal.lock().unwrap().take();
        Box::pin(async move {
            match refusal {
                Some(_) => Err(OAuthError::new(OAuthErrorCode::AccessDenied, "refused")),
                None => Err(OAuthError::new(OAuthErrorCode::UnknownUserId, "nobody")),
            }
        })
    }

    fn introspect(
        &self,
        request: IntrospectionRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<Introspection, OAuthError>> {
        self.called(format!("introspect by {}", peer_in_words(presented.peer.as_ref())));
        let signed = request.form() == AnswerForm::Jwt;
        Box::pin(async move {
            Ok(if signed {
                Introspection::Jwt(CompactToken::from_string("d.e.f".to_owned()))
            } else {
                Introspection::Json(json!({"active": false}))
            })
        })
    }

    fn revoke(
        &self,
        _request: RevocationRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<(), OAuthError>> {
        self.called(format!("revoke by {}", peer_in_words(presented.peer.as_ref())));
        Box::pin(async { Ok(()) })
    }

    fn status_list(
        &self,
        list: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<SignedStatusList>>, OAuthError>> {
        self.called(format!("status list {list}"));
        let token = (list < 2).then(|| CompactToken::from_string(format!("list.{list}.x")));
        Box::pin(async { Ok(token.map(|token| Arc::new(SignedStatusList::new(token)))) })
    }

    fn status_lists(&self) -> BoxFuture<'_, Result<Option<Value>, OAuthError>> {
        let lists = self.offers.token_status_list.then(|| json!({"status_lists": ["https://x/0"]}));
        Box::pin(async { Ok(lists) })
    }

    fn dpop_nonce(&self) -> Option<String> {
        self.offers.dpop.then(|| "nonce-1".to_owned())
    }

    fn attestation_challenge(&self) -> Option<String> {
        self.offers.wit_client_authentication.then(|| "challenge-1".to_owned())
    }

    fn metadata(&self) -> Value {
        json!({"issuer": self.issuer.as_str()})
    }

    fn resource_metadata(&self) -> Value {
        json!({"resource": self.issuer.join("/v1")})
    }

    fn offers(&self) -> &Offers {
        &self.offers
    }

    fn openid_configuration(&self) -> Value {
        json!({"issuer": self.issuer.as_str(), "authorization_endpoint": ""})
    }

    fn bundle(&self) -> Arc<Bundle> {
        self.bundle.lock().unwrap().clone()
    }

    fn own_bundle(&self) -> Arc<Bundle> {
        self.bundle()
    }

    fn jwks(&self) -> Value {
        json!({"keys": []})
    }

    fn authenticate(&self, bearer: &str) -> Result<AuthenticatedClient, OAuthError> {
        match bearer {
            "good" => Ok(AuthenticatedClient::dangerous_assume(AGENT.parse().unwrap(), START)),
            "other-environment" => {
                Err(OAuthError::new(OAuthErrorCode::AccessDenied, "the other environment")
                    .with_denial(DenialCode::EnvironmentBoundary))
            }
            _ => Err(OAuthError::new(OAuthErrorCode::InvalidClient, "not accepted")),
        }
    }

    fn kill_state(&self) -> Result<Arc<CompactToken>, OAuthError> {
        Ok(Arc::new(CompactToken::from_string("e30.e30.AA".to_owned())))
    }

    fn stop_self(
        &self,
        agent: AuthenticatedClient,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Kill, IntentError>> {
        self.called(format!("stop {}: {}", agent.id(), reason.as_str()));
        Box::pin(async move {
            Ok(Kill {
                scope: KillScope::Agent(agent.id().clone()),
                mode: KillMode::Stop,
                reason,
                actor: agent.id().to_string(),
                expires_at: None,
                origin: None,
                hits: Default::default(),
                at: START,
                epoch: 7,
            })
        })
    }

    fn stopped(&self, _agent: &SpiffeId) -> Option<DenialCode> {
        self.stopped
    }

    fn warning(&self, _intent: &Intent) -> Option<String> {
        None
    }

    fn playbooks(&self, agent: &SpiffeId) -> Vec<PlaybookSummary> {
        self.called(format!("playbooks for {agent}"));
        Vec::new()
    }

    fn request_intent(
        &self,
        agent: AuthenticatedClient,
        request: IntentRequest,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        let key = idempotency.map(|key| key.key().to_owned());
        self.called(format!("request {} by {} under {key:?}", request.playbook(), agent.id()));
        Box::pin(async { self.intent() })
    }

    fn refuse_intent(
        &self,
        agent: AuthenticatedClient,
        denial: Denial,
    ) -> BoxFuture<'_, IntentError> {
        self.called(format!("refuse {} by {}", denial.code(), agent.id()));
        Box::pin(async { IntentError::Denied { denial, intent: None } })
    }

    fn approvers(&self) -> Option<Arc<crate::approvers::Approvers>> {
        None
    }

    fn signals(&self) -> Option<Arc<crate::ssf::Signals>> {
        None
    }

    fn find_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        self.called(format!("find {id} by {}", agent.id()));
        Box::pin(async { self.intent() })
    }

    fn complete_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
        outcome: Outcome,
        report: Option<Justification>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        let said = report.map(|report| format!(": {report}")).unwrap_or_default();
        let said =
            idempotency.map_or_else(|| said.clone(), |key| format!("{said} once as {}", key.key()));
        self.called(format!("complete {id} by {} with {}{said}", agent.id(), outcome.as_str()));
        Box::pin(async { self.intent() })
    }

    fn hear_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        self.called(format!("hear {id} by {}", agent.id()));
        Box::pin(async { self.intent() })
    }

    fn cancel_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        let once = idempotency.map_or_else(String::new, |key| format!(" once as {}", key.key()));
        self.called(format!("cancel {id} by {}{once}", agent.id()));
        Box::pin(async { self.intent() })
    }
}
