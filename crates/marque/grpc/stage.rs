//! For tests: a trust domain with a scratch authority, served on real sockets to this very process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_attest::{Attestation, Attestors, Peer, UnixAttestor, UnixAttestorConfig};
use marque_jose::HolderKey;
use marque_registry::{
    DelegateRights, EntryId, EntryRole, EntrySource, NewEntry, Registry, TrustDomainFolder,
};
use marque_spiffe::{Clock, SelectorSet, SpiffeId};
use marque_testkit::{MemoryLog, ScratchTrustDomain, TempDir};
use marque_workload::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Profiles, Stops, WitSvidMaterial,
    Workload, WorkloadError, X509SvidMaterial,
};
use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::offer::Offer;
use super::serve::{Limits, ServeError};
use super::workload::{WorkloadDoor, serve_workload};
use crate::clock::SystemClock;
use crate::identities::{Denials, SharedIdentities};

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const DOCUMENT: &str = r#"
name = "test.example.org"
environment = "non-production"
tenant = "example"

[lifetimes]
authority = "30d"
x509_svid = "1h"
jwt_svid = "5m"
refresh_hint = "5m"

[issuer]
listen = "127.0.0.1:0"

[tokens]
max_lifetime = "10m"

[[operators]]
uid = 4294967290
groups = ["sre"]

[[federation]]
trust_domain = "partner.example.org"
environment = "non-production"
bundle = "partner.json"

[[federation]]
trust_domain = "stranger.example.org"
environment = "non-production"
bundle = "stranger.json"
"#;

pub(super) struct Stage {
    pub(super) folder: TempDir,
    pub(super) scratch: Arc<ScratchTrustDomain>,
    /// A trust domain that entries may federate with. There is another one, `stranger.example.org`.
    pub(super) partner: ScratchTrustDomain,
    pub(super) registry: Arc<Registry>,
    pub(super) attestors: Arc<Attestors>,
    pub(super) log: Arc<MemoryLog>,
    pub(super) sharing: Arc<SharedIdentities>,
    pub(super) denials: Arc<Denials>,
    state: watch::Sender<Arc<IssuerState>>,
    /// How long SVIDs live, in seconds.
    lifetime: Arc<AtomicU64>,
    began: Timestamp,
}

/// A socket that is being served.
pub(super) struct Served {
    pub(super) socket: PathBuf,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    /// The socket as the environment would name it.
    pub(super) fn endpoint(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let unix = UnixAttestor::new(UnixAttestorConfig::default());
        Self::with("", Attestors::new(vec![Box::new(unix)]))
    }

    /// With more in the document, and attestors of the test's own.
    pub(super) fn with(sections: &str, attestors: Attestors) -> Self {
        let folder = marque_testkit::temp_dir();
        let document = format!("{DOCUMENT}\n{sections}");
        std::fs::write(folder.path().join("trust-domain.toml"), document).unwrap();
        let at = |name: &str| ScratchTrustDomain::at(name, SystemClock.now());
        let (partner, stranger) = (at("partner.example.org"), at("stranger.example.org"));
        for (file, other) in [("partner.json", &partner), ("stranger.json", &stranger)] {
            let document = other.bundle().to_document().to_string();
            std::fs::write(folder.path().join(file), document).unwrap();
        }
        let loaded = TrustDomainFolder::load(folder.path()).unwrap();
        let federated = loaded.federated;
        let registry = Arc::new(Registry::new(Arc::new(loaded.document), Vec::new()).unwrap());
        let began = SystemClock.now();
        let scratch = ScratchTrustDomain::at("test.example.org", began);
        let (state, _) = watch::channel(Arc::new(IssuerState {
            registry: registry.snapshot(),
            bundles: Arc::new(BundleSet::new(scratch.bundle(), federated)),
            stops: Stops::default(),
            epoch: 0,
        }));
        let log = Arc::new(MemoryLog::of("test.example.org"));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sharing =
            SharedIdentities::new(Arc::clone(&registry), Arc::clone(&log) as _, Arc::clone(&clock));
        let denials = Denials::new(Arc::clone(&registry), clock);
        Self {
            folder,
            scratch: Arc::new(scratch),
            attestors: Arc::new(attestors),
            log,
            sharing: Arc::new(sharing),
            denials: Arc::new(denials),
            registry,
            partner,
            state,
            lifetime: Arc::new(AtomicU64::new(300)),
            began,
        }
    }

