use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::SelectorSet;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Kubelet, KubernetesAttestor, KubernetesConfig};
use crate::cgroup::CgroupRoot;
use crate::fakes::{Asked, FakeCgroups, FakeServer, Reply, Waiting};
use crate::{AttestError, Attestor, Attestors, SourceError};

mod lists;
mod objects;
mod tls;

const PODS: &str = include_str!("../testdata/kubernetes/pods.json");
const POD: &str = "6f1c0a52-9d3e-4b7a-8c21-5e0f7a9b3d14";
const AGENT: &str = "3f1b6f0c8f0f4e6f9a0d4c1e2b7a58c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f";

/// A process in a pod, and its kubelet's read-only port.
struct Stage {
    cgroups: Arc<FakeCgroups>,
    agent: Waiting,
    listener: Option<TcpListener>,
    kubelet: Kubelet,
}

impl Stage {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kubelet = Kubelet {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            tls: None,
            timeout: Duration::from_secs(20),
            max_response: 1024 * 1024,
        };
        let stage = Self {
            cgroups: Arc::new(FakeCgroups::default()),
            agent: Waiting::start(),
            listener: Some(listener),
            kubelet,
        };
        stage.put(&stage.agent, POD, AGENT);
        stage
    }

    fn put(&self, process: &Waiting, pod: &str, id: &str) {
        let pod = pod.replace('-', "_");
        let path = format!("/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{id}.scope");
        self.cgroups.put(process, &path);
    }

    fn serve(&mut self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> FakeServer {
        FakeServer::on_tcp(self.listener.take().unwrap(), None, answer)
    }

    fn attestor(&self) -> KubernetesAttestor {
        self.attestor_with(config())
    }

    fn attestor_with(&self, config: KubernetesConfig) -> KubernetesAttestor {
        KubernetesAttestor::new(self.kubelet.clone(), config).with_cgroups(self.cgroups.clone())
    }

    async fn attest(&self) -> Result<SelectorSet, AttestError> {
        self.attestor().selectors(&self.agent.pin()).await
    }
}

fn config() -> KubernetesConfig {
    KubernetesConfig {
        attempts: 4,
        interval: Duration::from_millis(1),
        max_list_age: Duration::from_secs(1),
        cgroup_root: CgroupRoot::default(),
    }
}

fn pods(change: impl FnOnce(&mut Value)) -> String {
    let mut pods: Value = serde_json::from_str(PODS).unwrap();
    change(&mut pods);
    pods.to_string()
}

fn listed(_asked: &Asked) -> Reply {
    Reply::Json(200, PODS.to_owned())
}

fn texts(selectors: &SelectorSet) -> Vec<&str> {
    selectors.iter().map(marque_spiffe::Selector::as_str).collect()
}

fn cause(result: Result<SelectorSet, AttestError>) -> Arc<SourceError> {
    match result.unwrap_err() {
        AttestError::Source { attestor: "k8s", source } => source,
        other => panic!("{other}"),
    }
}

const OF_THE_POD: [&str; 15] = [
    "k8s:node-name:node-1",
    "k8s:ns:agents",
    "k8s:pod-image-count:2",
    "k8s:pod-image:registry.example.org/agents/build:1.4",
    "k8s:pod-image:registry.example.org/agents/build@sha256:2222222222222222222222222222222222222222222222222222222222222222",
    "k8s:pod-image:registry.example.org/proxy:3",
    "k8s:pod-init-image-count:1",
    "k8s:pod-init-image:registry.example.org/agents/prepare:2",
    "k8s:pod-init-image:registry.example.org/agents/prepare@sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "k8s:pod-label:app:build-agent",
    "k8s:pod-label:org.example/empty:",
    "k8s:pod-label:pod-template-hash:7c9d8b6f5",
    "k8s:pod-name:build-agent-7c9d8b6f5-x2x4q",
    "k8s:pod-owner-uid:ReplicaSet:0b1a2c3d-4e5f-4061-8273-8495a6b7c8d9",
    "k8s:pod-owner:ReplicaSet:build-agent-7c9d8b6f5",
];

#[tokio::test]
async fn the_kubelet_tells_the_pod_and_the_container_of_a_process() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    let found = stage.attest().await.unwrap();
    let mut expected = Vec::from(OF_THE_POD);
    let uid = format!("k8s:pod-uid:{POD}");
    expected.extend([
        uid.as_str(),
        "k8s:sa:build-agent",
        "k8s:container-name:agent",
        "k8s:container-image:registry.example.org/agents/build:1.4",
        "k8s:container-image:registry.example.org/agents/build@sha256:2222222222222222222222222222222222222222222222222222222222222222",
    ]);
    expected.sort_unstable();
    assert_eq!(texts(&found), expected);
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/pods"));
    assert_eq!(asked[0].authorization, None);
}

