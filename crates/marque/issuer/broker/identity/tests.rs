use std::sync::Mutex;

use marque_registry::{Registry, TrustDomainDocument};
use marque_testkit::{FixedClock, START, ScratchTrustDomain};
use marque_workload::{BundleSet, PrivateKey, Stops};
use tokio::task::JoinHandle;

use super::*;

const DOCUMENT: &str = include_str!("../../../../registry/folder/tests/trust-domain.toml");
/// How long the scratch authority's SVIDs last.
const LIFE: Duration = Duration::from_secs(3600);

/// Mints by a scratch authority that may be replaced, or refuse.
#[derive(Debug)]
struct Scratch {
    authority: Mutex<Arc<ScratchTrustDomain>>,
    clock: FixedClock,
    refuses: Mutex<bool>,
    minted: watch::Sender<usize>,
    state: watch::Sender<Arc<IssuerState>>,
}

impl Scratch {
    fn new() -> Arc<Self> {
        let authority = Arc::new(ScratchTrustDomain::new("example.org"));
        let document = TrustDomainDocument::parse("t".as_ref(), DOCUMENT).unwrap();
        let registry = Registry::new(Arc::new(document), Vec::new()).unwrap();
        let state = IssuerState {
            registry: registry.snapshot(),
            bundles: Arc::new(BundleSet::new(authority.bundle(), [])),
            stops: Stops::default(),
            epoch: 0,
        };
        Arc::new(Self {
            authority: Mutex::new(authority),
            clock: FixedClock::default(),
            refuses: Mutex::new(false),
            minted: watch::Sender::new(0),
            state: watch::Sender::new(Arc::new(state)),
        })
    }

    /// Keeps an identity until the test is over.
    async fn keep(self: &Arc<Self>) -> (Arc<ServerCertificate>, JoinHandle<Infallible>) {
        let id = self.authority.lock().unwrap().id("/marque/broker");
        let clock = Arc::new(self.clock.clone());
        let identity = Identity::begin(id, Arc::clone(self) as _, clock).await.unwrap();
        let certificate = Arc::clone(identity.certificate());
        (certificate, tokio::spawn(identity.keep(CancellationToken::new())))
    }

    async fn has_tried(&self, times: usize) {
        self.minted.subscribe().wait_for(|minted| *minted == times).await.unwrap();
    }

    async fn sleeps(&self) {
        while self.clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl EndpointIssuer for Scratch {
    fn mint<'a>(
        &'a self,
        spiffe_id: &'a SpiffeId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        let outcome = if *self.refuses.lock().unwrap() {
            Err(WorkloadError::Unavailable)
        } else {
            let svid = self.authority.lock().unwrap().x509_svid(spiffe_id);
            Ok(Arc::new(X509SvidMaterial {
                spiffe_id: spiffe_id.clone(),
                chain: svid.chain,
                private_key: PrivateKey::from_pkcs8_der(svid.private_key.into()),
                not_before: START,
                not_after: self.clock.now() + LIFE,
            }))
        };
        self.minted.send_modify(|minted| *minted += 1);
        Box::pin(std::future::ready(outcome))
    }

    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.subscribe()
    }
}

#[tokio::test]
async fn the_endpoints_svid_is_replaced_at_half_its_life_and_not_before() {
    let issuer = Scratch::new();
    let (certificate, _keeping) = issuer.keep().await;
    let first = certificate.shown().unwrap();
    issuer.sleeps().await;
    issuer.clock.set(START + LIFE / 2 - Duration::from_secs(1));
    issuer.sleeps().await;
    assert_eq!(certificate.shown().unwrap(), first);
    issuer.clock.set(START + LIFE / 2);
    issuer.has_tried(2).await;
    issuer.sleeps().await;
    assert_ne!(certificate.shown().unwrap(), first);
}

#[tokio::test]
async fn a_failure_to_mint_leaves_the_svid_that_is_there_and_is_tried_again() {
    let issuer = Scratch::new();
    let (certificate, _keeping) = issuer.keep().await;
    let first = certificate.shown().unwrap();
    *issuer.refuses.lock().unwrap() = true;
    issuer.sleeps().await;
    issuer.clock.set(START + LIFE / 2);
    issuer.has_tried(2).await;
    assert_eq!(certificate.shown().unwrap(), first);
    *issuer.refuses.lock().unwrap() = false;
    issuer.sleeps().await;
    issuer.clock.advance(RETRY);
    issuer.has_tried(3).await;
    issuer.sleeps().await;
    assert_ne!(certificate.shown().unwrap(), first);
}

#[tokio::test]
async fn an_svid_that_ended_or_lost_its_authority_is_not_shown_any_more() {
    let issuer = Scratch::new();
    let (certificate, _keeping) = issuer.keep().await;
    *issuer.refuses.lock().unwrap() = true;
    issuer.sleeps().await;
    issuer.clock.set(START + LIFE + Duration::from_secs(1));
    issuer.has_tried(2).await;
    assert!(certificate.shown().is_none());

    let issuer = Scratch::new();
    let (certificate, _keeping) = issuer.keep().await;
    let first = certificate.shown().unwrap();
    issuer.sleeps().await;
    let next = Arc::new(ScratchTrustDomain::new("example.org"));
    *issuer.authority.lock().unwrap() = Arc::clone(&next);
    issuer.state.send_modify(|state| {
        let bundles = Arc::new(BundleSet::new(next.bundle(), []));
        *state = Arc::new(IssuerState { bundles, ..(**state).clone() });
    });
    issuer.has_tried(2).await;
    issuer.sleeps().await;
    assert_ne!(certificate.shown().unwrap(), first);
}
