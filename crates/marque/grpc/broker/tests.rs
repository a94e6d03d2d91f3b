//! The Broker API over real sockets, real TLS and real processes.

mod client;
mod handshake;
mod leaving;
mod lifetime;
mod permission;
mod workloads;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use marque_attest::{
    AttestError, Attestors, KubernetesObject, ObjectAttestor, UnixAttestor, UnixAttestorConfig,
};
use marque_audit::{Event, LogStore as _};
use marque_registry::{EntryRole, TrustDomainDocument};
use marque_spiffe::{Clock as _, SelectorSet, SpiffeId};
use marque_testkit::{FixedClock, MemoryLog};
use marque_workload::Profiles;
use prost::Message;
use prost_types::Any;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use self::client::{Identity, Raw, raw};
use super::super::live::LiveLimits;
use super::super::offer::Offer;
use super::super::proto::broker as proto;
use super::super::serve::{Ending, Limits};
use super::super::stage::{DOCUMENT, PATIENCE, Stage};
use super::super::svid_tls::ServerCertificate;
use super::{AllowList, BrokerDoor, BrokerServeError, serve_broker};
use crate::clock::SystemClock;

const AUDIENCE: &str = "https://api.example.org";
const SUPERVISOR: &str = "/service/supervisor";
const ENDPOINT: &str = "/marque/broker";
/// How many calls a broker may have open here.
const CALLS: u32 = 5;
/// A user that nobody is.
const NOBODY: &str = "unix:uid:4294967290";

const BROKERS: &str = r#"
[[brokers]]
spiffe_id = "spiffe://test.example.org/service/supervisor"
references = ["pid", "kubernetes"]
identities = ["spiffe://test.example.org/agent/*"]
audiences = ["https://api.example.org"]

[[brokers]]
spiffe_id = "spiffe://test.example.org/service/podman"
references = ["kubernetes"]
identities = ["spiffe://test.example.org/agent/*"]
"#;

/// A trust domain whose brokers are served.
pub(super) struct Scene {
    stage: Stage,
    clock: FixedClock,
    log: Arc<MemoryLog>,
    pods: Arc<FakePods>,
    certificate: Arc<ServerCertificate>,
    brokers: AllowList,
    limits: LiveLimits,
    socket: PathBuf,
    shutdown: CancellationToken,
    ending: Ending,
    serving: JoinHandle<Result<(), BrokerServeError>>,
}

impl Scene {
    fn new() -> Self {
        Self::serving(Profiles::ALL)
    }

    fn serving(profiles: Profiles) -> Self {
        let stage = Stage::new();
        let document = TrustDomainDocument::parse("t".as_ref(), &format!("{DOCUMENT}{BROKERS}"));
        let (socket, listener) = stage.listen("b.sock");
        let clock = FixedClock::new(SystemClock.now());
        let (log, pods) =
            (Arc::new(MemoryLog::of("test.example.org")), Arc::new(FakePods::default()));
        let unix = UnixAttestor::new(UnixAttestorConfig::default());
        let attestors = Attestors::new(vec![Box::new(unix)]).with_objects(Arc::clone(&pods) as _);
        let certificate = Arc::new(ServerCertificate::default());
        let limits = LiveLimits::from(Limits { calls_per_broker: CALLS, ..Limits::default() });
        let brokers = AllowList::new(document.unwrap().brokers(), stage.workload(), limits.clone());
        let door = BrokerDoor {
            attestors: Arc::new(attestors),
            offer: Offer { profiles, envoy_sds: false }.into(),
            brokers: brokers.clone(),
            state: stage.state(),
            sharing: Arc::clone(&stage.sharing),
            denials: Arc::clone(&stage.denials),
            log: Arc::clone(&log) as _,
            clock: Arc::new(clock.clone()),
            certificate: Arc::clone(&certificate),
        };
        let shutdown = CancellationToken::new();
        let ending = Ending::from(shutdown.clone());
        let serving = tokio::spawn(serve_broker(listener, door, limits.clone(), ending.clone()));
        let scene = Self {
            stage,
            clock,
            log,
            pods,
            certificate,
            brokers,
            limits,
            socket,
            shutdown,
            ending,
            serving,
        };
        scene.show_new_certificate();
        for path in [SUPERVISOR, "/service/podman"] {
            scene.stage.register_for(path, EntryRole::Service, NOBODY);
        }
        scene
    }

