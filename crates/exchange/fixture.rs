//! What the unit tests of this crate share: a token service over scratch trust domains and a store in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::{
    AuthorizationDetail, Delivery, Denial, Digest, Grant, GrantTerms, Intent, IntentChange,
    IntentId, KillScope, KillState, NewKill, Outcome, PinnedPlaybook, Reason, Ruling, Use,
};
use marque_jose::{Jwk, JwkSet, Signer as _};
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use marque_testkit::{
    FixedClock, START, ScratchBundles, ScratchSigner, ScratchTrustDomain, SeededRandom,
};
use serde_json::Value;

use crate::{
    ASSERTION_TYPE_JWT_SPIFFE, EnvironmentLookup, GRANT_TYPE_TOKEN_EXCHANGE, IntrospectionRequest,
    OAuthError, Presented, RedeemError, Redeemed, Redemption, ResourceServer, TOKEN_TYPE_JWT,
    TokenId, TokenRecord, TokenRequest, TokenResponse, TokenService, TokenServiceConfig,
    TokenServiceParts, TokenStore, TokenStoreError,
    request::{ExchangeRequest, GrantRequest},
};

pub(crate) const ISSUER: &str = "https://issuer.prod.example.org:8443";
pub(crate) const AUDIENCE: &str = "https://gw.prod.example.org/k8s";
pub(crate) const SECOND_AUDIENCE: &str = "https://gw.prod.example.org/dns";

/// Intents and tokens in memory, with the transaction that a real store has.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) intents: BTreeMap<IntentId, Intent>,
    pub(crate) tokens: BTreeMap<TokenId, TokenRecord>,
    pub(crate) events: Vec<Event>,
    pub(crate) kills: KillState,
    pub(crate) down: bool,
    pub(crate) log_down: bool,
    /// Thrown after the service has looked and before it redeems.
    pub(crate) late_kill: Option<KillScope>,
    /// Thrown while the redeemed use is being written.
    pub(crate) later_kill: Option<KillScope>,
}

impl MemoryStore {
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    fn up(&self) -> Result<MutexGuard<'_, Kept>, TokenStoreError> {
        let kept = self.kept();
        if kept.down { Err(TokenStoreError::new("down")) } else { Ok(kept) }
    }

    fn redeem_now(&self, redemption: Redemption) -> Result<Redeemed, RedeemError> {
        let mut kept = self.up().map_err(RedeemError::Store)?;
        if let Some(scope) = kept.late_kill.take() {
            kept.kills = kept.kills.after(order(scope), START);
        }
        let Redemption { intent: id, agent, grant_digest, token, now } = redemption;
        let intent = kept.intents[&id].clone();
        if let Some(code) = kept.kills.stops_grant(intent.grant()) {
            return Err(RedeemError::Refused(Denial::new(code, "killed")));
        }
        let wanted = Use {
            agent: &agent,
            grant_digest: &grant_digest,
            token_id: token.id.as_str(),
            token_expires_at: token.expires_at,
            epoch: kept.kills.epoch,
        };
        let (intent, event) = intent.redeem(&wanted, now).map_err(RedeemError::Refused)?;
        kept.intents.insert(id, intent.clone());
        kept.tokens.insert(token.id.clone(), token);
        kept.events.push(event);
        if let Some(scope) = kept.later_kill.take() {
            kept.kills = kept.kills.after(order(scope), START);
        }
        Ok(Redeemed { intent })
    }
}

impl TokenStore for MemoryStore {
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>> {
        ready(self.up().map(|kept| kept.intents.get(id).cloned())).boxed()
    }

    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>> {
        ready(self.redeem_now(redemption)).boxed()
    }

    fn record_refusal(&self, event: Event) -> BoxFuture<'_, Result<(), TokenStoreError>> {
        let mut kept = self.kept();
        if kept.down || kept.log_down {
            return ready(Err(TokenStoreError::new("down"))).boxed();
        }
        kept.events.push(event);
        ready(Ok(())).boxed()
    }

    fn token(
        &self,
        id: &TokenId,
    ) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, TokenStoreError>> {
        let found = self.up().map(|kept| {
            let record = kept.tokens.get(id)?.clone();
            let intent = kept.intents.get(&record.intent)?.clone();
            Some((record, intent))
        });
        ready(found).boxed()
    }

    fn kill_state(&self) -> Arc<KillState> {
        Arc::new(self.kept().kills.clone())
    }
}

