use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use marque_jose::HolderKey;
use marque_registry::{EntryId, Registry};
use marque_spiffe::{Bundle, Clock, SpiffeId};
use marque_testkit::{FixedClock, ScratchTrustDomain, rcgen};
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use crate::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Stops, WitSvidMaterial,
    WorkloadError, X509SvidMaterial,
};

/// How minting goes.
#[derive(Debug, Clone)]
pub(super) enum Mood {
    Willing,
    /// Fails as an issuer out of reach does.
    Failing,
    /// Says that the entry may not be served.
    Refusing,
    /// Mints for somebody else.
    Confused,
}

/// An issuer over a scratch authority. What it mints lives for an hour, unless told otherwise.
#[derive(Debug)]
pub(super) struct FakeIssuer {
    pub(super) registry: Registry,
    pub(super) domain: Mutex<Arc<ScratchTrustDomain>>,
    pub(super) mood: Mutex<Mood>,
    /// Minting takes a permit and gives it back.
    pub(super) gate: Semaphore,
    /// How many mintings began.
    pub(super) asked: AtomicUsize,
    pub(super) lifetime: Mutex<Duration>,
    clock: FixedClock,
    state: Mutex<Option<watch::Sender<Arc<IssuerState>>>>,
}

impl FakeIssuer {
    pub(super) fn new(registry: Registry, clock: FixedClock) -> Self {
        let domain = Arc::new(ScratchTrustDomain::new("example.org"));
        let state = IssuerState {
            registry: registry.snapshot(),
            bundles: Arc::new(BundleSet::new(domain.bundle(), [])),
            stops: Stops::default(),
            epoch: 0,
        };
        Self {
            registry,
            domain: Mutex::new(domain),
            mood: Mutex::new(Mood::Willing),
            gate: Semaphore::new(1),
            asked: AtomicUsize::new(0),
            lifetime: Mutex::new(Duration::from_mins(60)),
            clock,
            state: Mutex::new(Some(watch::Sender::new(Arc::new(state)))),
        }
    }

    pub(super) fn minted(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Changes the state, with the entries as they are in the registry.
    pub(super) fn publish(&self, change: impl FnOnce(&mut IssuerState)) {
        let state = self.state.lock().unwrap();
        let state = state.as_ref().unwrap();
        let mut next = IssuerState::clone(&state.borrow());
        next.registry = self.registry.snapshot();
        change(&mut next);
        state.send_replace(Arc::new(next));
    }

    pub(super) fn kill(&self, agent: &SpiffeId) {
        self.publish(|state| {
            state.stops.agents.insert(agent.clone());
            state.epoch += 1;
        });
    }

    pub(super) fn set_own_bundle(&self, own: Bundle) {
        self.publish(|state| state.bundles = Arc::new(BundleSet::new(Arc::new(own), [])));
    }

    /// The issuer goes away.
    pub(super) fn close(&self) {
        *self.state.lock().unwrap() = None;
    }

    async fn for_whom(&self, entry: &EntryId) -> Result<SpiffeId, WorkloadError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _permit = self.gate.acquire().await.unwrap();
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Willing => {
                let snapshot = self.registry.snapshot();
                Ok(snapshot.entry(entry).unwrap().spiffe_id().clone())
            }
            Mood::Failing => Err(WorkloadError::mint(std::io::Error::other("out of reach"))),
            Mood::Refusing => Err(WorkloadError::NotEntitled),
            Mood::Confused => Ok("spiffe://example.org/somebody-else".parse().unwrap()),
        }
    }
}

impl Issuer for FakeIssuer {
    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.lock().unwrap().as_ref().unwrap().subscribe()
    }

    fn mint_x509_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.for_whom(entry).await?;
            let now = self.clock.now();
            let (not_before, not_after) =
                (now - Duration::from_secs(10), now + *self.lifetime.lock().unwrap());
            let domain = Arc::clone(&self.domain.lock().unwrap());
            let mut params = domain.leaf_params(&spiffe_id);
            let since_1970 =
                |at: jiff::Timestamp| Duration::from_secs(at.as_second().try_into().unwrap());
            params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_before);
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_after);
            let svid = domain.root().issue(&params);
            let private_key = PrivateKey::from_pkcs8_der(Zeroizing::new(svid.private_key));
            let chain = svid.chain;
            Ok(Arc::new(X509SvidMaterial { spiffe_id, chain, private_key, not_before, not_after }))
        })
    }

    fn mint_jwt_svid<'a>(
        &'a self,
        entry: &'a EntryId,
        audience: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<JwtSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.for_whom(entry).await?;
            let issued_at = self.clock.now();
            let expires_at = issued_at + *self.lifetime.lock().unwrap();
            let audience: Vec<_> = audience.iter().map(String::as_str).collect();
            let domain = Arc::clone(&self.domain.lock().unwrap());
            let token = domain.jwt_svid(&spiffe_id, &audience, expires_at);
            Ok(Arc::new(JwtSvidMaterial { spiffe_id, token, issued_at, expires_at }))
        })
    }

    fn mint_wit_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<WitSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.for_whom(entry).await?;
            let issued_at = self.clock.now();
            let expires_at = issued_at + *self.lifetime.lock().unwrap();
            let holder = HolderKey::generate().unwrap();
            let domain = Arc::clone(&self.domain.lock().unwrap());
            let token = domain.wit_svid(&spiffe_id, &holder, expires_at);
            let private_key = holder.to_private_jwk();
            Ok(Arc::new(WitSvidMaterial { spiffe_id, token, private_key, issued_at, expires_at }))
        })
    }
}
