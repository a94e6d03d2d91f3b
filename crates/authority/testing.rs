//! What the unit tests of this crate share: settings, a store in memory, and an authority that is opened at once.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use marque_audit::Event;
use marque_keys::{KeyAlgorithm, KeyManager, KeyPurpose, MemoryKeys};
use marque_spiffe::{Clock, Environment, SpiffeId};
use marque_testkit::{START, SeededRandom};

use crate::{
    Authority, AuthorityConfig, AuthorityError, AuthorityOrder, AuthorityRecord, AuthorityStore,
    AuthorityStoreError, CeilingRefusal, JwtSvidTemplate, OrderRefusal, RequiredClaim,
    SigningAlarm, SigningGuard, TokenForm, TokenServiceCeiling, WitSvidTemplate, X509SvidTemplate,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Production, a day, an hour, five minutes and an hour.
pub(crate) fn config(trust_domain: &str) -> AuthorityConfig {
    AuthorityConfig {
        trust_domain: trust_domain.parse().unwrap(),
        environment: Environment::Production,
        ca_lifetime: 24 * HOUR,
        max_x509_svid_lifetime: HOUR,
        max_jwt_svid_lifetime: Duration::from_secs(300),
        max_wit_svid_lifetime: HOUR,
        max_access_token_lifetime: Duration::from_secs(600),
        jwt_svid_algorithm: KeyAlgorithm::EcdsaP256,
        wit_svids: true,
        path_length: 0,
        max_downstream_lifetime: None,
        refresh_hint: Duration::from_secs(60),
        name_constraints: false,
        upstream: None,
        guard: guard(Arc::new(Unhurried), Arc::new(Alarm::default())),
        earlier: None,
    }
}

/// A guard with access tokens and status lists of five minutes and statements of a moment.
pub(crate) fn guard(clock: Arc<dyn Clock>, alarm: Arc<dyn SigningAlarm>) -> SigningGuard {
    use RequiredClaim::{Audience, Client, Events, Intent, Issuer, StatusList, Subject};
    let form = |typ, max_lifetime, required| TokenForm { typ, max_lifetime, required };
    let minutes = Some(Duration::from_secs(300));
    let forms = vec![
        form("at+jwt", minutes, &[Issuer, Subject, Audience, Client, Intent]),
        form("statuslist+jwt", minutes, &[Subject, StatusList]),
        form("secevent+jwt", None, &[Issuer, Audience, Events]),
    ];
    let token_service = TokenServiceCeiling {
        issuer: "https://issuer.example.org".to_owned(),
        svid_issuers: vec!["https://issuer.example.org/svid".to_owned()],
        forms,
    };
    SigningGuard::new(clock, alarm, token_service)
}

/// The claims of an access token that is within the ceiling.
pub(crate) fn access_token_claims() -> serde_json::Value {
    serde_json::json!({
        "iss": "https://issuer.example.org", "sub": "x", "aud": "https://api.example.org",
        "client_id": "x", "intent": { "id": "in_1" },
        "iat": START.as_second(), "exp": START.as_second() + 300,
    })
}

/// A clock at the end of time: most tests say for themselves when they mint.
#[derive(Debug)]
struct Unhurried;

impl Clock for Unhurried {
    fn now(&self) -> Timestamp {
        Timestamp::MAX
    }

    fn sleep_until(&self, _at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        std::future::ready(()).boxed()
    }
}

/// Remembers what was refused.
#[derive(Debug, Default)]
pub(crate) struct Alarm(pub(crate) Mutex<Vec<CeilingRefusal>>);

impl SigningAlarm for Alarm {
    fn refused(&self, refusal: &CeilingRefusal) {
        self.0.lock().unwrap().push(refusal.clone());
    }
}

pub(crate) fn later(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://prod.example.org{path}").parse().unwrap()
}

pub(crate) fn x509_template(path: &str) -> X509SvidTemplate {
    X509SvidTemplate { spiffe_id: id(path), lifetime: HOUR, dns_names: Vec::new() }
}

pub(crate) fn jwt_template(path: &str) -> JwtSvidTemplate {
    let audience = vec!["https://issuer.example.org".to_owned()];
    JwtSvidTemplate { spiffe_id: id(path), audience, lifetime: Duration::from_secs(300) }
}

pub(crate) fn wit_template(path: &str) -> WitSvidTemplate {
    WitSvidTemplate { spiffe_id: id(path), lifetime: HOUR }
}

/// Records in memory; orders fail from a chosen one on.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    pub(crate) records: Mutex<Vec<AuthorityRecord>>,
    /// How many more orders are carried out.
    pub(crate) saves_left: Mutex<Option<usize>>,
    /// What another process saves just before the next order.
    pub(crate) others: Mutex<Vec<AuthorityRecord>>,
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) unreadable: bool,
}

impl MemoryStore {
    pub(crate) fn change(&self, purpose: KeyPurpose, change: impl FnOnce(&mut AuthorityRecord)) {
        let mut records = self.records.lock().unwrap();
        change(records.iter_mut().find(|record| record.slot.purpose() == purpose).unwrap());
    }

    pub(crate) fn record(&self, purpose: KeyPurpose) -> AuthorityRecord {
        let records = self.records.lock().unwrap();
        records.iter().find(|record| record.slot.purpose() == purpose).unwrap().clone()
    }

    pub(crate) fn add(&self, record: AuthorityRecord) {
        self.records.lock().unwrap().push(record);
    }
}

impl AuthorityStore for MemoryStore {
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>> {
        if self.unreadable {
            return std::future::ready(Err(AuthorityStoreError::new("unreadable"))).boxed();
        }
        std::future::ready(Ok(self.records.lock().unwrap().clone())).boxed()
    }

    fn order(
        &self,
        order: AuthorityOrder,
    ) -> BoxFuture<'_, Result<Result<(), OrderRefusal>, AuthorityStoreError>> {
        if let Some(left) = self.saves_left.lock().unwrap().as_mut() {
            if *left == 0 {
                return std::future::ready(Err(AuthorityStoreError::new("full"))).boxed();
            }
            *left -= 1;
        }
        let mut records = self.records.lock().unwrap();
        records.extend(self.others.lock().unwrap().drain(..));
        let ruled = order.decide(&records).map(|decision| {
            self.events.lock().unwrap().push(decision.event.clone());
            decision.apply(&mut records);
        });
        std::future::ready(Ok(ruled)).boxed()
    }
}

/// What outlives a process: keys and records.
#[derive(Debug, Default)]
pub(crate) struct House {
    pub(crate) keys: Arc<MemoryKeys>,
    pub(crate) store: Arc<MemoryStore>,
}

impl House {
    pub(crate) fn open(&self) -> Result<Authority, AuthorityError> {
        self.open_with(config("prod.example.org"), START)
    }

    pub(crate) fn open_with(
        &self,
        config: AuthorityConfig,
        now: Timestamp,
    ) -> Result<Authority, AuthorityError> {
        let keys = Arc::clone(&self.keys) as Arc<dyn KeyManager>;
        let random = Arc::new(SeededRandom::new(7));
        let store = Arc::clone(&self.store) as Arc<dyn AuthorityStore>;
        Authority::open(config, keys, store, random, now).now_or_never().unwrap()
    }
}

pub(crate) fn authority() -> Authority {
    House::default().open().unwrap()
}
