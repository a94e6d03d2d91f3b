//! What the unit tests of this crate share: a token service over scratch trust domains and a store in memory.

pub(crate) mod deferrals;
pub(crate) mod desk;
mod fields;
mod grants;
mod life;
pub(crate) mod login;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use marque_intent::{
    Grant, GrantTerms, Intent, IntentChange, IntentId, KillScope, Outcome, Reason,
};
use marque_jose::{FixedKeys, Jwk, JwkSet, Signer as _};
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use marque_testkit::{
    FixedClock, START, ScratchBundles, ScratchSigner, ScratchTrustDomain, SeededRandom,
};
use serde_json::Value;

use self::desk::FakeDesk;
use crate::{
    AnswerForm, EnvironmentLookup, GRANT_TYPE_TOKEN_EXCHANGE, Introspection, IntrospectionRequest,
    NoncePolicy, NonceSecret, OAuthError, OidcKeys, Presented, ResourceServer, RevocationRequest,
    TOKEN_TYPE_JWT, TokenRecord, TokenRequest, TokenResponse, TokenService, TokenServiceConfig,
    TokenServiceParts,
};

pub(crate) use self::{
    fields::{Fields, is_plain},
    grants::{anybody, approved, open, terms},
    login::{LOGIN, Login},
    store::{Kept, MemoryStore, order},
};

pub(crate) const ISSUER: &str = "https://issuer.prod.example.org:8443";
pub(crate) const AUDIENCE: &str = "https://gw.prod.example.org/k8s";
pub(crate) const SECOND_AUDIENCE: &str = "https://gw.prod.example.org/dns";

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
        // What challenges are for has tests of its own; the others show proofs without one.
        config.attestation_challenge = NoncePolicy::Optional;
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
                keys: Arc::new(FixedKeys::new(Arc::clone(&signer) as _, keys)),
                store: Arc::clone(&store) as _,
                deferrals: Arc::clone(&store) as _,
                desk: Arc::clone(&desk) as _,
                gate: Arc::clone(&desk) as _,
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
            ancestors: parent.line(),
            keys_above: parent.keys(),
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
        self.change(&IntentChange::Complete {
            by: self.agent.clone(),
            outcome: Outcome::Success,
            report: None,
        });
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
