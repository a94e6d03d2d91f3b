//! Ours: the daemon's own edge, attestation and workload room, over an issuer in memory. What is left out is what no
//! figure here touches: the store, the log and the sealed keys.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque::clock::SystemClock;
use marque::grpc::offer::Offer;
use marque::grpc::serve::Limits;
use marque::grpc::workload::{WorkloadDoor, serve_workload};
use marque::identities::{Denials, SharedIdentities};
use marque_attest::{Attestors, FRESH_FOR, UnixAttestor, UnixAttestorConfig};
use marque_jose::{CompactToken, HolderKey};
use marque_registry::{Entry, EntryId, EntrySource, NewEntry, Registry, TrustDomainDocument};
use marque_spiffe::{Bundle, Clock as _, SpiffeId};
use marque_testkit::{MemoryLog, ScratchTrustDomain};
use marque_workload::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Profiles, Stops, WitSvidMaterial,
    Workload, WorkloadError, X509SvidMaterial,
};
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::child::{commands, say};

pub(crate) const PART: &str = "marque";

const TRUST_DOMAIN: &str = "dev.example.org";
const DOCUMENT: &str = include_str!("../../trust-domains/dev.example.org/trust-domain.toml");
const LIFETIME: Duration = Duration::from_secs(3600);

/// The identity of everybody who runs as this user.
pub(crate) fn own_id() -> SpiffeId {
    format!("spiffe://{TRUST_DOMAIN}/agent/bench").parse().expect("a SPIFFE ID")
}

/// Serves until the standard input ends. A line there changes the bundle.
pub(crate) async fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the socket");
    let uid = format!("unix:uid:{}", nix::unistd::geteuid());
    let scratch = Arc::new(Scratch::with(vec![entry("bench", &[&uid])]));
    let unix = UnixAttestor::new(UnixAttestorConfig::default());
    let registry = &scratch.registry;
    let clock: Arc<dyn marque_spiffe::Clock> = Arc::new(SystemClock);
    let log = Arc::new(MemoryLog::of(TRUST_DOMAIN));
    let door = WorkloadDoor {
        sharing: Arc::new(SharedIdentities::new(Arc::clone(registry), log, Arc::clone(&clock))),
        denials: Arc::new(Denials::new(Arc::clone(registry), clock)),
        attestors: Arc::new(Attestors::new(vec![Box::new(unix)]).fresh_for(FRESH_FOR)),
        workload: Arc::new(scratch.workload()),
        offer: Offer { profiles: Profiles::ALL, envoy_sds: false }.into(),
    };
    // One user does here what many do elsewhere.
    let limits = Limits {
        connections: 100_000,
        connections_per_uid: 100_000,
        calls: 100_000,
        calls_per_uid: 100_000,
        requests_per_second_per_uid: 1_000_000,
        request_burst_per_uid: 1_000_000,
        ..Limits::default()
    };
    tokio::spawn(serve_workload(listener, door, limits, CancellationToken::new()));
    say("ready");
    let mut commands = commands();
    while commands.next_line().await.expect("a line").is_some() {
        scratch.change_bundle();
    }
}

