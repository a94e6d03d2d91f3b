//! What the benchmark of the cryptographic rooms stands on: one trust domain in memory, and a token service over it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use marque_audit::Event;
use marque_authority::{
    Authority, AuthorityConfig, AuthorityOrder, AuthorityRecord, AuthorityStore,
    AuthorityStoreError, CeilingRefusal, JwtSvidTemplate, OrderRefusal, RequiredClaim,
    SigningAlarm, SigningGuard, TokenForm, TokenServiceCeiling, X509SvidTemplate,
};
use marque_exchange::{
    ASSERTION_TYPE_JWT_SPIFFE, Derivation, Derived, EnvironmentLookup, Freshness,
    GRANT_TYPE_TOKEN_EXCHANGE, NonceSecret, Presented, RedeemError, Redeemed, Redemption,
    ReplayStore, SingleUse, TOKEN_TYPE_JWT, TokenId, TokenRecord, TokenRequest, TokenResponse,
    TokenService, TokenServiceConfig, TokenServiceParts, TokenStore, TokenStoreError,
};
use marque_intent::{
    Circumstances, Digest, Intent, IntentId, IntentRequest, KillState, Playbook, Requester, Ruling,
    Use, resolve,
};
use marque_keys::MemoryKeys;
use marque_spiffe::{Environment, SpiffeId, TrustDomain};
use marque_testkit::{FixedClock, START, SeededRandom};

use super::life::NoLife;
use crate::waiting::Nobody;

/// The issuer identifier, audience of every SVID here.
pub(crate) const ISSUER: &str = "https://localhost:8444";
const AGENT: &str = "spiffe://dev.example.org/agent/preview-restarter/one";
const INTENT: &str = "int_00000000000000000000000000";

/// A trust domain's authorities in memory, and a token service with one approved intent that never runs out.
pub(crate) struct Room {
    pub(crate) authority: Arc<Authority>,
    service: TokenService,
}

/// The ceiling of keys that sign SVIDs and access tokens, as a trust domain has it.
fn guard() -> SigningGuard {
    let form = TokenForm {
        typ: "at+jwt",
        max_lifetime: Some(Duration::from_secs(3_600)),
        required: &[
            RequiredClaim::Issuer,
            RequiredClaim::Subject,
            RequiredClaim::Audience,
            RequiredClaim::Client,
            RequiredClaim::Intent,
        ],
    };
    let tokens = TokenServiceCeiling {
        issuer: ISSUER.to_owned(),
        svid_issuers: Vec::new(),
        forms: vec![form],
    };
    SigningGuard::new(Arc::new(FixedClock::new(START)), Arc::new(Nobody), tokens)
}

impl SigningAlarm for Nobody {
    fn refused(&self, refusal: &CeilingRefusal) {
        panic!("{refusal}");
    }
}

impl Room {
    /// One whose token service verifies every SVID that it is shown.
    pub(crate) fn new() -> Self {
        Self::remembering(0)
    }

    /// One whose token service remembers so many verified SVIDs.
    pub(crate) fn remembering(verified_svids: u64) -> Self {
        let trust_domain: TrustDomain = "dev.example.org".parse().expect("a trust domain");
        let config = AuthorityConfig {
            trust_domain: trust_domain.clone(),
            environment: Environment::NonProduction,
            ca_lifetime: Duration::from_secs(86_400),
            max_x509_svid_lifetime: Duration::from_secs(3_600),
            max_jwt_svid_lifetime: Duration::from_secs(300),
            max_wit_svid_lifetime: Duration::from_secs(3_600),
            max_access_token_lifetime: Duration::from_secs(600),
            jwt_svid_algorithm: marque_keys::KeyAlgorithm::EcdsaP256,
            wit_svids: true,
            path_length: 0,
            max_downstream_lifetime: None,
            refresh_hint: Duration::from_secs(300),
            name_constraints: false,
            upstream: None,
            guard: guard(),
            earlier: None,
        };
        let random = Arc::new(SeededRandom::new(1));
        let records = Arc::new(Records::default());
        let opened = Authority::open(
            config,
            Arc::new(MemoryKeys::default()),
            records,
            random.clone(),
            START,
        );
        let opened = opened.now_or_never().expect("memory answers at once");
        let authority = Arc::new(opened.expect("authorities"));
        let issuer = ISSUER.parse().expect("an issuer");
        let config = TokenServiceConfig {
            verified_svids,
            ..TokenServiceConfig::new(issuer, trust_domain, Environment::NonProduction)
        };
        let store = Arc::new(OneIntent { intent: approved_intent(), kills: Arc::default() });
        let parts = TokenServiceParts {
            bundles: Arc::new(Bundles(authority.bundle())),
            environments: Arc::new(NoOthers),
            oidc_keys: Arc::new(marque_exchange::NoOidcKeys),
            keys: Arc::clone(&authority) as _,
            deferrals: Arc::new(Nobody),
            desk: Arc::new(Nobody),
            gate: Arc::new(Nobody),
            life: Arc::new(NoLife),
            replays: Arc::clone(&store) as _,
            nonce_secret: NonceSecret::new([7; 32]),
            store,
            random,
            clock: Arc::new(FixedClock::new(START)),
        };
        Self { authority, service: TokenService::new(config, parts) }
    }

    pub(crate) fn x509_template() -> X509SvidTemplate {
        X509SvidTemplate {
            spiffe_id: agent(),
            lifetime: Duration::from_secs(3_600),
            dns_names: Vec::new(),
        }
    }