pub(crate) fn order(scope: KillScope) -> NewKill {
    NewKill {
        scope,
        reason: Reason::new("drill").unwrap(),
        actor: "operator:alice(1000)".to_owned(),
    }
}

#[derive(Debug)]
struct Environments(BTreeMap<TrustDomain, Environment>);

impl EnvironmentLookup for Environments {
    fn environment(&self, trust_domain: &TrustDomain) -> Option<Environment> {
        self.0.get(trust_domain).copied()
    }
}

/// A token service for `prod.example.org` with one approved intent of one use.
pub(crate) struct Rig {
    pub(crate) clock: FixedClock,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) own: ScratchTrustDomain,
    /// Of the same environment, with a bundle.
    pub(crate) federated: ScratchTrustDomain,
    /// Of the other environment, federated by hand: its bundle is here as well.
    pub(crate) other_environment: ScratchTrustDomain,
    /// Its bundle is here, its environment is not known.
    pub(crate) undeclared: ScratchTrustDomain,
    pub(crate) signer: Arc<ScratchSigner>,
    pub(crate) service: TokenService,
    pub(crate) agent: SpiffeId,
    pub(crate) intent: IntentId,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(
        configure: impl FnOnce(&mut TokenServiceConfig),
        shape: impl FnOnce(&mut GrantTerms),
    ) -> Self {
        let own = ScratchTrustDomain::new("prod.example.org");
        let federated = ScratchTrustDomain::new("partner.example.org");
        let other_environment = ScratchTrustDomain::new("dev.example.org");
        let undeclared = ScratchTrustDomain::new("stray.example.org");
        let bundles = ScratchBundles::of(&[&own, &federated, &other_environment, &undeclared]);
        let environments = Environments(BTreeMap::from([
            (federated.trust_domain().clone(), Environment::Production),
            (other_environment.trust_domain().clone(), Environment::NonProduction),
        ]));
        let clock = FixedClock::default();
        let store = Arc::new(MemoryStore::default());
        let signer = Arc::new(ScratchSigner::generate("access-token-a-1"));
        let keys = JwkSet {
            keys: vec![Jwk::for_signatures(signer.public_key().clone(), signer.key_id().clone())],
        };
        let mut config = TokenServiceConfig::new(
            ISSUER.parse().unwrap(),
            own.trust_domain().clone(),
            Environment::Production,
        );
        config.resource_servers = vec![ResourceServer {
            audience: AUDIENCE.to_owned(),
            callers: BTreeSet::from([own.id("/service/k8s-gateway")]),
        }];
        configure(&mut config);
        let service = TokenService::new(
            config,
            TokenServiceParts {
                bundles: Arc::new(bundles),
                environments: Arc::new(environments),
                signer: Arc::clone(&signer) as _,
                keys,
                store: Arc::clone(&store) as _,
                random: Arc::new(SeededRandom::new(7)),
                clock: Arc::new(clock.clone()),
            },
        );
        let agent = own.id("/agent/rotator");
        let mut terms = terms(&agent, 0);
        shape(&mut terms);
        let grant = Grant::seal(terms).unwrap();
        let intent = grant.intent_id.clone();
        store.kept().intents.insert(intent.clone(), open(grant, approved()));
        Self {
            clock,
            store,
            own,
            federated,
            other_environment,
            undeclared,
            signer,
            service,
            agent,
            intent,
        }
    }

    pub(crate) fn svid(&self) -> String {
        self.svid_of(&self.own, &self.agent)
    }

    pub(crate) fn svid_of(&self, domain: &ScratchTrustDomain, id: &SpiffeId) -> String {
        domain.jwt_svid(id, &[ISSUER], START + Duration::from_secs(300)).expose_token().to_owned()
    }

    /// The fields of a request that succeeds.
    pub(crate) fn fields(&self) -> Fields {
        Fields::default()
            .set("grant_type", GRANT_TYPE_TOKEN_EXCHANGE)
            .authenticated(&self.svid())
            .set("subject_token", &self.svid())
            .set("subject_token_type", TOKEN_TYPE_JWT)
            .intent(&self.intent)
    }

    pub(crate) async fn exchange(&self, fields: &Fields) -> Result<TokenResponse, OAuthError> {
        let request = TokenRequest::parse(fields.encode().as_bytes(), &Presented::default())?;
        self.service.token(request, Presented::default()).await
    }

    pub(crate) async fn introspect(&self, caller: &str, token: &str) -> Result<Value, OAuthError> {
        let fields = Fields::default().authenticated(caller).set("token", token);
        let request =
            IntrospectionRequest::parse(fields.encode().as_bytes(), &Presented::default())?;
        self.service.introspect(request, Presented::default()).await
    }

    pub(crate) fn kill(&self, scope: KillScope) {
        let mut kept = self.store.kept();
        kept.kills = kept.kills.after(order(scope), self.now());
    }

    pub(crate) fn change(&self, change: &IntentChange) {
        let mut kept = self.store.kept();
        let (changed, _) = kept.intents[&self.intent].apply(change, self.now()).unwrap();
        kept.intents.insert(self.intent.clone(), changed);
    }

    pub(crate) fn complete(&self) {
        self.change(&IntentChange::Complete { by: self.agent.clone(), outcome: Outcome::Success });
    }

    pub(crate) fn revoke(&self) {
        let reason = Reason::new("drill").unwrap();
        self.change(&IntentChange::Revoke { actor: "operator:alice(1000)".to_owned(), reason });
    }

    pub(crate) fn now(&self) -> Timestamp {
        marque_spiffe::Clock::now(&self.clock)
    }

    pub(crate) fn put(&self, intent: Intent) {
        self.store.kept().intents.insert(intent.id().clone(), intent);
    }

    pub(crate) fn codes(&self) -> Vec<Option<String>> {
        self.store.kept().events.iter().map(|event| event.code.clone()).collect()
    }
}

