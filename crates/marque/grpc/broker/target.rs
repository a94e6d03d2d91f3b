//! The workload that a reference led to, held for as long as a call lasts (BR-4, BR-6).
//!
//! A process is held by its pidfd and attested anew whenever something is sent; a pod is looked up anew. What the broker
//! said of either is used to find it and for nothing else.

use std::sync::OnceLock;
use std::time::Duration;

use marque_attest::{Attestors, KubernetesObject, ProcessPin};
use marque_spiffe::{Clock, SelectorSet};
use marque_workload::IdentityUser;
use tonic::Status;

use super::reference::{Reference, ReferenceError};
use super::standing::Broker;
use crate::error;
use crate::identities::{looks, user_of};

/// How often a pod that somebody listens for is asked after: nothing says when it goes.
pub(super) const POD_INTERVAL: Duration = Duration::from_secs(5);
/// What tells a pod from every other that ever had its name.
const POD_UID: &str = "k8s:pod-uid:";

/// One workload.
#[derive(Debug)]
pub(super) enum Target {
    Process(ProcessPin),
    Pod(Pod),
}

/// A pod, known by what was said of it and, once it was found, by its uid.
#[derive(Debug)]
pub(super) struct Pod {
    object: KubernetesObject,
    uid: OnceLock<Option<String>>,
}

impl Target {
    /// Finds what a reference refers to.
    pub(super) fn find(reference: Reference, broker: &Broker) -> Result<Self, Status> {
        match reference {
            Reference::Pid(pid) => {
                let shared = broker.process().process().shares_pid_namespace();
                if !shared.map_err(error::broker::undecided)? {
                    return Err(error::broker::reference(ReferenceError::ForeignPidNamespace));
                }
                Ok(Self::Process(ProcessPin::open(pid).map_err(error::broker::absent)?))
            }
            Reference::Kubernetes(object) => Ok(Self::Pod(Pod { object, uid: OnceLock::new() })),
        }
    }

    /// What it attests as right now.
    pub(super) async fn attest(&self, attestors: &Attestors) -> Result<SelectorSet, Status> {
        match self {
            Self::Process(pin) if is_this_daemon(pin) => Err(error::broker::not_entitled()),
            Self::Process(pin) => {
                let attestation = attestors.attest_process(pin).await;
                Ok(attestation.map_err(error::broker::absent)?.selectors)
            }
            Self::Pod(pod) => pod.attest(attestors).await,
        }
    }

    /// It as the user of an identity, now that it attests as these selectors. A pod is told from others by its looks alone.
    pub(super) fn user(&self, selectors: &SelectorSet) -> IdentityUser {
        match self {
            Self::Process(pin) => user_of(pin, selectors),
            Self::Pod { .. } => {
                IdentityUser { fingerprint: looks(selectors), process: None, uid: None }
            }
        }
    }

    /// Completes when the workload has stopped.
    pub(super) async fn stopped(&self, attestors: &Attestors, clock: &dyn Clock) -> Status {
        match self {
            Self::Process(pin) => pin.exited().await,
            Self::Pod(pod) => loop {
                clock.sleep_until(clock.now() + POD_INTERVAL).await;
                // That it cannot be asked after does not mean that it is gone.
                match pod.attest(attestors).await {
                    Err(status) if status.code() == tonic::Code::NotFound => return status,
                    _still_there => {}
                }
            },
        }
        error::broker::not_found()
    }

    /// Whether it has stopped, as far as that can be told without waiting.
    pub(super) fn has_stopped(&self) -> bool {
        matches!(self, Self::Process(pin) if !pin.is_alive())
    }

    /// How the log names it.
    pub(super) fn description(&self) -> serde_json::Value {
        match self {
            Self::Process(pin) => serde_json::json!({ "pid": pin.pid(), "uid": pin.uid() }),
            Self::Pod(Pod { object, uid }) => serde_json::json!({
                "pod": format!("{}/{}", object.namespace, object.name),
                "pod_uid": uid.get().cloned().flatten().unwrap_or_else(|| object.uid.clone()),
            }),
        }
    }
}

impl Pod {
    async fn attest(&self, attestors: &Attestors) -> Result<SelectorSet, Status> {
        let found = attestors.attest_kubernetes(&self.object).await;
        let found = found.map_err(error::broker::object)?.ok_or_else(error::broker::not_found)?;
        let uid = uid_of(&found.selectors);
        // A pod that took over the name is another workload.
        if *self.uid.get_or_init(|| uid.clone()) == uid {
            Ok(found.selectors)
        } else {
            Err(error::broker::not_found())
        }
    }
}

fn uid_of(selectors: &SelectorSet) -> Option<String> {
    let texts = selectors.iter().map(ToString::to_string);
    texts.filter_map(|text| text.strip_prefix(POD_UID).map(ToOwned::to_owned)).next()
}

/// The daemon answers for identities and has none that others could fetch.
fn is_this_daemon(pin: &ProcessPin) -> bool {
    u32::try_from(pin.pid()).is_ok_and(|pid| pid == std::process::id())
}