    pub(crate) fn jwt_template() -> JwtSvidTemplate {
        let audience = vec![ISSUER.to_owned()];
        JwtSvidTemplate { spiffe_id: agent(), audience, lifetime: Duration::from_secs(300) }
    }

    pub(crate) fn jwt_svid(&self) -> String {
        let minted =
            self.authority.mint_jwt_svid(&Self::jwt_template(), START).expect("a JWT-SVID");
        minted.token.expose_token().to_owned()
    }

    /// The body of a token request that is granted.
    pub(crate) fn form(&self) -> String {
        let svid = self.jwt_svid();
        form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT_TYPE_TOKEN_EXCHANGE)
            .append_pair("client_assertion_type", ASSERTION_TYPE_JWT_SPIFFE)
            .append_pair("client_assertion", &svid)
            .append_pair("subject_token", &svid)
            .append_pair("subject_token_type", TOKEN_TYPE_JWT)
            .append_pair(
                "authorization_details",
                &format!(r#"[{{"type":"marque_intent","intent_id":"{INTENT}"}}]"#),
            )
            .finish()
    }

    /// From the bytes of the form to the signed token.
    pub(crate) fn exchange(&self, form: &str) -> TokenResponse {
        let request =
            TokenRequest::parse(form.as_bytes(), &Presented::default()).expect("a token request");
        let answer = self
            .service
            .token(request, Presented::default())
            .now_or_never()
            .expect("memory answers at once");
        answer.expect("a token")
    }
}

fn agent() -> SpiffeId {
    AGENT.parse().expect("a SPIFFE ID")
}

/// The shipped non-production playbook, asked for and approved.
fn approved_intent() -> Intent {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("trust-domains/dev.example.org/playbooks/restart-preview.toml");
    let playbook =
        Playbook::parse(&std::fs::read_to_string(file).expect("the playbook")).expect("a playbook");
    let body = br#"{"playbook":"restart-preview","parameters":{"preview":"pr-1207"}}"#;
    let request = IntentRequest::parse(body).expect("a request");
    let requester = Requester { agent: agent(), attestation: None, owner: None };
    let intent_id = INTENT.parse().expect("an id");
    let circumstances = Circumstances {
        intent_id,
        policy_set_digest: Digest::of(b"policy"),
        evidence: Default::default(),
        now: START,
    };
    let grant = resolve(&playbook, &request, &requester, circumstances).expect("a grant");
    Intent::open(grant, None, Ruling::Approve { rules: vec!["auto".to_owned()] }, START).0
}

/// Records in memory.
#[derive(Debug, Default)]
struct Records(Mutex<Vec<AuthorityRecord>>);

impl AuthorityStore for Records {
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>> {
        ready(Ok(self.0.lock().expect("one thread").clone())).boxed()
    }

    fn order(
        &self,
        order: AuthorityOrder,
    ) -> BoxFuture<'_, Result<Result<(), OrderRefusal>, AuthorityStoreError>> {
        let mut records = self.0.lock().expect("one thread");
        let ruled = order.decide(&records).map(|decision| decision.apply(&mut records));
        ready(Ok(ruled)).boxed()
    }
}

#[derive(Debug)]
struct Bundles(Arc<marque_spiffe::Bundle>);

impl marque_spiffe::BundleSource for Bundles {
    fn bundle(&self, trust_domain: &TrustDomain) -> Option<Arc<marque_spiffe::Bundle>> {
        (self.0.trust_domain() == trust_domain).then(|| Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct NoOthers;

impl EnvironmentLookup for NoOthers {
    fn environment(&self, _trust_domain: &TrustDomain) -> Option<Environment> {
        None
    }
}

/// Redeems as a real store does, and forgets it, so that a single use can be measured again and again.
#[derive(Debug)]
struct OneIntent {
    intent: Intent,
    kills: Arc<KillState>,
}

impl ReplayStore for OneIntent {
    fn remember(
        &self,
        _proofs: Vec<SingleUse>,
    ) -> BoxFuture<'_, Result<Freshness, TokenStoreError>> {
        ready(Ok(Freshness::Fresh)).boxed()
    }
}

impl TokenStore for OneIntent {
    fn intent(&self, _id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>> {
        ready(Ok(Some(self.intent.clone()))).boxed()
    }

    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>> {
        let Redemption { agent, grant_digest, token, now, .. } = &redemption;
        let wanted = Use {
            agent,
            grant_digest,
            token_id: token.id.as_str(),
            token_expires_at: token.expires_at,
            facts: redemption.facts(),
            epoch: self.kills.epoch,
        };
        let redeemed = self.intent.clone().redeem(&wanted, *now);
        let token = token.clone();
        let redeemed = redeemed.map(|(intent, _event)| Redeemed { intent, token });
        ready(redeemed.map_err(RedeemError::Refused)).boxed()
    }

    fn derive(&self, _derivation: Derivation) -> BoxFuture<'_, Result<Derived, RedeemError>> {
        ready(Err(RedeemError::Store(TokenStoreError::new("nothing is derived here")))).boxed()
    }

    fn record_refusal(&self, _event: Event) -> BoxFuture<'_, Result<(), TokenStoreError>> {
        ready(Ok(())).boxed()
    }

    fn token(
        &self,
        _id: &TokenId,
    ) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, TokenStoreError>> {
        ready(Ok(None)).boxed()
    }

    fn kill_state(&self) -> Arc<KillState> {
        Arc::clone(&self.kills)
    }
}
