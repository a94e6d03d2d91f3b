//! Tests against a real authority that has little time left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use marque_authority::{
    Authority, AuthorityConfig, AuthorityError, AuthorityOrder, AuthorityRecord, AuthorityStore,
    AuthorityStoreError, CeilingRefusal, JwtSvidTemplate, OrderRefusal, OrderedBy, SigningAlarm,
    SigningGuard, TokenServiceCeiling, Trusted, WitSvidTemplate, X509SvidTemplate,
};
use marque_keys::{KeyAlgorithm, KeyPurpose, MemoryKeys, SlotId};
use marque_registry::{EntryId, Registry, TrustDomainDocument};
use marque_spiffe::{Clock, Environment, UnverifiedX509Svid};
use marque_testkit::{FixedClock, START, SeededRandom};
use serde_json::json;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{DOCUMENT, at_once, entry, id, now, selectors};
use crate::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Stops, WitSvidMaterial, Workload,
    WorkloadError, WorkloadLimits, X509SvidMaterial,
};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

/// Mints for the one entry there is, an hour at a time.
#[derive(Debug)]
struct Minting {
    authority: Authority,
    clock: FixedClock,
    state: watch::Sender<Arc<IssuerState>>,
    /// Nothing can be minted for now.
    down: AtomicBool,
}

#[derive(Debug, Default)]
struct Records(Mutex<Vec<AuthorityRecord>>);

impl AuthorityStore for Records {
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>> {
        ready(Ok(self.0.lock().unwrap().clone())).boxed()
    }

    fn order(
        &self,
        order: AuthorityOrder,
    ) -> BoxFuture<'_, Result<Result<(), OrderRefusal>, AuthorityStoreError>> {
        let mut records = self.0.lock().unwrap();
        let ruled = order.decide(&records).map(|decision| decision.apply(&mut records));
        ready(Ok(ruled)).boxed()
    }
}

fn minted<T, E: std::error::Error + Send + Sync + 'static>(
    minted: Result<T, E>,
) -> Result<T, WorkloadError> {
    minted.map_err(WorkloadError::mint)
}

impl Issuer for Minting {
    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.subscribe()
    }

    fn mint_x509_svid<'a>(
        &'a self,
        _entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        if self.down.load(Ordering::Relaxed) {
            return ready(Err(WorkloadError::Unavailable)).boxed();
        }
        let template =
            X509SvidTemplate { spiffe_id: id("a"), lifetime: HOUR, dns_names: Vec::new() };
        let svid = minted(self.authority.mint_x509_svid(&template, self.clock.now()));
        let svid = svid.map(|svid| {
            let key = Zeroizing::new(svid.private_key.expose_der().to_vec());
            Arc::new(X509SvidMaterial {
                spiffe_id: svid.spiffe_id,
                chain: svid.chain,
                private_key: PrivateKey::from_pkcs8_der(key),
                not_before: svid.not_before,
                not_after: svid.not_after,
            })
        });
        ready(svid).boxed()
    }

    fn mint_jwt_svid<'a>(
        &'a self,
        _entry: &'a EntryId,
        audience: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<JwtSvidMaterial>, WorkloadError>> {
        let template =
            JwtSvidTemplate { spiffe_id: id("a"), audience: audience.to_vec(), lifetime: HOUR };
        let svid = minted(self.authority.mint_jwt_svid(&template, self.clock.now()));
        let svid = svid.map(|svid| {
            Arc::new(JwtSvidMaterial {
                spiffe_id: svid.spiffe_id,
                token: svid.token,
                issued_at: svid.issued_at,
                expires_at: svid.expires_at,
            })
        });
        ready(svid).boxed()
    }

    fn mint_wit_svid<'a>(
        &'a self,
        _entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<WitSvidMaterial>, WorkloadError>> {
        let template = WitSvidTemplate { spiffe_id: id("a"), lifetime: HOUR };
        let svid = minted(self.authority.mint_wit_svid(&template, self.clock.now()));
        let svid = svid.map(|svid| {
            Arc::new(WitSvidMaterial {
                spiffe_id: svid.spiffe_id,
                token: svid.token,
                private_key: svid.private_key,
                issued_at: svid.issued_at,
                expires_at: svid.expires_at,
            })
        });
        ready(svid).boxed()
    }
}

/// Keys that sign SVIDs alone, by this clock, and tell nobody what they refuse.
fn guard(clock: &FixedClock) -> SigningGuard {
    #[derive(Debug)]
    struct Nobody;

    impl SigningAlarm for Nobody {
        fn refused(&self, _refusal: &CeilingRefusal) {}
    }

    let tokens = TokenServiceCeiling {
        issuer: "https://issuer.example.org".to_owned(),
        svid_issuers: Vec::new(),
        forms: Vec::new(),
    };
    SigningGuard::new(Arc::new(clock.clone()), Arc::new(Nobody), tokens)
}