/// A trust domain in memory.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) domain: ScratchTrustDomain,
    pub(crate) registry: Arc<Registry>,
    state: watch::Sender<Arc<IssuerState>>,
    /// A second authority, which comes and goes.
    second: ScratchTrustDomain,
    changes: Mutex<u64>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(crate) fn with(entries: Vec<Entry>) -> Self {
        let document = TrustDomainDocument::parse("bench".as_ref(), DOCUMENT).expect("a document");
        let registry = Registry::new(Arc::new(document), entries).expect("good entries");
        let now = SystemClock.now();
        let domain = ScratchTrustDomain::at(TRUST_DOMAIN, now);
        let (state, _) = watch::channel(Arc::new(IssuerState {
            registry: registry.snapshot(),
            bundles: Arc::new(BundleSet::new(domain.bundle(), [])),
            stops: Stops::default(),
            epoch: 0,
        }));
        let second = ScratchTrustDomain::at(TRUST_DOMAIN, now);
        Self { domain, registry: Arc::new(registry), state, second, changes: Mutex::new(0) }
    }

    pub(crate) fn workload(self: &Arc<Self>) -> Workload {
        Workload::new(Arc::clone(self) as _, Arc::new(SystemClock))
    }

    /// Hands on the entries as they are now.
    pub(crate) fn publish(&self) {
        self.publish_with(|_| ());
    }

    pub(crate) fn jwt_svid(&self, spiffe_id: &SpiffeId, audience: &[&str]) -> CompactToken {
        self.domain.jwt_svid(spiffe_id, audience, SystemClock.now() + LIFETIME)
    }

    fn change_bundle(&self) {
        let changes = {
            let mut changes = self.changes.lock().expect("no panic");
            *changes += 1;
            *changes
        };
        let own = self.domain.bundle();
        let mut next = Bundle::builder(own.trust_domain().clone()).sequence(changes);
        let second = (changes % 2 == 1).then(|| self.second.root().certificate().clone());
        for certificate in own.x509_authorities().iter().cloned().chain(second) {
            next = next.x509_authority(certificate).expect("an authority");
        }
        let next = Arc::new(next.build());
        self.publish_with(|state| state.bundles = Arc::new(BundleSet::new(next, [])));
    }

    fn publish_with(&self, change: impl FnOnce(&mut IssuerState)) {
        self.state.send_modify(|state| {
            let mut next = IssuerState::clone(state);
            next.registry = self.registry.snapshot();
            change(&mut next);
            *state = Arc::new(next);
        });
    }

    fn spiffe_id(&self, entry: &EntryId) -> SpiffeId {
        self.registry.snapshot().entry(entry).expect("an entry").spiffe_id().clone()
    }
}

/// An agent's entry for whoever has all these selectors.
pub(crate) fn entry(name: &str, selectors: &[&str]) -> Entry {
    let new: NewEntry = serde_json::from_value(json!({
        "spiffe_id": format!("spiffe://{TRUST_DOMAIN}/agent/{name}"),
        "selectors": selectors,
        "role": "agent",
        "owner": "group:bench",
    }))
    .expect("an entry");
    new.into_entry(name.parse().expect("an id"), EntrySource::Admin).expect("an entry")
}

impl Issuer for Scratch {
    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.subscribe()
    }

    fn mint_x509_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.spiffe_id(entry);
            let svid = self.domain.x509_svid(&spiffe_id);
            let (not_before, not_after) = lifetime();
            Ok(Arc::new(X509SvidMaterial {
                spiffe_id,
                chain: svid.chain,
                private_key: PrivateKey::from_pkcs8_der(svid.private_key.into()),
                not_before,
                not_after,
            }))
        })
    }

    fn mint_jwt_svid<'a>(
        &'a self,
        entry: &'a EntryId,
        audience: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<JwtSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.spiffe_id(entry);
            let audience: Vec<&str> = audience.iter().map(String::as_str).collect();
            let token = self.jwt_svid(&spiffe_id, &audience);
            let (issued_at, expires_at) = lifetime();
            Ok(Arc::new(JwtSvidMaterial { spiffe_id, token, issued_at, expires_at }))
        })
    }

    fn mint_wit_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<WitSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.spiffe_id(entry);
            let (issued_at, expires_at) = lifetime();
            let holder = HolderKey::generate().expect("a key");
            let token = self.domain.wit_svid(&spiffe_id, &holder, expires_at);
            let private_key = holder.to_private_jwk();
            Ok(Arc::new(WitSvidMaterial { spiffe_id, token, private_key, issued_at, expires_at }))
        })
    }
}

fn lifetime() -> (Timestamp, Timestamp) {
    let now = SystemClock.now();
    (now, now + LIFETIME)
}
