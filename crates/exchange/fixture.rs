//! What the unit tests of this crate share: a token service over scratch trust domains and a store in memory.

pub(crate) mod deferrals;
pub(crate) mod desk;
mod life;
pub(crate) mod login;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::{
    AuthorizationDetail, Delivery, Denial, Derive, Digest, Grant, GrantTerms, Intent, IntentChange,
    IntentId, KillScope, KillState, NewKill, Outcome, PinnedPlaybook, Reason, Ruling, Use,
};
use marque_jose::{Jwk, JwkSet, Signer as _};
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use marque_testkit::{
    FixedClock, START, ScratchBundles, ScratchSigner, ScratchTrustDomain, SeededRandom,
};
use serde_json::Value;

use self::desk::FakeDesk;
use crate::{
    ASSERTION_TYPE_JWT_SPIFFE, AnswerForm, Deferral, DeferralState, Derivation, Derived,
    EnvironmentLookup, Freshness, GRANT_TYPE_TOKEN_EXCHANGE, Introspection, IntrospectionRequest,
    NonceSecret, OAuthError, OidcKeys, Presented, RedeemError, Redeemed, Redemption, ReplayKey,
    ReplayStore, ResourceServer, RevocationRequest, SingleUse, SuspectQuery, TOKEN_TYPE_JWT,
    TokenId, TokenRecord, TokenRequest, TokenResponse, TokenService, TokenServiceConfig,
    TokenServiceParts, TokenStore, TokenStoreError, is_live,
    request::{ExchangeRequest, GrantRequest},
};

pub(crate) use login::{LOGIN, Login};

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
    pub(crate) deferrals: BTreeMap<Digest, Deferral>,
    pub(crate) events: Vec<Event>,
    pub(crate) kills: KillState,
    pub(crate) replays: BTreeSet<ReplayKey>,
    pub(crate) down: bool,
    pub(crate) log_down: bool,
    pub(crate) next_place: u64,
    /// What was asked about status lists.
    pub(crate) suspect_queries: Vec<SuspectQuery>,
    /// The newest epoch that is recorded, where it is not the one in force.
    pub(crate) recorded_epoch: Option<u64>,
    /// Thrown after the service has looked and before it redeems.
    pub(crate) late_kill: Option<KillScope>,
    /// Put in the place of the intent of its name after the service has looked and before it redeems.
    pub(crate) late_change: Option<Intent>,
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
        if let Some(intent) = kept.late_change.take() {
            kept.intents.insert(intent.id().clone(), intent);
        }
        if let Some(scope) = kept.late_kill.take() {
            kept.kills = kept.kills.after(order(scope), START);
        }
        let Redemption { intent: id, agent, grant_digest, deferral, token, proofs, now } =
            redemption;
        if kept.show(&proofs) == Freshness::Replayed {
            return Err(RedeemError::Replayed);
        }
        let intent = kept.intents[&id].clone();
        if let Some(code) = kept.kills.stops_grant(intent.grant()) {
            return Err(RedeemError::Refused(Denial::new(code, "killed")));
        }
        if let Some(code) = deferral
            && !kept.deferrals.get(&code).is_some_and(|deferral| deferral.is_open(now))
        {
            return Err(RedeemError::Spent);
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
        let token = kept.place(token);
        kept.tokens.insert(token.id.clone(), token.clone());
        kept.events.push(event);
        if let Some(deferral) = deferral.and_then(|code| kept.deferrals.get_mut(&code)) {
            deferral.state = DeferralState::Redeemed;
        }
        if let Some(scope) = kept.later_kill.take() {
            kept.kills = kept.kills.after(order(scope), START);
        }
        Ok(Redeemed { intent, token })
    }

    fn derive_now(&self, derivation: Derivation) -> Result<Derived, RedeemError> {
        let mut kept = self.up().map_err(RedeemError::Store)?;
        if let Some(scope) = kept.late_kill.take() {
            kept.kills = kept.kills.after(order(scope), START);
        }
        let Derivation { grant_digest, token, proofs, now } = derivation;
        if kept.show(&proofs) == Freshness::Replayed {
            return Err(RedeemError::Replayed);
        }
        let intent = kept.intents[&token.intent].clone();
        let parent = kept.tokens[token.parent.as_ref().unwrap()].clone();
        is_live(&parent, &intent, &kept.kills, now).map_err(RedeemError::Refused)?;
        let wanted = Derive {
            holder: &token.client,
            through: &token.through,
            grant_digest: &grant_digest,
            token_id: token.id.as_str(),
            parent: parent.id.as_str(),
            audiences: &token.audiences,
            token_expires_at: token.expires_at,
            epoch: kept.kills.epoch,
        };
        let event = intent.derive(&wanted, now).map_err(RedeemError::Refused)?;
        let token = kept.place(token);
        kept.tokens.insert(token.id.clone(), token.clone());
        kept.events.push(event);
        if let Some(scope) = kept.later_kill.take() {
            kept.kills = kept.kills.after(order(scope), START);
        }
        Ok(Derived { intent, token })
    }
}

