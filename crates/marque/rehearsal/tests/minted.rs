//! The token that an approved grant becomes: the real token service over the real store, with a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use marque_exchange::{
    AskError, AuthenticatedClient, EnvironmentLookup, IntentDesk, NoOidcKeys, NonceSecret,
    PlaybookApproval, Presented, TokenRequest, TokenService, TokenServiceConfig, TokenServiceParts,
    UseGate,
};
use marque_intent::{
    Approval, ApprovalPlan, Approver, Delegator, Denial, Grant, GroupName, IdempotencyKey, Intent,
    IntentChange, IntentId, IntentRequest, IntentStore as _, PlaybookId, Ruling,
};
use marque_jose::{FixedKeys, Jwk, JwkSet, Signer as _};
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use marque_store::SqliteStore;
use marque_testkit::{FixedClock, ScratchBundles, ScratchSigner, ScratchTrustDomain, SeededRandom};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example.org";

/// Nobody asks it for anything, and nothing stands in the way of a use.
#[derive(Debug)]
struct Quiet;

impl IntentDesk for Quiet {
    fn ask<'a>(
        &'a self,
        _agent: &'a AuthenticatedClient,
        _request: Result<IntentRequest, Denial>,
        _idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'a, Result<Intent, AskError>> {
        ready(Err(AskError::Unavailable("nobody asks here".into()))).boxed()
    }

    fn withdraw<'a>(
        &'a self,
        _agent: &'a AuthenticatedClient,
        _intent: &'a IntentId,
    ) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn may_use<'a>(
        &'a self,
        _agent: &'a AuthenticatedClient,
        _intent: &'a Intent,
        _delegator: Option<&'a Delegator>,
    ) -> BoxFuture<'a, Result<(), Denial>> {
        ready(Ok(())).boxed()
    }

    fn may_hand_on(&self, _: &SpiffeId, _: &SpiffeId) -> Result<(), Denial> {
        Ok(())
    }

    fn approval(&self, _agent: &SpiffeId, _playbook: &PlaybookId) -> PlaybookApproval {
        PlaybookApproval::NotForThisAgent
    }

    fn may_approve(&self, _plan: &ApprovalPlan, _name: &str) -> bool {
        false
    }
}

impl UseGate for Quiet {
    fn admit<'a>(&'a self, _grant: &'a Grant) -> BoxFuture<'a, Result<Option<Timestamp>, Denial>> {
        ready(Ok(None)).boxed()
    }
}

impl EnvironmentLookup for Quiet {
    fn environment(&self, _trust_domain: &TrustDomain) -> Option<Environment> {
        None
    }
}

/// The claims of the token that a grant becomes after this ruling on it, and after the approvals that it asks for.
pub(super) async fn claims(
    grant: Grant,
    ruling: Ruling,
    environment: Environment,
    now: Timestamp,
) -> Value {
    let clock = Arc::new(FixedClock::new(now));
    let own = ScratchTrustDomain::at(grant.trust_domain.as_str(), now);
    let folder = marque_testkit::temp_dir();
    let file = folder.path().join("marque.sqlite");
    let store = SqliteStore::open(&file, own.trust_domain(), Arc::clone(&clock) as _).await;
    let store = Arc::new(store.unwrap());
    let agent = grant.agent.clone();
    let intent = grant.intent_id.clone();
    let (opened, events) = Intent::open(grant, None, ruling, now);
    let mut opened = store.submit(opened, events, None).await.unwrap().into_intent();
    for uid in 1000..1004 {
        if opened.approved_at().is_some() {
            break;
        }
        let plan = opened.grant().approval.clone().expect("somebody approves it");
        let groups: Vec<GroupName> = plan.rules().flat_map(|rule| rule.groups.clone()).collect();
        let approver = Approver::Operator { uid, user: format!("user{uid}") };
        let approval = Approval::new(approver, *opened.grant().digest(), now).in_groups(groups);
        let change = IntentChange::Approve { approval };
        opened = store.change(intent.clone(), change, now).await.unwrap();
    }
    let signer = Arc::new(ScratchSigner::generate("access-token-a-1"));
    let key = Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone());
    let service = TokenService::new(
        TokenServiceConfig::new(ISSUER.parse().unwrap(), own.trust_domain().clone(), environment),
        TokenServiceParts {
            bundles: Arc::new(ScratchBundles::of(&[&own])),
            environments: Arc::new(Quiet),
            oidc_keys: Arc::new(NoOidcKeys),
            keys: Arc::new(FixedKeys::new(signer, JwkSet { keys: vec![key] })),
            store: Arc::clone(&store) as _,
            deferrals: Arc::clone(&store) as _,
            desk: Arc::new(Quiet),
            gate: Arc::new(Quiet),
            life: Arc::clone(&store) as _,
            replays: store as _,
            nonce_secret: NonceSecret::new([7; 32]),
            random: Arc::new(SeededRandom::new(7)),
            clock,
        },
    );
    let svid = own.jwt_svid(&agent, &[ISSUER], now + Duration::from_secs(3600));
    let details = json!([{ "type": "marque_intent", "intent_id": intent.as_str() }]).to_string();
    let fields = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"),
            ("client_assertion", svid.expose_token()),
            ("subject_token", svid.expose_token()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("authorization_details", &details),
        ])
        .finish();
    let request = TokenRequest::parse(fields.as_bytes(), &Presented::default()).unwrap();
    let answer = service.token(request, Presented::default()).await.unwrap();
    let token = answer.access_token().expose_token().to_owned();
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload);
    serde_json::from_slice(&payload.unwrap()).unwrap()
}