#[tokio::test]
async fn init_and_debugging_containers_are_containers_of_their_pod() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(listed);
    for (id, name) in [("1a".repeat(32), "prepare"), ("2b".repeat(32), "debugger")] {
        stage.put(&stage.agent, POD, &id);
        let found = stage.attest().await.unwrap();
        let name = format!("k8s:container-name:{name}");
        assert!(texts(&found).contains(&name.as_str()), "{found:?}");
        assert!(texts(&found).contains(&"k8s:sa:build-agent"), "{found:?}");
    }
}

#[tokio::test]
async fn a_static_pod_is_found_by_its_hash() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(listed);
    stage.put(&stage.agent, "d2f1e0c9b8a7968574635241302f1e0d", &"4d".repeat(32));
    let found = stage.attest().await.unwrap();
    assert!(texts(&found).contains(&"k8s:pod-name:gateway-node-1"), "{found:?}");
    // What the pod does not have is no selector, least of all an empty one.
    assert!(!texts(&found).iter().any(|text| text.starts_with("k8s:sa:")), "{found:?}");
}

#[tokio::test]
async fn of_a_process_in_no_pod_nothing_is_asked_and_nothing_told() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    let uid = POD.replace('-', "_");
    for path in [
        "/".to_owned(),
        format!("/system.slice/docker-{AGENT}.scope"),
        format!(
            "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{uid}.slice/cri-containerd-{AGENT}.scope"
        ),
        format!("/system.slice/evil.service/kubepods-pod{uid}.slice:cri-containerd:{AGENT}"),
    ] {
        stage.cgroups.put(&stage.agent, &path);
        assert!(stage.attest().await.unwrap().is_empty(), "{path}");
    }
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn a_container_of_another_pod_than_the_cgroup_says_is_refused() {
    let mut stage = Stage::new().await;
    let _server = stage.serve(listed);
    stage.put(&stage.agent, "11111111-2222-4333-8444-555555555555", AGENT);
    assert!(matches!(*cause(stage.attest().await), SourceError::OtherPod));
}

#[tokio::test]
async fn a_container_that_is_not_listed_yet_is_looked_for_again() {
    let mut stage = Stage::new().await;
    let early = pods(|pods| pods["items"][0]["status"]["containerStatuses"] = json!(null));
    let server = stage.serve(move |asked| match asked.nth {
        0 => Reply::Json(200, json!({ "items": null }).to_string()),
        1 | 2 => Reply::Json(200, early.clone()),
        _ => listed(asked),
    });
    assert_eq!(stage.attest().await.unwrap().len(), 20);
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_container_that_is_never_listed_is_refused_after_the_last_attempt() {
    let mut stage = Stage::new().await;
    let server = stage.serve(listed);
    stage.put(&stage.agent, POD, &"e".repeat(64));
    let cause = cause(stage.attest().await);
    assert!(matches!(*cause, SourceError::NotListed { attempts: 4 }), "{cause}");
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn nobody_looks_on_for_a_process_that_is_gone() {
    let mut stage = Stage::new().await;
    let server = stage.serve(|_| Reply::Json(200, json!({ "items": [] }).to_string()));
    let pin = stage.agent.pin();
    stage.agent.end();
    let error = stage.attestor().selectors(&pin).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_kubelet_that_fails_fails_the_whole_attestation_and_is_named() {
    let mut stage = Stage::new().await;
    let answer = |status, body: &str| Reply::Json(status, body.to_owned());
    let _server = stage.serve(move |asked| match asked.nth {
        0 => answer(500, "{}"),
        1 => answer(401, "Unauthorized"),
        2 => answer(200, "{\"items\":[{\"metadata\":\"a-secret\"}]}"),
        3 => answer(200, "a-secret"),
        4 => answer(200, "{\"items\":{}}"),
        _ => Reply::Dribble,
    });
    for expected in ["status 500", "status 401", "line 1", "line 1", "line 1", "longer than"] {
        let attestors = Attestors::new(vec![Box::new(stage.attestor())]);
        let error = attestors.attest_process(&stage.agent.pin()).await.unwrap_err();
        assert_eq!(error.to_string(), "the k8s attestor cannot attest");
        let told = std::error::Error::source(&error).unwrap().to_string();
        assert!(told.contains(expected) && !told.contains("a-secret"), "{told}");
    }
}

#[tokio::test]
async fn a_list_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let mut stage = Stage::new().await;
    stage.kubelet.max_response = PODS.len();
    let longer = format!("{PODS} ");
    let _server = stage.serve(move |asked| match asked.nth {
        0 => listed(asked),
        _ => Reply::Json(200, longer.clone()),
    });
    assert_eq!(stage.attest().await.unwrap().len(), 20);
    let cause = cause(stage.attest().await);
    assert!(matches!(*cause, SourceError::TooLong { limit } if limit == PODS.len()), "{cause}");
}

#[tokio::test]
async fn a_kubelet_that_is_not_there_is_an_error_not_an_empty_set() {
    let mut stage = Stage::new().await;
    stage.listener = None;
    assert!(matches!(*cause(stage.attest().await), SourceError::Connect { .. }));
}
