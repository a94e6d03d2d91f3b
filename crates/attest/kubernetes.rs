//! The `k8s` attestor: what the node's kubelet says of the pod and container that a process is in.
//!
//! | selector | from | proves |
//! |---|---|---|
//! | `k8s:ns:<namespace>`, `k8s:sa:<service account>` | the pod | what the API server admitted |
//! | `k8s:pod-name`, `k8s:pod-uid`, `k8s:node-name` | the pod | the same; a uid is never used twice |
//! | `k8s:pod-label:<key>:<value>` | the pod's labels | what whoever may edit the pod wrote, also later |
//! | `k8s:pod-owner:<kind>:<name>`, `k8s:pod-owner-uid:<kind>:<uid>` | its owner references | the same |
//! | `k8s:pod-image:<image>`, `k8s:pod-init-image:<image>` | its containers' images, by name and by id | by digest: the image. By tag: nothing that lasts |
//! | `k8s:pod-image-count:<n>`, `k8s:pod-init-image-count:<n>` | how many containers its specification has | that there are no others, debugging containers aside |
//! | `k8s:container-name`, `k8s:container-image` | the container of the process | as above |
//!
//! The pod's uid and the container's id come from the process's cgroups (see [`crate::cgroup`]); a
//! kubelet names no process ids, so that root's cgroups name them is all there is to go by. Both
//! must be of one pod. A list of pods is shared for a second, and never used for a process that
//! started after it was asked for.
//!
//! Deliberately absent: the API server, which a node's attestation must not depend on, and
//! namespace labels, which the kubelet does not know.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;

mod kubelet;
mod lists;
mod pods;
mod tls;

pub use kubelet::{Kubelet, KubeletTls};

use self::lists::{PodLists, since_boot, started_by};
use self::pods::{Pod, Seen};
use crate::attestor::Attestor;
use crate::cgroup::{CgroupRoot, ContainerCgroup, PodUid};
use crate::container::{CgroupSource, ProcCgroups, container_of};
use crate::error::AttestError;
use crate::object::{KubernetesObject, ObjectAttestor};
use crate::pin::ProcessPin;
use crate::source::SourceError;

const KIND: &str = "k8s";
/// The first wait for a container that is not listed yet; each later one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The limits of [`KubernetesAttestor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// How often a container that is not listed yet is looked for.
    pub attempts: u32,
    /// The longest wait between two looks.
    pub interval: Duration,
    /// How old a shared list of pods may be.
    pub max_list_age: Duration,
    /// Where the kubelet's cgroups begin.
    pub cgroup_root: CgroupRoot,
}

/// Says what a kubelet says of a process's pod and container, or of a pod.
#[derive(Debug)]
pub struct KubernetesAttestor {
    config: KubernetesConfig,
    lists: PodLists,
    cgroups: Arc<dyn CgroupSource>,
}

impl KubernetesAttestor {
    /// Asks this kubelet.
    pub fn new(kubelet: Kubelet, config: KubernetesConfig) -> Self {
        let lists = PodLists::new(kubelet, config.max_list_age);
        Self { config, lists, cgroups: Arc::new(ProcCgroups) }
    }

    /// The same, with cgroups read elsewhere.
    #[must_use]
    pub fn with_cgroups(self, cgroups: Arc<dyn CgroupSource>) -> Self {
        Self { cgroups, ..self }
    }

    async fn gather(&self, process: &ProcessPin) -> Result<SelectorSet, AttestError> {
        let container = container_of(&*self.cgroups, process, &self.config.cgroup_root)?;
        let Some(container) = container else { return Ok(SelectorSet::default()) };
        let Some(pod) = container.pod() else { return Ok(SelectorSet::default()) };
        self.poll(process, &container, pod).await
    }

    /// The kubelet lists a container a moment after its first process runs.
    async fn poll(
        &self,
        process: &ProcessPin,
        container: &ContainerCgroup,
        pod: &PodUid,
    ) -> Result<SelectorSet, AttestError> {
        let KubernetesConfig { attempts, interval, .. } = self.config;
        let mut not_before = started_by(process.start_time());
        let mut wait = FIRST_WAIT.min(interval);
        for attempt in 1..=attempts {
            let list = self.lists.asked_since(not_before).await.map_err(shared)?;
            match list.pods.find(pod, container.id()) {
                Seen::Here(selectors) => return Ok(selectors),
                Seen::InAnotherPod => return Err(failed(SourceError::OtherPod)),
                Seen::NotYet => {}
            }
            if !process.is_alive() {
                return Err(AttestError::Exited { pid: process.pid() });
            }
            // What this list does not have, no list as old has.
            not_before = list.asked_at + Duration::from_nanos(1);
            if attempt < attempts {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(interval);
            }
        }
        Err(failed(SourceError::NotListed { attempts }))
    }

    async fn find(&self, object: &KubernetesObject) -> Result<Option<SelectorSet>, AttestError> {
        let KubernetesObject { resource, group, namespace, name, uid } = object;
        let named = match (namespace.is_empty(), name.is_empty()) {
            (false, false) => true,
            (true, true) => false,
            _one_without_the_other => return Err(AttestError::UnsupportedObject),
        };
        if resource != "pods" || !group.is_empty() || (!named && uid.is_empty()) {
            return Err(AttestError::UnsupportedObject);
        }
        let is_it = |pod: &&Pod| {
            (!named || pod.is_named(namespace, name)) && (uid.is_empty() || pod.uid() == uid)
        };
        let now = since_boot();
        // A shared list may be older than the pod; nobody is told on its word that there is none.
        for not_before in [Duration::ZERO, now] {
            let list = self.lists.asked_since(not_before).await.map_err(shared)?;
            if let Some(pod) = list.pods.iter().find(is_it) {
                return Ok((!pod.has_ended()).then(|| pod.selectors()));
            }
            if list.asked_at >= now {
                break;
            }
        }
        Ok(None)
    }
}

impl Attestor for KubernetesAttestor {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(self.gather(process))
    }
}

impl ObjectAttestor for KubernetesAttestor {
    fn object_selectors<'a>(
        &'a self,
        object: &'a KubernetesObject,
    ) -> BoxFuture<'a, Result<Option<SelectorSet>, AttestError>> {
        Box::pin(self.find(object))
    }
}

fn failed(error: SourceError) -> AttestError {
    shared(Arc::new(error))
}

fn shared(source: Arc<SourceError>) -> AttestError {
    AttestError::Source { attestor: KIND, source }
}

#[cfg(test)]
mod tests;