    /// Registers an identity for the user that the test runs as.
    pub(super) fn register(&self, path: &str, role: EntryRole) -> SpiffeId {
        self.register_for(path, role, &format!("unix:uid:{}", Uid::effective()))
    }

    /// The same, for an identity that gets the bundles of these trust domains, too.
    pub(super) fn register_federating(&self, path: &str, with: &[&str]) -> SpiffeId {
        let federates_with = with.iter().map(|name| name.parse().unwrap()).collect();
        self.add(path, NewEntry { federates_with, ..self.entry(path) })
    }

    /// The same, with this hint.
    pub(super) fn register_hinted(&self, path: &str, hint: Option<&str>) -> SpiffeId {
        let hint = hint.map(|hint| hint.parse().unwrap());
        self.add(path, NewEntry { hint, ..self.entry(path) })
    }

    pub(super) fn register_for(&self, path: &str, role: EntryRole, selector: &str) -> SpiffeId {
        let selectors = [selector.parse().unwrap()].into_iter().collect();
        self.add(path, NewEntry { role, selectors, ..self.entry(path) })
    }

    fn entry(&self, path: &str) -> NewEntry {
        let selector = format!("unix:uid:{}", Uid::effective());
        NewEntry {
            spiffe_id: self.scratch.id(path),
            selectors: [selector.parse().unwrap()].into_iter().collect(),
            role: EntryRole::Agent,
            owner: "group:tests".parse().unwrap(),
            hint: Some(path.trim_start_matches('/').replace('/', "-").parse().unwrap()),
            x509_lifetime: None,
            jwt_lifetime: None,
            dns_names: Vec::new(),
            federates_with: BTreeSet::new(),
            repository: None,
            audiences: BTreeSet::new(),
            delegation: DelegateRights::default(),
            expires_at: Some(Timestamp::MAX),
        }
    }

    fn add(&self, path: &str, entry: NewEntry) -> SpiffeId {
        let spiffe_id = entry.spiffe_id.clone();
        let entry = entry.into_entry(entry_id(path), EntrySource::Admin).unwrap();
        self.registry.add(entry).unwrap();
        self.push(|_| ());
        spiffe_id
    }

    pub(super) fn deregister(&self, path: &str) {
        self.registry.remove(&entry_id(path)).unwrap().unwrap();
        self.push(|_| ());
    }

    /// Hands a new state to the workload room, with the entries of now.
    pub(super) fn push(&self, change: impl FnOnce(&mut IssuerState)) {
        self.state.send_modify(|state| {
            let mut next = IssuerState {
                registry: self.registry.snapshot(),
                bundles: Arc::clone(&state.bundles),
                stops: state.stops.clone(),
                epoch: state.epoch,
            };
            change(&mut next);
            *state = Arc::new(next);
        });
    }

    /// From now on SVIDs live this long.
    pub(super) fn set_lifetime(&self, lifetime: Duration) {
        self.lifetime.store(lifetime.as_secs(), Ordering::Relaxed);
    }

    pub(super) fn kill(&self, agent: &SpiffeId) {
        self.push(|state| {
            state.stops.agents.insert(agent.clone());
            state.epoch += 1;
        });
    }

    /// What callers are entitled to.
    pub(super) fn workload(&self) -> Workload {
        let issuer = ScratchIssuer {
            scratch: Arc::clone(&self.scratch),
            registry: Arc::clone(&self.registry),
            state: self.state.subscribe(),
            lifetime: Arc::clone(&self.lifetime),
        };
        Workload::new(Arc::new(issuer), Arc::new(SystemClock))
    }

    /// The last second of what the scratch authority issues for this stage.
    pub(super) fn scratch_end(&self) -> Timestamp {
        Timestamp::from_second(self.began.as_second() + 3600).unwrap()
    }