    /// Puts another list of brokers in force.
    fn list(&self, brokers: &str) {
        let document = TrustDomainDocument::parse("t".as_ref(), &format!("{DOCUMENT}{brokers}"));
        self.brokers.go_by(document.unwrap().brokers());
    }

    /// The endpoint's own SVID, minted anew.
    fn show_new_certificate(&self) {
        let issued = self.stage.scratch.x509_svid(&self.id(ENDPOINT));
        self.certificate.show(&client::material(self.id(ENDPOINT), &issued)).unwrap();
    }

    fn id(&self, path: &str) -> SpiffeId {
        self.stage.scratch.id(path)
    }

    /// An SVID of the trust domain, for a client.
    fn identity(&self, path: &str) -> Identity {
        Identity::from(self.stage.scratch.x509_svid(&self.id(path)))
    }

    /// A client with the SVID of this path.
    async fn client(&self, path: &str) -> Raw {
        raw(self, Some(self.identity(path)), client::proper).await.unwrap()
    }

    async fn supervisor(&self) -> Raw {
        self.client(SUPERVISOR).await
    }

    /// Registers an identity for the processes that [`child`] starts.
    fn register_child(&self, path: &str) -> SpiffeId {
        let sleep = std::fs::canonicalize("/bin/sleep").unwrap();
        self.stage.register_for(path, EntryRole::Agent, &format!("unix:path:{}", sleep.display()))
    }

    /// What brokers were given, as the log has it.
    fn given(&self) -> Vec<Event> {
        let leaves = self.log.leaves(0, 1000).now_or_never().unwrap().unwrap();
        leaves.iter().map(|leaf| leaf.event().clone()).collect()
    }
}

/// A workload that a supervisor has started.
fn child() -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("1000").stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap()
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id().unwrap()).unwrap()
}

/// A reference to a process.
fn pid(pid: i32) -> Option<proto::WorkloadReference> {
    of_type("spiffe.broker.WorkloadPIDReference", &proto::WorkloadPidReference { pid })
}

/// A reference to a pod by what is not empty.
fn pod(namespace: &str, name: &str, uid: &str) -> Option<proto::WorkloadReference> {
    let kind = proto::KubernetesObjectType { plural: "pods".to_owned(), group: "core".to_owned() };
    let key = proto::KubernetesObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
    let reference = proto::KubernetesObjectReference {
        r#type: Some(kind),
        key: (!name.is_empty()).then_some(key),
        uid: uid.to_owned(),
    };
    of_type("spiffe.broker.KubernetesObjectReference", &reference)
}

fn of_type(name: &str, message: &impl Message) -> Option<proto::WorkloadReference> {
    let type_url = format!("type.googleapis.com/{name}");
    let reference = Some(Any { type_url, value: message.encode_to_vec() });
    Some(proto::WorkloadReference { reference })
}

/// The reason that a status gives, of the domain that the standard names.
fn reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    assert_eq!(info.domain, "spiffe.io");
    Some(info.reason)
}

/// What a refusal is about: its code, and its reason or else its stable code.
fn told(status: &Status) -> (Code, String) {
    let stable = status.metadata().get(crate::error::CODE_METADATA);
    let stable = stable.map(|code| code.to_str().unwrap().to_owned());
    (status.code(), reason(status).or(stable).unwrap_or_default())
}

/// A kubelet with at most one pod, `shop/cart`.
#[derive(Debug, Default)]
struct FakePods(Mutex<Option<(String, SelectorSet)>>);

impl FakePods {
    fn run(&self, uid: &str) {
        let selectors = ["k8s:ns:shop".to_owned(), format!("k8s:pod-uid:{uid}")];
        let selectors = selectors.iter().map(|text| text.parse().unwrap()).collect();
        *self.0.lock().unwrap() = Some((uid.to_owned(), selectors));
    }

    fn stop(&self) {
        *self.0.lock().unwrap() = None;
    }
}

impl ObjectAttestor for FakePods {
    fn object_selectors<'a>(
        &'a self,
        object: &'a KubernetesObject,
    ) -> BoxFuture<'a, Result<Option<SelectorSet>, AttestError>> {
        assert_eq!((object.resource.as_str(), object.group.as_str()), ("pods", ""));
        let named = object.name.is_empty()
            || (object.namespace.as_str(), object.name.as_str()) == ("shop", "cart");
        let running = self.0.lock().unwrap().clone();
        let found = running
            .filter(|(uid, _)| named && (object.uid.is_empty() || object.uid == *uid))
            .map(|(_, selectors)| selectors);
        Box::pin(std::future::ready(Ok(found)))
    }
}
