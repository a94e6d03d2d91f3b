//! An issuer that answers as it is told.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use marque_exchange::{
    AuthenticatedClient, IntrospectionRequest, IssuedToken, IssuerUrl, OAuthError, OAuthErrorCode,
    PeerCertificate, Presented, TokenRequest, TokenResponse,
};
use marque_intent::{
    ApprovalRule, AuthorizationDetail, Delivery, Denial, DenialCode, Digest, Grant, GrantTerms,
    IdempotencyKey, Intent, IntentId, IntentRequest, Outcome, PinnedPlaybook, PlaybookSummary,
    Ruling,
};
use marque_jose::CompactToken;
use marque_spiffe::{Bundle, SpiffeId};
use marque_testkit::{START, ScratchTrustDomain};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::http::{IntentError, IssuerDoor};

pub(super) const AGENT: &str = "spiffe://prod.example.org/agent/rotator";
pub(super) const INTENT: &str = "int_00000000000000000000000001";

#[derive(Debug)]
pub(super) struct FakeDoor {
    pub(super) issuer: IssuerUrl,
    pub(super) ready: AtomicBool,
    /// What reached the door, in words.
    pub(super) calls: Mutex<Vec<String>>,
    /// What the next intent call is refused with.
    pub(super) refusal: Mutex<Option<IntentError>>,
    pub(super) pending: bool,
    /// Why the kill switch stops every agent.
    pub(super) stopped: Option<DenialCode>,
    /// Token requests wait for `released` after they have told `arrived`.
    pub(super) slow: bool,
    pub(super) arrived: Notify,
    pub(super) released: Notify,
    pub(super) panics: bool,
    pub(super) bundle: Mutex<Arc<Bundle>>,
}

impl Default for FakeDoor {
    fn default() -> Self {
        Self::at("https://localhost:8443")
    }
}

impl FakeDoor {
    pub(super) fn at(issuer: &str) -> Self {
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
            bundle: Mutex::new(ScratchTrustDomain::new("prod.example.org").bundle()),
        }
    }

    pub(super) fn calls(&self) -> Vec<String> {
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

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn token(
        &self,
        _request: TokenRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<TokenResponse, OAuthError>> {
        assert!(!self.panics, "a panic with a secret in it");
        self.called(format!("token by {}", peer_in_words(presented.peer.as_ref())));
        Box::pin(async move {
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

    fn introspect(
        &self,
        _request: IntrospectionRequest,
        presented: Presented,
    ) -> BoxFuture<'_, Result<Value, OAuthError>> {
        self.called(format!("introspect by {}", peer_in_words(presented.peer.as_ref())));
        Box::pin(async { Ok(json!({"active": false})) })
    }

    fn metadata(&self) -> Value {
        json!({"issuer": self.issuer.as_str()})
    }

    fn openid_configuration(&self) -> Value {
        json!({"issuer": self.issuer.as_str(), "authorization_endpoint": ""})
    }

    fn bundle(&self) -> Arc<Bundle> {
        self.bundle.lock().unwrap().clone()
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

    fn stopped(&self, _agent: &SpiffeId) -> Option<DenialCode> {
        self.stopped
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
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        self.called(format!("complete {id} by {} with {}", agent.id(), outcome.as_str()));
        Box::pin(async { self.intent() })
    }

    fn cancel_intent(
        &self,
        agent: AuthenticatedClient,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Intent, IntentError>> {
        self.called(format!("cancel {id} by {}", agent.id()));
        Box::pin(async { self.intent() })
    }
}

fn intent(pending: bool) -> Intent {
    let agent: SpiffeId = AGENT.parse().unwrap();
    let approve = std::num::NonZeroU32::MIN;
    let terms = GrantTerms {
        intent_id: INTENT.parse().unwrap(),
        trust_domain: agent.trust_domain().clone(),
        tenant: "example".to_owned(),
        agent,
        attestation: None,
        playbook: PinnedPlaybook {
            id: "ingress-cert-rotation".parse().unwrap(),
            version: 7,
            digest: Digest::of(b"playbook"),
            title: "Rotate a certificate".to_owned(),
            owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            purpose: None,
        },
        parameters: serde_json::Map::new(),
        audiences: vec!["https://gw.prod.example.org/k8s".to_owned()],
        scopes: vec!["secrets.update".parse().unwrap()],
        authorization_details: vec![AuthorizationDetail {
            kind: "k8s_object".to_owned(),
            locations: BTreeSet::new(),
            actions: BTreeSet::new(),
            datatypes: BTreeSet::new(),
            identifier: None,
            privileges: BTreeSet::new(),
        }],
        resources: Vec::new(),
        delivery: Delivery::Token,
        uses: 1,
        token_lifetime: Duration::from_secs(240),
        request_ttl: Duration::from_secs(1800),
        start_within: Duration::from_secs(900),
        max_duration: Duration::from_secs(600),
        not_before: START,
        not_after: START + Duration::from_secs(3600),
        ticket: None,
        approval: pending.then(|| ApprovalRule { approve, groups: BTreeSet::new() }),
        policy_set_digest: Digest::of(b"policy"),
        risk: 42,
    };
    let rules = vec!["rule".to_owned()];
    let ruling = if pending { Ruling::AskApproval { rules } } else { Ruling::Approve { rules } };
    Intent::open(Grant::seal(terms).unwrap(), None, ruling, START).0
}