impl Kept {
    fn show(&mut self, proofs: &[SingleUse]) -> Freshness {
        if proofs.iter().any(|proof| self.replays.contains(&proof.key)) {
            return Freshness::Replayed;
        }
        self.replays.extend(proofs.iter().map(|proof| proof.key));
        Freshness::Fresh
    }
}

impl ReplayStore for MemoryStore {
    fn remember(
        &self,
        proofs: Vec<SingleUse>,
    ) -> BoxFuture<'_, Result<Freshness, TokenStoreError>> {
        ready(self.up().map(|mut kept| kept.show(&proofs))).boxed()
    }
}

impl TokenStore for MemoryStore {
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>> {
        ready(self.up().map(|kept| kept.intents.get(id).cloned())).boxed()
    }

    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>> {
        ready(self.redeem_now(redemption)).boxed()
    }

    fn derive(&self, derivation: Derivation) -> BoxFuture<'_, Result<Derived, RedeemError>> {
        ready(self.derive_now(derivation)).boxed()
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
    bundles: Arc<ScratchBundles>,
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
    pub(crate) desk: Arc<FakeDesk>,
    /// Who vouches for people.
    pub(crate) login: Arc<Login>,
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
        let login = Arc::new(Login::new());
        Self::of(configure, shape, Arc::clone(&login) as _, login)
    }

    /// With these keys of the issuer of ID tokens in place of its own.
    pub(crate) fn with_keys(oidc_keys: Arc<dyn OidcKeys>) -> Self {
        Self::of(|_| {}, |_| {}, oidc_keys, Arc::new(Login::new()))
    }

    pub(crate) fn of(
        configure: impl FnOnce(&mut TokenServiceConfig),
        shape: impl FnOnce(&mut GrantTerms),
        oidc_keys: Arc<dyn OidcKeys>,
        login: Arc<Login>,
    ) -> Self {
        let own = ScratchTrustDomain::new("prod.example.org");
        let federated = ScratchTrustDomain::new("partner.example.org");
        let other_environment = ScratchTrustDomain::new("dev.example.org");
        let undeclared = ScratchTrustDomain::new("stray.example.org");
        let bundles =
            Arc::new(ScratchBundles::of(&[&own, &federated, &other_environment, &undeclared]));
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
        let callers = BTreeSet::from([own.id("/service/k8s-gateway")]);
        config.resource_servers = vec![ResourceServer::new(AUDIENCE.to_owned(), callers)];
        config.oidc_issuers = vec![Login::issuer()];
        configure(&mut config);
        let desk = Arc::new(FakeDesk {
            store: Arc::clone(&store),
            clock: clock.clone(),
            asked: Mutex::default(),
        });
        let service = TokenService::new(
            config,
            TokenServiceParts {
                bundles: Arc::clone(&bundles) as _,
                environments: Arc::new(environments),
                oidc_keys,
                signer: Arc::clone(&signer) as _,
                keys,
                store: Arc::clone(&store) as _,
                deferrals: Arc::clone(&store) as _,
                desk: Arc::clone(&desk) as _,
                life: Arc::clone(&store) as _,
                replays: Arc::clone(&store) as _,
                nonce_secret: NonceSecret::new([7; 32]),
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
            bundles,
            store,
            own,
            federated,
            other_environment,
            undeclared,
            signer,
            desk,
            login,
            service,
            agent,
            intent,
        }
    }

    /// Has the own trust domain go on with other keys.
    pub(crate) fn replace_own_bundle(&self) {
        self.bundles.replace(&ScratchTrustDomain::new("prod.example.org"));
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
        self.exchange_with(fields, Presented::default()).await
    }

    pub(crate) async fn exchange_with(
        &self,
        fields: &Fields,
        presented: Presented,
    ) -> Result<TokenResponse, OAuthError> {
        let request = TokenRequest::parse(fields.encode().as_bytes(), &presented)?;
        self.service.token(request, presented).await
    }

    pub(crate) async fn introspect(&self, caller: &str, token: &str) -> Result<Value, OAuthError> {
        let fields = Fields::default().authenticated(caller).set("token", token);
        let request =
            IntrospectionRequest::parse(fields.encode().as_bytes(), &Presented::default())?;
        match self.service.introspect(request, Presented::default()).await? {
            Introspection::Json(answer) => Ok(answer),
            Introspection::Jwt(_) => panic!("nobody asked for a JWT"),
        }
    }

    pub(crate) async fn introspect_as_jwt(
        &self,
        caller: &str,
        token: &str,
    ) -> Result<Introspection, OAuthError> {
        let fields = Fields::default().authenticated(caller).set("token", token);
        let request =
            IntrospectionRequest::parse(fields.encode().as_bytes(), &Presented::default())?
                .answered_as(AnswerForm::Jwt);
        self.service.introspect(request, Presented::default()).await
    }

    pub(crate) async fn revoke_token(&self, caller: &str, token: &str) -> Result<(), OAuthError> {
        let fields = Fields::default().authenticated(caller).set("token", token);
        let request = RevocationRequest::parse(fields.encode().as_bytes(), &Presented::default())?;
        self.service.revoke(request, Presented::default()).await
    }

    /// A token of this agent that derives from another, as an exchange would have made it.
    pub(crate) fn derived(
        &self,
        parent: &TokenRecord,
        holder: &SpiffeId,
        number: u8,
    ) -> TokenRecord {
        let mut kept = self.store.kept();
        let token = kept.place(TokenRecord {
            id: format!("tok_{number:032}").parse().unwrap(),
            client: holder.clone(),
            through: parent.holders().cloned().collect(),
            parent: Some(parent.id.clone()),
            ..parent.clone()
        });
        kept.tokens.insert(token.id.clone(), token.clone());
        token
    }

    /// What was kept of the token that was issued first.
    pub(crate) fn record(&self) -> TokenRecord {
        let kept = self.store.kept();
        kept.tokens.values().find(|token| token.parent.is_none()).unwrap().clone()
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
        match request.grant {
            GrantRequest::Exchange(exchange) => Ok(*exchange),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn add(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    /// Without the assertion, for a client that authenticates by another method.
    pub(crate) fn unauthenticated(self) -> Self {
        self.without("client_assertion").without("client_assertion_type")
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
        tools: std::collections::BTreeMap::new(),
        constraints: marque_intent::Constraints::default(),
        limits: marque_intent::Limits::default(),
        on_behalf: None,
        session: None,
        task: None,
        delivery: Delivery::Token,
        uses: 1,
        single_use_tokens: false,
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
