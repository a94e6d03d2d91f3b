//! Agents in containers: real processes in real cgroups, the real daemon, and a container engine and a kubelet that speak
//! their real APIs. Skipped where no cgroup can be made.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION};
use crate::support::programs::copy_of_this_program;
use crate::support::wait::until;

const PROGRAM: &str = "agent-in-a-container";
const POD: &str = "6f1c0a52-9d3e-4b7a-8c21-5e0f7a9b3d14";

/// A cgroup as an engine makes them, gone with the test.
struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the folders of `names`, one in the other, in a hierarchy that no controller is in the way of.
    fn make(names: &[&str]) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let usable = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (at, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let named = kind == "cgroup" && options.contains("name=systemd");
            (kind == "cgroup2" || named).then_some(at)
        });
        for mount in usable {
            let mut folder = PathBuf::from(mount);
            let mut folders = Vec::new();
            for name in names {
                folder.push(name);
                folders.push(folder.clone());
            }
            if fs::create_dir_all(&folder).is_ok() {
                return Some(Self { folders });
            }
        }
        eprintln!("skipped: no cgroup can be made here");
        None
    }

    fn take(&self, workload: &Workload) {
        let file = self.folders.last().unwrap().join("cgroup.procs");
        fs::write(file, workload.pid().to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Others' containers may be beside ours: what is not empty stays.
        for folder in self.folders.iter().rev() {
            for _ in 0..10_000 {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                        std::thread::yield_now()
                    }
                    _done => break,
                }
            }
        }
    }
}

/// An id that no other test run has.
fn container_id(last: u8) -> String {
    format!("{:0>62x}{last:02x}", std::process::id())
}

/// A daemon whose development trust domain has `attestation`, and an entry for one selector.
async fn daemon(attestation: &str, selector: &str) -> Daemon {
    Daemon::start_with(|folder| {
        let folder = folder.join(NON_PRODUCTION);
        let document = folder.join("trust-domain.toml");
        let text = fs::read_to_string(&document).unwrap();
        fs::write(document, format!("{text}\n{attestation}\n")).unwrap();
        let entry = format!(
            "[[entry]]\nid = \"contained\"\nspiffe_id = \"spiffe://{NON_PRODUCTION}/agent/contained\"\n\
             role = \"agent\"\nowner = \"group:platform-dev\"\nexpires_at = \"2031-01-01T00:00:00Z\"\nselectors = [\"{selector}\"]\n"
        );
        fs::write(folder.join("entries/contained.toml"), entry).unwrap();
    })
    .await
}

fn start(daemon: &Daemon) -> Workload {
    Workload::start(&copy_of_this_program(PROGRAM), daemon.place(NON_PRODUCTION))
}

/// Waits for what follows a change: on one connection, what was found is believed for a moment.
async fn becomes_contained(workload: &mut Workload) {
    let svid =
        until("the identity of the container", async || workload.x509_svid().await.ok()).await;
    assert_eq!(svid["id"], format!("spiffe://{NON_PRODUCTION}/agent/contained"));
}

/// As above; until then the workload may get what it got before.
async fn becomes_refused(workload: &mut Workload, why: &str) {
    until(why, async || workload.x509_svid().await.err().filter(|told| told.contains(why))).await;
}

async fn is_refused(workload: &mut Workload, why: &str) {
    let told = workload.x509_svid().await.unwrap_err();
    assert!(told.contains(why), "{told}");
}

/// Docker as far as it is asked: one container, whose main process may change.
fn engine(socket: &Path, id: String, main: Arc<AtomicI32>) -> JoinHandle<()> {
    let inspect = move |path: axum::extract::Path<String>| {
        std::future::ready(inspected(&path.0, &id, main.load(Ordering::SeqCst)))
    };
    let router = Router::new().route("/containers/{id}/json", get(inspect));
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

fn inspected(asked: &str, id: &str, main: i32) -> (StatusCode, Json<Value>) {
    if asked != id {
        return (StatusCode::NOT_FOUND, Json(json!({ "message": "No such container" })));
    }
    let container = json!({
        "Id": id,
        "Image": format!("sha256:{}", "9f".repeat(32)),
        "State": { "Status": "running", "Running": true, "Pid": main, "StartedAt": "2026-11-20T09:15:01Z" },
        "Config": {
            "Image": "registry.example.org/agents/build:1.4",
            "Env": ["AGENT_ROLE=build"],
            "Labels": { "org.example.team": "platform" },
        },
    });
    (StatusCode::OK, Json(container))
}

#[tokio::test]
async fn an_agent_in_a_docker_container_has_what_its_labels_earn_and_one_outside_has_nothing() {
    let id = container_id(1);
    let Some(cgroup) = Cgroup::make(&["docker", &id]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let table = format!("[attestation.docker]\nsocket = \"{}\"", socket.display());
    let daemon = daemon(&table, "docker:label:org.example.team:platform").await;
    let (mut inside, mut outside) = (start(&daemon), start(&daemon));
    is_refused(&mut inside, "NoIdentityIssued").await;

    cgroup.take(&inside);
    // An engine that is down takes nothing away silently: it is said that nothing can be said.
    becomes_refused(&mut inside, "cannot be attested now").await;
    is_refused(&mut outside, "NoIdentityIssued").await;
    assert!(daemon.output().contains("the docker attestor cannot attest"), "{}", daemon.output());

    let main = Arc::new(AtomicI32::new(inside.pid()));
    let engine = engine(&socket, id, Arc::clone(&main));
    becomes_contained(&mut inside).await;
    is_refused(&mut outside, "NoIdentityIssued").await;

    // Were the container's own process another one, elsewhere, the name of the cgroup alone would earn nothing.
    main.store(outside.pid(), Ordering::SeqCst);
    becomes_refused(&mut inside, "cannot be attested now").await;
    engine.abort();
    drop((inside, outside));
}

#[tokio::test]
async fn an_agent_in_a_pod_has_what_its_service_account_earns_once_the_kubelet_lists_it() {
    let id = container_id(2);
    let pod = format!("pod{POD}");
    let Some(cgroup) = Cgroup::make(&["kubepods", &pod, &id]) else { return };
    let pods = json!({ "items": [{
        "metadata": { "name": "build-x2x4q", "namespace": "agents", "uid": POD },
        "spec": { "containers": [{ "name": "agent" }], "serviceAccountName": "build", "nodeName": "node-1" },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "agent", "image": "build:1", "imageID": "", "containerID": format!("containerd://{id}") },
        ] },
    }] });
    let asked = Arc::new(AtomicI32::new(0));
    let count = Arc::clone(&asked);
    let list = move || {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        std::future::ready(Json(if first { json!({ "items": [] }) } else { pods.clone() }))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubelet = listener.local_addr().unwrap();
    let router = Router::new().route("/pods", get(list));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let table =
        format!("[attestation.kubernetes]\nkubelet = \"http://{kubelet}\"\ninterval_ms = 10");
    let daemon = daemon(&table, "k8s:sa:build").await;
    let (mut inside, mut outside) = (start(&daemon), start(&daemon));
    is_refused(&mut outside, "NoIdentityIssued").await;
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody in a pod, nothing to ask");
    cgroup.take(&inside);
    becomes_contained(&mut inside).await;
    is_refused(&mut outside, "NoIdentityIssued").await;
    assert!(asked.load(Ordering::SeqCst) >= 2);
    serving.abort();
    drop((inside, outside));
}
