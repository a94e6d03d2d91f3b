//! The `docker` and `podman` attestors: what a container engine says of the container that a
//! process is in. Both engines speak the same API.
//!
//! | selector | from | proves |
//! |---|---|---|
//! | `docker:label:<key>:<value>` | the container's labels, its image's included | what the engine was told, by whoever may start containers or made the image |
//! | `docker:env:<NAME>=<value>` | the environment the container was created with | the same; not what a process in it has |
//! | `docker:image_id:<name>` | the image's name at creation | nothing that lasts: a tag can be moved |
//! | `docker:image_config_digest:sha256:<hex>` | the image's configuration | which image, layers and all |
//!
//! Podman's selectors are the same with the kind `podman`: two engines on a host are two sources,
//! and what one user's engine says must not pass for what root's says.
//!
//! A container's id in a cgroup is only where the question starts. The engine must say that the
//! container runs, and its main process (pinned like any other) must be in the very cgroup in which
//! the attested process is, before and after; see [`crate::cgroup`].
//!
//! Deliberately absent: caches. The engine is asked twice for each attestation, so that nothing is
//! said of a container that is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::attestor::Attestor;
use crate::cgroup::{CgroupRoot, ContainerCgroup, ContainerId, Runtime};
use crate::container::{CgroupSource, ProcCgroups, container_of, selector};
use crate::error::AttestError;
use crate::http::Connection;
use crate::pin::ProcessPin;
use crate::slots::Slots;
use crate::source::SourceError;

/// How an engine is asked, and the limits of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// The engine's Unix socket.
    pub socket: PathBuf,
    /// How long all questions of one attestation may take together.
    pub timeout: Duration,
    /// The longest answer that is read, in bytes.
    pub max_response: usize,
    /// How many containers are asked about at once, a quarter of them by one user; more wait.
    pub max_concurrent: usize,
    /// Where the engine's cgroups begin.
    pub cgroup_root: CgroupRoot,
}

/// Says what an engine says of a process's container.
#[derive(Debug)]
pub struct EngineAttestor {
    kind: &'static str,
    runtime: Runtime,
    config: EngineConfig,
    cgroups: Arc<dyn CgroupSource>,
    slots: Arc<Slots>,
}

/// The engine's description of a container (`GET /containers/{id}/json`), as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    /// The digest of the image's configuration.
    image: String,
    state: State,
    config: Configuration,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: i32,
    started_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    /// The image's name, as it was given.
    image: String,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

impl EngineAttestor {
    /// Asks a Docker engine.
    pub fn docker(config: EngineConfig) -> Self {
        Self::new("docker", Runtime::Docker, config)
    }

    /// Asks a Podman service.
    pub fn podman(config: EngineConfig) -> Self {
        Self::new("podman", Runtime::Podman, config)
    }

    fn new(kind: &'static str, runtime: Runtime, config: EngineConfig) -> Self {
        let slots = Slots::new(config.max_concurrent);
        Self { kind, runtime, config, cgroups: Arc::new(ProcCgroups), slots }
    }

    /// The same, with cgroups read elsewhere.
    #[must_use]
    pub fn with_cgroups(self, cgroups: Arc<dyn CgroupSource>) -> Self {
        Self { cgroups, ..self }
    }

    async fn gather(&self, process: &ProcessPin) -> Result<SelectorSet, AttestError> {
        let Some(container) = self.container_of(process)? else {
            return Ok(SelectorSet::default());
        };
        let limit = self.config.timeout;
        let asked = timeout(limit, async {
            // Waiting for others is part of the time that a caller waits.
            let _slot = self.slots.acquire(process.uid()).await;
            self.ask(&container).await
        });
        asked.await.unwrap_or_else(|_elapsed| Err(self.failed(SourceError::Deadline { limit })))
    }

    fn container_of(&self, process: &ProcessPin) -> Result<Option<ContainerCgroup>, AttestError> {
        let found = container_of(&*self.cgroups, process, &self.config.cgroup_root)?;
        Ok(found.filter(|container| container.runtime() == self.runtime))
    }

