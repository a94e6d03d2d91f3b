//! What a broker says about which workload it means, read strictly (BR-3). Nothing here looks at a workload yet.

use marque_attest::KubernetesObject;
use marque_registry::ReferenceType;
use prost::{DecodeError, Message as _};
use prost_types::Any;

use super::super::proto::broker as proto;

/// The messages that a reference may be, as their types are named in an `Any`.
const PID: &str = "spiffe.broker.WorkloadPIDReference";
const KUBERNETES: &str = "spiffe.broker.KubernetesObjectReference";
/// The one resource that is a workload on a node, and how the API names its group.
const PODS: &str = "pods";
const CORE: &str = "core";
/// The longest name of a Kubernetes object or namespace (RFC 1123 subdomain), and more than any uid.
const MAX_NAME_BYTES: usize = 253;

/// Which workload is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// A process by its id, which is positive.
    Pid(i32),
    /// A pod.
    Kubernetes(KubernetesObject),
}

/// Why a reference refers to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// A mandatory field of the request is not set.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// The type is none that this server knows.
    #[error("references of this type are not understood here")]
    UnknownType,
    /// The bytes are not the message that the type names.
    #[error("the reference is not of the type that it names")]
    Malformed(#[source] DecodeError),
    /// Process ids are positive.
    #[error("a process id is positive")]
    Pid,
    /// Only pods are workloads here.
    #[error("only pods (`pods` of the group `core`) are workloads here")]
    Resource,
    /// A name is longer than Kubernetes allows.
    #[error("`{0}` is longer than {MAX_NAME_BYTES} bytes")]
    TooLong(&'static str),
    /// No attestor of this daemon knows Kubernetes.
    #[error("Kubernetes objects are not understood here")]
    NoKubernetes,
    /// Process ids of the broker are not those of this daemon.
    #[error("the broker is in another pid namespace, so that its process ids mean nothing here")]
    ForeignPidNamespace,
}

impl Reference {
    /// Reads the field that every request has.
    pub(super) fn read(
        reference: Option<proto::WorkloadReference>,
    ) -> Result<Self, ReferenceError> {
        let proto::WorkloadReference { reference } =
            reference.ok_or(ReferenceError::Missing("reference"))?;
        let Any { type_url, value } =
            reference.ok_or(ReferenceError::Missing("reference.reference"))?;
        if type_url.is_empty() {
            return Err(ReferenceError::Missing("reference.reference.type_url"));
        }
        // Whatever comes before the last slash says where the type is described, not which it is.
        match type_url.rsplit_once('/').map(|(_place, name)| name) {
            Some(PID) => pid(&value),
            Some(KUBERNETES) => kubernetes(&value),
            _other => Err(ReferenceError::UnknownType),
        }
    }

    pub(super) fn kind(&self) -> ReferenceType {
        match self {
            Self::Pid(_) => ReferenceType::Pid,
            Self::Kubernetes(_) => ReferenceType::Kubernetes,
        }
    }
}

fn pid(value: &[u8]) -> Result<Reference, ReferenceError> {
    let proto::WorkloadPidReference { pid } =
        proto::WorkloadPidReference::decode(value).map_err(ReferenceError::Malformed)?;
    if pid <= 0 {
        return Err(ReferenceError::Pid);
    }
    Ok(Reference::Pid(pid))
}

fn kubernetes(value: &[u8]) -> Result<Reference, ReferenceError> {
    let proto::KubernetesObjectReference { r#type, key, uid } =
        proto::KubernetesObjectReference::decode(value).map_err(ReferenceError::Malformed)?;
    let proto::KubernetesObjectType { plural, group } =
        r#type.ok_or(ReferenceError::Missing("type"))?;
    for (field, text) in [("type.plural", &plural), ("type.group", &group)] {
        if text.is_empty() {
            return Err(ReferenceError::Missing(field));
        }
    }
    if plural != PODS || group != CORE {
        return Err(ReferenceError::Resource);
    }
    let named = key.is_some();
    let proto::KubernetesObjectKey { namespace, name } = key.unwrap_or_default();
    // Pods are namespaced, so a key has both.
    for (field, text) in [("key.namespace", &namespace), ("key.name", &name)] {
        if named && text.is_empty() {
            return Err(ReferenceError::Missing(field));
        }
    }
    if !named && uid.is_empty() {
        return Err(ReferenceError::Missing("key or uid"));
    }
    for (field, text) in [("key.namespace", &namespace), ("key.name", &name), ("uid", &uid)] {
        if text.len() > MAX_NAME_BYTES {
            return Err(ReferenceError::TooLong(field));
        }
    }
    Ok(Reference::Kubernetes(KubernetesObject {
        resource: plural,
        group: String::new(),
        namespace,
        name,
        uid,
    }))
}

#[cfg(test)]
mod tests;
