//! For tests: a trust domain with a scratch authority, served on real sockets to this very process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_attest::{Attestation, Attestors, Peer, UnixAttestor, UnixAttestorConfig};
use marque_registry::{EntryId, EntryRole, EntrySource, NewEntry, Registry, TrustDomainFolder};
use marque_spiffe::{Clock, SelectorSet, SpiffeId};
use marque_testkit::{ScratchTrustDomain, TempDir};
use marque_workload::{
    BundleSet, Issuer, IssuerState, JwtSvidMaterial, PrivateKey, Stops, Workload, WorkloadError,
    X509SvidMaterial,
};
use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::serve::{Limits, ServeError};
use super::workload::{WorkloadDoor, serve_workload};
use crate::clock::SystemClock;

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

const DOCUMENT: &str = r#"
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
"#;

pub(super) struct Stage {
    pub(super) folder: TempDir,
    pub(super) scratch: Arc<ScratchTrustDomain>,
    pub(super) registry: Arc<Registry>,
    pub(super) attestors: Arc<Attestors>,
    state: watch::Sender<Arc<IssuerState>>,
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
        let folder = marque_testkit::temp_dir();
        std::fs::write(folder.path().join("trust-domain.toml"), DOCUMENT).unwrap();
        let loaded = TrustDomainFolder::load(folder.path()).unwrap();
        let registry = Arc::new(Registry::new(Arc::new(loaded.document), Vec::new()).unwrap());
        let scratch = ScratchTrustDomain::at("test.example.org", SystemClock.now());
        let (state, _) = watch::channel(Arc::new(IssuerState {
            registry: registry.snapshot(),
            bundles: Arc::new(BundleSet::new(scratch.bundle(), [])),
            stops: Stops::default(),
            epoch: 0,
        }));
        let unix = UnixAttestor::new(UnixAttestorConfig::default());
        let attestors = Arc::new(Attestors::new(vec![Box::new(unix)]));
        Self { folder, scratch: Arc::new(scratch), registry, attestors, state }
    }

    /// Registers an identity for the user that the test runs as.
    pub(super) fn register(&self, path: &str, role: EntryRole) -> SpiffeId {
        self.register_for(path, role, &format!("unix:uid:{}", Uid::effective()))
    }

    pub(super) fn register_for(&self, path: &str, role: EntryRole, selector: &str) -> SpiffeId {
        let spiffe_id = self.scratch.id(path);
        let entry = NewEntry {
            spiffe_id: spiffe_id.clone(),
            selectors: [selector.parse().unwrap()].into_iter().collect(),
            role,
            owner: "group:tests".parse().unwrap(),
            hint: Some(path.trim_start_matches('/').replace('/', "-").parse().unwrap()),
            x509_lifetime: None,
            jwt_lifetime: None,
            dns_names: Vec::new(),
            expires_at: None,
        };
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

    pub(super) fn kill(&self, agent: &SpiffeId) {
        self.push(|state| {
            state.stops.agents.insert(agent.clone());
            state.epoch += 1;
        });
    }

    pub(super) fn listen(&self, name: &str) -> (PathBuf, UnixListener) {
        let socket = self.folder.path().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        (socket, listener)
    }

    pub(super) fn serve_workload(&self, limits: Limits) -> Served {
        let (socket, listener) = self.listen("w.sock");
        let issuer = ScratchIssuer {
            scratch: Arc::clone(&self.scratch),
            registry: Arc::clone(&self.registry),
            state: self.state.subscribe(),
        };
        let workload = Arc::new(Workload::new(Arc::new(issuer), Arc::new(SystemClock)));
        let door = WorkloadDoor { attestors: Arc::clone(&self.attestors), workload };
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
}

impl ScratchIssuer {
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
            let spiffe_id = self.spiffe_id(entry)?;
            let audience: Vec<&str> = audience.iter().map(String::as_str).collect();
            let (issued_at, expires_at) = lifetime();
            let token = self.scratch.jwt_svid(&spiffe_id, &audience, expires_at);
            Ok(Arc::new(JwtSvidMaterial { spiffe_id, token, issued_at, expires_at }))
        })
    }
}

fn lifetime() -> (Timestamp, Timestamp) {
    let now = SystemClock.now();
    (now, now + Duration::from_secs(300))
}