/// Authorities that end in so long, and what is served of them.
fn with_an_authority_that_ends_in(left: Duration) -> (FixedClock, Timestamp, Workload) {
    let (issuer, clock) = minting();
    let ends_at = issuer.authority.ends_at();
    clock.set(ends_at - left);
    let workload = Workload::new(issuer, Arc::new(clock.clone()));
    (clock, ends_at, workload)
}

/// New authorities that last a day.
fn minting() -> (Arc<Minting>, FixedClock) {
    let clock = FixedClock::new(START);
    let config = AuthorityConfig {
        trust_domain: "example.org".parse().unwrap(),
        environment: Environment::NonProduction,
        ca_lifetime: DAY,
        max_x509_svid_lifetime: HOUR,
        max_jwt_svid_lifetime: HOUR,
        max_wit_svid_lifetime: HOUR,
        max_access_token_lifetime: HOUR,
        jwt_svid_algorithm: KeyAlgorithm::EcdsaP256,
        wit_svids: true,
        path_length: 0,
        max_downstream_lifetime: None,
        refresh_hint: HOUR,
        name_constraints: false,
        upstream: None,
        guard: guard(&clock),
        earlier: None,
    };
    let keys = Arc::new(MemoryKeys::default());
    let random = Arc::new(SeededRandom::new(1));
    let records = Arc::new(Records::default());
    let authority = Authority::open(config, keys, records, random, START);
    let authority = at_once(authority).expect("memory answers at once").unwrap();
    let document = TrustDomainDocument::parse("test".as_ref(), DOCUMENT).unwrap();
    let registry = Registry::new(Arc::new(document), vec![entry("a", json!({}))]).unwrap();
    let state = IssuerState {
        registry: registry.snapshot(),
        bundles: Arc::new(BundleSet::new(authority.bundle(), [])),
        stops: Stops::default(),
        epoch: 0,
    };
    let state = watch::Sender::new(Arc::new(state));
    let down = AtomicBool::new(false);
    (Arc::new(Minting { authority, clock: clock.clone(), state, down }), clock)
}

impl Minting {
    /// Takes a step in the lives of the keys, and tells workloads.
    fn step(&self, step: impl Future<Output = Result<(), AuthorityError>>) {
        at_once(step).expect("memory answers at once").unwrap();
        let Trusted { bundle, untainted, alarms } = self.authority.trusted();
        self.state.send_modify(|state| {
            let bundles = BundleSet::new(bundle, []).with_untainted(untainted, alarms);
            *state = Arc::new(IssuerState { bundles: Arc::new(bundles), ..(**state).clone() });
        });
    }

    fn prepare(&self) {
        for purpose in [KeyPurpose::X509Authority, KeyPurpose::JwtSvid, KeyPurpose::WitSvid] {
            let prepared = self.authority.prepare(purpose, OrderedBy::default(), self.clock.now());
            self.step(async { prepared.await.map(drop) });
        }
    }

    fn taint(&self, purpose: KeyPurpose) {
        let first = SlotId::first(purpose);
        self.step(self.authority.taint(first, OrderedBy::default(), self.clock.now()));
    }

    fn revoke(&self, purpose: KeyPurpose) {
        let first = SlotId::first(purpose);
        self.step(self.authority.revoke(first, OrderedBy::default(), self.clock.now()));
    }
}

fn caller() -> marque_spiffe::SelectorSet {
    selectors(&["unix:uid:1"])
}

#[tokio::test]
async fn wa_2_no_x509_svid_outlives_its_authority_and_the_last_ends_with_it() {
    let (clock, ends_at, workload) = with_an_authority_that_ends_in(HOUR / 4);
    let mut stream = workload.subscribe_x509(caller());
    let mut sent = 0;
    while clock.now() < ends_at {
        if let Some(update) = at_once(stream.next()) {
            match update.unwrap() {
                Ok(update) => {
                    let svid = &update.svids[0].material;
                    assert!(svid.not_after <= ends_at, "{} {ends_at}", svid.not_after);
                    assert!(svid.not_after > clock.now());
                    sent += 1;
                }
                // With a second left there is nothing worth minting.
                Err(error) => {
                    assert!(matches!(error, WorkloadError::Mint(_)), "{error:?}");
                    assert!(ends_at.duration_since(clock.now()).as_secs() <= 1);
                    break;
                }
            }
        }
        clock.advance(Duration::from_secs(1));
    }
    assert!(sent > 1, "renewed at half of what is left, again and again: {sent}");
    clock.set(ends_at);
    let refused = now(workload.subscribe_x509(caller()).next());
    assert!(matches!(refused, Err(WorkloadError::Mint(_))), "{refused:?}");
}