    async fn ask(&self, container: &ContainerCgroup) -> Result<SelectorSet, AttestError> {
        let mut engine = self.connect().await.map_err(|error| self.failed(error))?;
        let first = engine.inspect(container.id()).await.map_err(|error| self.failed(error))?;
        let Some(first) = first else {
            // Root's cgroups name a container that this engine does not know: it is another
            // engine's, or was removed under its processes. Either way there is nothing to say.
            metrics::counter!("marque_attestor_unknown_containers_total", "attestor" => self.kind)
                .increment(1);
            tracing::warn!(attestor = self.kind, container = %container.id(), "unknown container");
            return Ok(SelectorSet::default());
        };
        // A process that is gone by now leaves nothing to compare with.
        let gone = |_error| self.failed(SourceError::NotRunning);
        let main = ProcessPin::open(first.state.pid).map_err(gone)?;
        let place = self.container_of(&main)?;
        if !place.is_some_and(|place| place.is_same_place(container)) {
            return Err(self.failed(SourceError::Elsewhere));
        }
        // The pid was the container's before it was pinned. That it still is makes sure that it is
        // the container's process that was looked at, and not another that got the number.
        let second = engine.inspect(container.id()).await.map_err(|error| self.failed(error))?;
        let second = second.filter(|second| second.state == first.state && main.is_alive());
        let second = second.ok_or_else(|| self.failed(SourceError::Changed))?;
        Ok(self.selectors_of(&second))
    }

    async fn connect(&self) -> Result<Engine, SourceError> {
        let socket = &self.config.socket;
        let stream = UnixStream::connect(socket).await.map_err(|source| SourceError::Connect {
            to: format!("`{}`", socket.display()),
            source,
        })?;
        Ok(Engine(Connection::open(stream, self.config.max_response).await?))
    }

    fn selectors_of(&self, container: &Container) -> SelectorSet {
        let Container { id: _, image, state: _, config } = container;
        let Configuration { image: name, labels, env } = config;
        let mut found = SelectorSet::default();
        found.extend(selector(self.kind, format_args!("image_id:{name}")));
        if let Some(digest) = image_digest(image) {
            found.extend(selector(self.kind, format_args!("image_config_digest:{digest}")));
        }
        for (key, value) in labels.iter().flatten() {
            // `label:a:b:c` could be read in two ways, and whoever made the image could choose.
            if !key.contains(':') {
                found.extend(selector(self.kind, format_args!("label:{key}:{value}")));
            }
        }
        for variable in env.iter().flatten() {
            found.extend(selector(self.kind, format_args!("env:{variable}")));
        }
        found
    }

    fn failed(&self, error: SourceError) -> AttestError {
        AttestError::Source { attestor: self.kind, source: Arc::new(error) }
    }
}

impl Attestor for EngineAttestor {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(self.gather(process))
    }
}

/// A connection to an engine.
struct Engine(Connection);

impl Engine {
    /// A running container; `None` where there is none of that id.
    async fn inspect(&mut self, id: &ContainerId) -> Result<Option<Container>, SourceError> {
        let answer = self.0.get("localhost", &format!("/containers/{id}/json"), None).await?;
        match answer.status.as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(SourceError::Status { status }),
        }
        let container: Container =
            serde_json::from_slice(&answer.body).map_err(|error| SourceError::malformed(&error))?;
        if container.id != id.as_str() {
            return Err(SourceError::OtherContainer);
        }
        if !container.state.running || container.state.pid <= 0 {
            return Err(SourceError::NotRunning);
        }
        Ok(Some(container))
    }
}

/// `sha256:<64 hexadecimal digits>`; Podman may leave out the prefix.
fn image_digest(image: &str) -> Option<String> {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    ContainerId::new(digits).map(|digits| format!("sha256:{digits}"))
}

#[cfg(test)]
mod tests;