/// Form fields in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.add(name, value)
    }

    /// The request for an exchange that they make.
    pub(crate) fn exchange(&self) -> Result<ExchangeRequest, OAuthError> {
        let request = TokenRequest::parse(self.encode().as_bytes(), &Presented::default())?;
        let GrantRequest::Exchange(exchange) = request.grant;
        Ok(*exchange)
    }

    pub(crate) fn add(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn authenticated(self, svid: &str) -> Self {
        self.set("client_assertion_type", ASSERTION_TYPE_JWT_SPIFFE).set("client_assertion", svid)
    }

    pub(crate) fn intent(self, id: &IntentId) -> Self {
        let details = format!("[{{\"type\":\"marque_intent\",\"intent_id\":\"{id}\"}}]");
        self.set("authorization_details", &details)
    }

    pub(crate) fn encode(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

pub(crate) fn approved() -> Ruling {
    Ruling::Approve { rules: vec!["auto".to_owned()] }
}

pub(crate) fn open(grant: Grant, ruling: Ruling) -> Intent {
    Intent::open(grant, None, ruling, START).0
}

/// The terms of a grant of one use, two audiences and two scopes, five minutes a token.
pub(crate) fn terms(agent: &SpiffeId, number: u8) -> GrantTerms {
    GrantTerms {
        intent_id: format!("int_000000000000000000000000{number:02}").parse().unwrap(),
        trust_domain: agent.trust_domain().clone(),
        tenant: "example".to_owned(),
        agent: agent.clone(),
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
        audiences: vec![AUDIENCE.to_owned(), SECOND_AUDIENCE.to_owned()],
        scopes: vec!["secrets.update".parse().unwrap(), "secrets.read".parse().unwrap()],
        authorization_details: vec![AuthorizationDetail {
            kind: "k8s_object".to_owned(),
            locations: BTreeSet::new(),
            actions: BTreeSet::from(["patch".to_owned()]),
            datatypes: BTreeSet::new(),
            identifier: Some("ns/ingress/secret/web-tls".to_owned()),
            privileges: BTreeSet::new(),
        }],
        resources: vec!["k8s://eu-west-1/ns/ingress/secret/web-tls".to_owned()],
        delivery: Delivery::Token,
        uses: 1,
        token_lifetime: Duration::from_secs(240),
        request_ttl: Duration::from_secs(1800),
        start_within: Duration::from_secs(900),
        max_duration: Duration::from_secs(600),
        not_before: START,
        not_after: START + Duration::from_secs(3600),
        ticket: None,
        approval: None,
        policy_set_digest: Digest::of(b"policy"),
        risk: 0,
    }
}

/// RFC 6749 §5.2: `error_description` is `%x20-21 / %x23-5B / %x5D-7E`.
pub(crate) fn is_plain(error: &OAuthError) -> bool {
    error.description().bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}
