//! Tests against a real authority that has little time left.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use marque_authority::{
    Authority, AuthorityConfig, AuthorityRecord, AuthorityStore, AuthorityStoreError,
    CeilingRefusal, JwtSvidTemplate, SigningAlarm, SigningGuard, TokenServiceCeiling,
    WitSvidTemplate, X509SvidTemplate,
};
use marque_keys::MemoryKeys;
use marque_registry::{EntryId, Registry, TrustDomainDocument};
use marque_spiffe::{Clock, Environment};
use marque_testkit::{FixedClock, START, SeededRandom};
use serde_json::json;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{DOCUMENT, at_once, entry, id, now, selectors};
use crate::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Stops, WitSvidMaterial, Workload,
    WorkloadError, X509SvidMaterial,
};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

/// Mints for the one entry there is, an hour at a time.
#[derive(Debug)]
struct Minting {
    authority: Authority,
    clock: FixedClock,
    state: watch::Sender<Arc<IssuerState>>,
}

#[derive(Debug, Default)]
struct Records(Mutex<Vec<AuthorityRecord>>);

impl AuthorityStore for Records {
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>> {
        ready(Ok(self.0.lock().unwrap().clone())).boxed()
    }

    fn save(&self, record: AuthorityRecord) -> BoxFuture<'_, Result<(), AuthorityStoreError>> {
        self.0.lock().unwrap().push(record);
        ready(Ok(())).boxed()
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
        svid_issuer: None,
        forms: Vec::new(),
    };
    SigningGuard::new(Arc::new(clock.clone()), Arc::new(Nobody), tokens)
}

/// Authorities that end in so long, and what is served of them.
fn with_an_authority_that_ends_in(left: Duration) -> (FixedClock, Timestamp, Workload) {
    let clock = FixedClock::new(START);
    let config = AuthorityConfig {
        trust_domain: "example.org".parse().unwrap(),
        environment: Environment::NonProduction,
        ca_lifetime: DAY,
        max_x509_svid_lifetime: HOUR,
        max_jwt_svid_lifetime: HOUR,
        max_wit_svid_lifetime: HOUR,
        wit_svids: true,
        refresh_hint: HOUR,
        guard: guard(&clock),
    };
    let keys = Arc::new(MemoryKeys::default());
    let random = Arc::new(SeededRandom::new(1));
    let records = Records::default();
    let authority = Authority::open(config, keys, &records, random, START);
    let authority = at_once(authority).expect("memory answers at once").unwrap();
    let ends_at = authority.ends_at();
    let document = TrustDomainDocument::parse("test".as_ref(), DOCUMENT).unwrap();
    let registry = Registry::new(Arc::new(document), vec![entry("a", json!({}))]).unwrap();
    let state = IssuerState {
        registry: registry.snapshot(),
        bundles: Arc::new(BundleSet::new(authority.bundle(), [])),
        stops: Stops::default(),
        epoch: 0,
    };
    clock.set(ends_at - left);
    let state = watch::Sender::new(Arc::new(state));
    let issuer = Arc::new(Minting { authority, clock: clock.clone(), state });
    let workload = Workload::new(issuer, Arc::new(clock.clone()));
    (clock, ends_at, workload)
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
