use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marque_spiffe::SelectorSet;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::{EngineAttestor, EngineConfig};
use crate::cgroup::{CgroupError, CgroupRoot};
use crate::fakes::{Asked, FakeCgroups, FakeServer, Reply, Waiting};
use crate::{AttestError, Attestor, Attestors, SourceError};

mod kernel;
mod refusals;

const A: &str = "3f1b6f0c8f0f4e6f9a0d4c1e2b7a58c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f";

/// A container with its main process and an agent, and whoever tells about it.
struct Stage {
    folder: TempDir,
    cgroups: Arc<FakeCgroups>,
    main: Waiting,
    agent: Waiting,
}

impl Stage {
    fn new() -> Self {
        let (main, agent) = (Waiting::start(), Waiting::start());
        let cgroups = Arc::new(FakeCgroups::default());
        for process in [&main, &agent] {
            cgroups.put(process, &format!("/system.slice/docker-{A}.scope"));
        }
        Self { folder: TempDir::new().unwrap(), cgroups, main, agent }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    fn config(&self) -> EngineConfig {
        EngineConfig {
            socket: self.socket(),
            timeout: Duration::from_secs(20),
            max_response: 64 * 1024,
            max_concurrent: 8,
            cgroup_root: CgroupRoot::default(),
        }
    }

    fn docker(&self) -> EngineAttestor {
        EngineAttestor::docker(self.config()).with_cgroups(self.cgroups.clone())
    }

    fn serve(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> FakeServer {
        FakeServer::on_unix(UnixListener::bind(self.socket()).unwrap(), answer)
    }

    /// What Docker says of the container, with something changed.
    fn inspected(&self, change: impl FnOnce(&mut Value)) -> String {
        inspected(include_str!("../testdata/engine/docker-inspect.json"), &self.main, change)
    }

    fn serve_inspected(&self) -> FakeServer {
        let body = self.inspected(|_| {});
        self.serve(move |_| Reply::Json(200, body.clone()))
    }

    async fn attest(&self) -> Result<SelectorSet, AttestError> {
        self.docker().selectors(&self.agent.pin()).await
    }
}

fn inspected(fixture: &str, main: &Waiting, change: impl FnOnce(&mut Value)) -> String {
    let mut body: Value = serde_json::from_str(fixture).unwrap();
    body["State"]["Pid"] = json!(main.pid());
    change(&mut body);
    body.to_string()
}

fn texts(selectors: &SelectorSet) -> Vec<&str> {
    selectors.iter().map(marque_spiffe::Selector::as_str).collect()
}

/// Why an engine was not believed.
fn cause(result: Result<SelectorSet, AttestError>) -> Arc<SourceError> {
    match result.unwrap_err() {
        AttestError::Source { attestor: "docker", source } => source,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn docker_tells_labels_environment_and_image() {
    let stage = Stage::new();
    let server = stage.serve_inspected();
    let found = stage.attest().await.unwrap();
    // A label whose key has a colon could be read in two ways, and one of two lines fits into no
    // selector: neither is told.
    assert_eq!(
        texts(&found),
        [
            "docker:env:AGENT_ROLE=build",
            "docker:env:API_TOKEN=a-secret-of-the-container",
            "docker:env:PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "docker:image_config_digest:sha256:\
             9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "docker:image_id:registry.example.org/agents/build:1.4",
            "docker:label:com.docker.compose.service:build-agent",
            "docker:label:org.example.team:platform",
        ]
    );
    let paths: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, vec![format!("/containers/{A}/json"); 2]);
}

#[tokio::test]
async fn podman_tells_the_same_under_its_own_name() {
    let stage = Stage::new();
    for process in [&stage.main, &stage.agent] {
        stage.cgroups.put(process, &format!("/machine.slice/libpod-{A}.scope/container"));
    }
    let fixture = include_str!("../testdata/engine/podman-inspect.json");
    let body = inspected(fixture, &stage.main, |_| {});
    let _server = stage.serve(move |_| Reply::Json(200, body.clone()));
    let podman = EngineAttestor::podman(stage.config()).with_cgroups(stage.cgroups.clone());
    let found = podman.selectors(&stage.agent.pin()).await.unwrap();
    assert_eq!(
        texts(&found),
        [
            "podman:env:AGENT_ROLE=build",
            "podman:env:container=podman",
            "podman:image_config_digest:sha256:\
             9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "podman:image_id:registry.example.org/agents/build:1.4",
        ]
    );
    // Each engine is asked about its own containers only.
    assert!(stage.attest().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_process_deeper_in_the_container_is_in_the_container() {
    let stage = Stage::new();
    let deeper = format!("/system.slice/docker-{A}.scope/docker/{}", "b".repeat(64));
    stage.cgroups.put(&stage.agent, &deeper);
    let _server = stage.serve_inspected();
    assert_eq!(stage.attest().await.unwrap().len(), 7);
}

#[tokio::test]
async fn of_a_process_in_no_container_nothing_is_asked_and_nothing_told() {
    let stage = Stage::new();
    let server = stage.serve_inspected();
    for path in [
        "/",
        "/system.slice/ssh.service",
        &format!("/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{A}.scope"),
    ] {
        stage.cgroups.put(&stage.agent, path);
        assert!(stage.attest().await.unwrap().is_empty(), "{path}");
    }
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn a_container_that_is_removed_is_told_of_no_more() {
    let stage = Stage::new();
    let body = stage.inspected(|_| {});
    let _server = stage
        .serve(move |asked| if asked.nth < 2 { Reply::Json(200, body.clone()) } else { missing() });
    assert_eq!(stage.attest().await.unwrap().len(), 7);
    assert!(stage.attest().await.unwrap().is_empty());
}

fn missing() -> Reply {
    Reply::Json(404, json!({ "message": "No such container" }).to_string())
}

#[tokio::test]
async fn an_engine_that_fails_fails_the_whole_attestation_and_is_named() {
    let stage = Stage::new();
    let attestors = Attestors::new(vec![Box::new(stage.docker())]);
    let error = attestors.attest_process(&stage.agent.pin()).await.unwrap_err();
    assert_eq!(error.to_string(), "the docker attestor cannot attest");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("cannot connect to `"), "{cause}");
}

#[tokio::test]
async fn a_process_that_exits_while_its_engine_is_asked_has_exited() {
    let mut stage = Stage::new();
    let attestors = Attestors::new(vec![Box::new(stage.docker())]);
    let pin = stage.agent.pin();
    stage.agent.end();
    let error = attestors.attest_process(&pin).await.unwrap_err();
    assert!(matches!(error, AttestError::Exited { .. }), "{error}");
}

#[tokio::test]
async fn two_containers_in_one_cgroup_file_are_refused() {
    let stage = Stage::new();
    let other = "b".repeat(64);
    stage.cgroups.write(&stage.agent, &format!("2:pids:/docker/{A}\n1:cpu:/docker/{other}\n"));
    let error = stage.attest().await.unwrap_err();
    let conflict = matches!(error, AttestError::Container { source: CgroupError::Conflict, .. });
    assert!(conflict, "{error}");
}

#[tokio::test]
async fn no_more_containers_are_asked_about_at_once_than_one_user_may() {
    let stage = Stage::new();
    let server = stage.serve(|_| Reply::Silence);
    let config = EngineConfig { max_concurrent: 12, ..stage.config() };
    let docker = EngineAttestor::docker(config).with_cgroups(stage.cgroups.clone());
    let pin = stage.agent.pin();
    let all = futures::future::join_all((0..20).map(|_| docker.selectors(&pin)));
    let watch = async {
        while server.asked().len() < 3 {
            tokio::task::yield_now().await;
        }
        // Room for a fourth to be asked, were it let through.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = all => panic!("a silent engine answered"),
        () = watch => {}
    }
    assert_eq!(server.asked().len(), 3);
}