#[tokio::test]
async fn wa_2_no_token_outlives_its_authority() {
    let (clock, ends_at, workload) = with_an_authority_that_ends_in(HOUR / 4);
    let audience = ["db".to_owned()];
    let (caller, mut wit) = (caller(), workload.subscribe_wit(caller(), None));
    for left in [900, 400, 100, 20] {
        clock.set(ends_at - Duration::from_secs(left));
        let jwt = at_once(workload.jwt_svids(&caller, &audience, None)).unwrap().unwrap();
        assert!(jwt[0].0.expires_at <= ends_at && jwt[0].0.expires_at > clock.now());
        let wit = now(wit.next()).unwrap();
        let expires_at = wit.svids[0].material.expires_at;
        assert!(expires_at <= ends_at && expires_at > clock.now());
    }
    clock.set(ends_at);
    let refused = at_once(workload.jwt_svids(&caller, &audience, None)).unwrap();
    assert!(matches!(refused, Err(WorkloadError::Mint(_))), "{refused:?}");
}

#[tokio::test]
async fn what_a_tainted_authority_signed_is_issued_anew_and_pushed_at_once_whatever_the_splay() {
    let (issuer, clock) = minting();
    let limits = WorkloadLimits::default();
    let workload = Workload::with_splay(Arc::clone(&issuer) as _, Arc::new(clock), limits, HOUR);
    issuer.prepare();
    // The first stream's turn is at once; the others wait for theirs.
    let mut streams: Vec<_> = (0..3).map(|_| workload.subscribe_x509(caller())).collect();
    let mut wit = workload.subscribe_wit(caller(), None);
    let mut firsts = Vec::new();
    for stream in &mut streams {
        firsts.push(now(stream.next()).unwrap());
    }
    let first_wit = now(wit.next()).unwrap();
    let audience = ["db".to_owned()];
    let first_jwt = at_once(workload.jwt_svids(&caller(), &audience, None)).unwrap().unwrap();

    issuer.taint(KeyPurpose::X509Authority);
    let tainted = &firsts[0].svids[0].material;
    for stream in &mut streams {
        let next = now(stream.next()).unwrap();
        assert_ne!(next.svids[0].material.chain, tainted.chain);
        // Nothing breaks: both verify by the bundle that everybody has.
        for chain in [&next.svids[0].material.chain, &tainted.chain] {
            let svid = UnverifiedX509Svid::parse_chain(chain.clone()).unwrap();
            svid.verify(&next.bundle, START).unwrap();
        }
    }
    issuer.taint(KeyPurpose::WitSvid);
    issuer.taint(KeyPurpose::JwtSvid);
    let next_wit = now(wit.next()).unwrap();
    assert_ne!(
        next_wit.svids[0].material.token.expose_token(),
        first_wit.svids[0].material.token.expose_token()
    );
    let next_jwt = at_once(workload.jwt_svids(&caller(), &audience, None)).unwrap().unwrap();
    assert_ne!(next_jwt[0].0.token.expose_token(), first_jwt[0].0.token.expose_token());

    issuer.revoke(KeyPurpose::X509Authority);
    for stream in &mut streams {
        let next = now(stream.next()).unwrap();
        assert_eq!(next.bundle.x509_authorities().len(), 1);
        let svid = UnverifiedX509Svid::parse_chain(tainted.chain.clone()).unwrap();
        svid.verify(&next.bundle, START).unwrap_err();
    }
}

#[tokio::test]
async fn what_a_tainted_authority_signed_is_served_while_no_other_can_be_had() {
    let (issuer, clock) = minting();
    let workload = Workload::new(Arc::clone(&issuer) as _, Arc::new(clock.clone()));
    issuer.prepare();
    let first = now(workload.subscribe_x509(caller()).next()).unwrap();
    issuer.down.store(true, Ordering::Relaxed);
    issuer.taint(KeyPurpose::X509Authority);
    let again = now(workload.subscribe_x509(caller()).next()).unwrap();
    assert_eq!(again.svids[0].material.chain, first.svids[0].material.chain);
    issuer.down.store(false, Ordering::Relaxed);
    clock.advance(Duration::from_secs(5));
    let next = now(workload.subscribe_x509(caller()).next()).unwrap();
    assert_ne!(next.svids[0].material.chain, first.svids[0].material.chain);
    // A revoked one is never served.
    issuer.down.store(true, Ordering::Relaxed);
    let (issuer, clock) = minting();
    let workload = Workload::new(Arc::clone(&issuer) as _, Arc::new(clock));
    issuer.prepare();
    now(workload.subscribe_x509(caller()).next()).unwrap();
    issuer.down.store(true, Ordering::Relaxed);
    issuer.taint(KeyPurpose::X509Authority);
    issuer.revoke(KeyPurpose::X509Authority);
    now(workload.subscribe_x509(caller()).next()).unwrap_err();
}
