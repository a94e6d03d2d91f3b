//! Pods as the kubelet lists them (`GET /pods`, a Kubernetes `PodList`), as far as they are used.

use std::collections::BTreeMap;

use marque_spiffe::SelectorSet;
use serde::Deserialize;

use super::KIND;
use crate::cgroup::{ContainerId, PodUid};
use crate::container::selector;

/// What a list says of a container.
pub(super) enum Seen {
    /// It is there, with these selectors.
    Here(SelectorSet),
    /// It is there, but in a pod with another uid.
    InAnotherPod,
    /// It is not there.
    NotYet,
}

#[derive(Deserialize)]
pub(super) struct Pods {
    items: Option<Vec<Pod>>,
}

#[derive(Deserialize)]
pub(super) struct Pod {
    metadata: Metadata,
    spec: Specification,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Specification {
    #[serde(default)]
    service_account_name: String,
    #[serde(default)]
    node_name: String,
    containers: Vec<Ignored>,
    init_containers: Option<Vec<Ignored>>,
}

/// Something that is only counted.
#[derive(Deserialize)]
struct Ignored {}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    phase: String,
    container_statuses: Option<Vec<Container>>,
    init_container_statuses: Option<Vec<Container>>,
    ephemeral_container_statuses: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
    #[serde(default, rename = "containerID")]
    container_id: String,
}

impl Pods {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.items.iter().flatten()
    }

    /// Looks for a container by its id everywhere, so that one in another pod than it should be is
    /// noticed.
    pub(super) fn find(&self, uid: &PodUid, id: &ContainerId) -> Seen {
        let mut elsewhere = false;
        for pod in self.iter() {
            let Some(container) = pod.containers().find(|container| container.has_id(id)) else {
                continue;
            };
            if pod.uid() == uid.as_str() {
                let mut selectors = pod.selectors();
                container.add_selectors(&mut selectors);
                return Seen::Here(selectors);
            }
            elsewhere = true;
        }
        if elsewhere { Seen::InAnotherPod } else { Seen::NotYet }
    }
}

impl Pod {
    pub(super) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    pub(super) fn is_named(&self, namespace: &str, name: &str) -> bool {
        self.metadata.namespace == namespace && self.metadata.name == name
    }

    /// Whether all its containers have ended for good.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    fn containers(&self) -> impl Iterator<Item = &Container> {
        let Status { phase: _, container_statuses, init_container_statuses, .. } = &self.status;
        let ephemeral = &self.status.ephemeral_container_statuses;
        let kinds = [container_statuses, init_container_statuses, ephemeral];
        kinds.into_iter().flatten().flatten()
    }

    /// What is true of every container of the pod.
    pub(super) fn selectors(&self) -> SelectorSet {
        let mut found = SelectorSet::default();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                found.extend(selector(KIND, format_args!("{name}:{value}")));
            }
        };
        let Metadata { name, namespace, uid, labels, owner_references } = &self.metadata;
        add("ns", namespace);
        add("sa", &self.spec.service_account_name);
        add("node-name", &self.spec.node_name);
        add("pod-name", name);
        add("pod-uid", uid);
        for (key, value) in labels.iter().flatten() {
            add("pod-label", &format!("{key}:{value}"));
        }
        for Owner { kind, name, uid } in owner_references.iter().flatten() {
            add("pod-owner", &format!("{kind}:{name}"));
            add("pod-owner-uid", &format!("{kind}:{uid}"));
        }
        let init_containers = self.spec.init_containers.as_ref().map_or(0, Vec::len);
        // By the specification: the status lists containers as they come up.
        add("pod-image-count", &self.spec.containers.len().to_string());
        add("pod-init-image-count", &init_containers.to_string());
        for container in self.status.container_statuses.iter().flatten() {
            add("pod-image", &container.image);
            add("pod-image", &container.image_id);
        }
        for container in self.status.init_container_statuses.iter().flatten() {
            add("pod-init-image", &container.image);
            add("pod-init-image", &container.image_id);
        }
        found
    }
}

impl Container {
    /// The status has `<runtime>://<id>`, or nothing before the container exists.
    fn has_id(&self, id: &ContainerId) -> bool {
        self.container_id.split_once("://").is_some_and(|(_runtime, own)| own == id.as_str())
    }

    fn add_selectors(&self, found: &mut SelectorSet) {
        let Self { name, image, image_id, container_id: _ } = self;
        for (what, value) in
            [("container-name", name), ("container-image", image), ("container-image", image_id)]
        {
            if !value.is_empty() {
                found.extend(selector(KIND, format_args!("{what}:{value}")));
            }
        }
    }
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods").field("count", &self.iter().count()).finish()
    }
}
