//! Attestation of objects that are named instead of pinned: the ways of the SPIFFE Broker API
//! that do not lead through a process id.

use std::fmt;

use futures::future::BoxFuture;
use marque_spiffe::SelectorSet;

use crate::attestor::{Attestation, Attestors, Fingerprint};
use crate::error::AttestError;

/// A Kubernetes object as a broker names it (`KubernetesObjectReference` of the SPIFFE Broker API).
/// Empty texts are fields that were not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KubernetesObject {
    /// The plural resource name, such as `pods`.
    pub resource: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The namespace; given exactly when the name is.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The unique id. Given with a name, both must be of one object (BR-4).
    pub uid: String,
}

/// An attestor that also knows objects by their names.
pub trait ObjectAttestor: fmt::Debug + Send + Sync {
    /// The selectors of the object that bears this name and id *now*; `None` where there is none.
    fn object_selectors<'a>(
        &'a self,
        object: &'a KubernetesObject,
    ) -> BoxFuture<'a, Result<Option<SelectorSet>, AttestError>>;
}

impl Attestors {
    /// The selectors of a Kubernetes object on this node. `None` when there is no such object here,
    /// when it has ended, or when name and uid are of two objects. No process is looked at, so the
    /// attestation's `pid` is 0.
    ///
    /// # Errors
    /// [`AttestError::UnsupportedObject`] when no attestor knows this type of object (only pods
    /// are known) or nothing names it; else when the attestor cannot tell.
    pub async fn attest_kubernetes(
        &self,
        object: &KubernetesObject,
    ) -> Result<Option<Attestation>, AttestError> {
        let set = self.set();
        let Some(attestor) = set.objects() else { return Err(AttestError::UnsupportedObject) };
        let found = attestor.object_selectors(object).await?;
        Ok(found.map(|selectors| Attestation {
            fingerprint: Fingerprint::of(&selectors),
            selectors,
            pid: 0,
        }))
    }
}