    /// The issuer's state as it changes.
    pub(super) fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.subscribe()
    }

    pub(super) fn listen(&self, name: &str) -> (PathBuf, UnixListener) {
        let socket = self.folder.path().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        (socket, listener)
    }

    pub(super) fn serve_workload(&self, limits: Limits) -> Served {
        self.serve_door(limits, Profiles::ALL, true)
    }

    /// As [`Stage::serve_workload`], with these profiles alone.
    pub(super) fn serve_profiles(&self, limits: Limits, profiles: Profiles) -> Served {
        self.serve_door(limits, profiles, true)
    }

    /// The same, where Envoy's secret discovery service is switched off.
    pub(super) fn serve_without_sds(&self) -> Served {
        self.serve_door(Limits::default(), Profiles::ALL, false)
    }

    fn serve_door(&self, limits: Limits, profiles: Profiles, envoy_sds: bool) -> Served {
        let (socket, listener) = self.listen("w.sock");
        let workload = Arc::new(self.workload());
        let door = WorkloadDoor {
            attestors: Arc::clone(&self.attestors),
            workload,
            offer: Offer { profiles, envoy_sds }.into(),
            sharing: Arc::clone(&self.sharing),
            denials: Arc::clone(&self.denials),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve_workload(listener, door, limits, shutdown.clone()));
        Served { socket, shutdown, task }
    }

    /// What the test process itself and its ancestors attest as, itself first.
    pub(super) async fn own_lineage(&self) -> Vec<Attestation> {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        self.attestors.attest_lineage(&Peer::capture(&theirs).unwrap()).await.unwrap()
    }
}

/// An entry's id from its path: one of each.
pub(super) fn entry_id(path: &str) -> EntryId {
    path.trim_start_matches('/').replace('/', "-").parse().unwrap()
}

/// A selector that only `one` of the two has.
pub(super) fn distinguishing(one: &SelectorSet, other: &SelectorSet) -> Option<String> {
    one.iter()
        .find(|selector| !other.iter().any(|found| found == *selector))
        .map(ToString::to_string)
}

#[derive(Debug)]
struct ScratchIssuer {
    scratch: Arc<ScratchTrustDomain>,
    registry: Arc<Registry>,
    state: watch::Receiver<Arc<IssuerState>>,
    lifetime: Arc<AtomicU64>,
}

impl ScratchIssuer {
    fn times(&self) -> (Timestamp, Timestamp) {
        let now = SystemClock.now();
        (now, now + Duration::from_secs(self.lifetime.load(Ordering::Relaxed)))
    }

    fn spiffe_id(&self, entry: &EntryId) -> Result<SpiffeId, WorkloadError> {
        let snapshot = self.registry.snapshot();
        snapshot
            .entry(entry)
            .map(|entry| entry.spiffe_id().clone())
            .ok_or(WorkloadError::NotEntitled)
    }
}

impl Issuer for ScratchIssuer {
    fn state(&self) -> watch::Receiver<Arc<IssuerState>> {
        self.state.clone()
    }

    fn mint_x509_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<X509SvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.spiffe_id(entry)?;
            let mut params = self.scratch.leaf_params(&spiffe_id);
            // The crates.io client wants the extension to be there.
            params.is_ca = marque_testkit::rcgen::IsCa::ExplicitNoCa;
            let svid = self.scratch.root().issue(&params);
            let (not_before, not_after) = self.times();
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
            let spiffe_id = self.spiffe_id(entry)?;
            let audience: Vec<&str> = audience.iter().map(String::as_str).collect();
            let (issued_at, expires_at) = self.times();
            let token = self.scratch.jwt_svid(&spiffe_id, &audience, expires_at);
            Ok(Arc::new(JwtSvidMaterial { spiffe_id, token, issued_at, expires_at }))
        })
    }

    fn mint_wit_svid<'a>(
        &'a self,
        entry: &'a EntryId,
    ) -> BoxFuture<'a, Result<Arc<WitSvidMaterial>, WorkloadError>> {
        Box::pin(async move {
            let spiffe_id = self.spiffe_id(entry)?;
            let (issued_at, expires_at) = self.times();
            let holder = HolderKey::generate().unwrap();
            let token = self.scratch.wit_svid(&spiffe_id, &holder, expires_at);
            let private_key = holder.to_private_jwk();
            Ok(Arc::new(WitSvidMaterial { spiffe_id, token, private_key, issued_at, expires_at }))
        })
    }
}
