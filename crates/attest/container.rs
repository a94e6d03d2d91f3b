//! What the attestors of containers share: the container of a pinned process, and selectors from
//! what somebody else says.

use std::fmt;
use std::str::FromStr;

use marque_spiffe::Selector;

use crate::cgroup::{CgroupRoot, Cgroups, ContainerCgroup};
use crate::error::AttestError;
use crate::pin::ProcessPin;

/// Where the cgroups of a process are read.
pub trait CgroupSource: fmt::Debug + Send + Sync {
    /// The content of the process's cgroup file.
    ///
    /// # Errors
    /// When the process has exited, or the file cannot be read.
    fn read(&self, process: &ProcessPin) -> Result<Vec<u8>, AttestError>;
}

/// The kernel's own word: `/proc/PID/cgroup`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcCgroups;

impl CgroupSource for ProcCgroups {
    fn read(&self, process: &ProcessPin) -> Result<Vec<u8>, AttestError> {
        process.read_proc("cgroup")
    }
}

/// The container that a process is in right now.
pub(crate) fn container_of(
    cgroups: &dyn CgroupSource,
    process: &ProcessPin,
    root: &CgroupRoot,
) -> Result<Option<ContainerCgroup>, AttestError> {
    let unclear = |source| AttestError::Container { pid: process.pid(), source };
    Cgroups::parse(&cgroups.read(process)?)
        .and_then(|cgroups| cgroups.container(root))
        .map_err(unclear)
}

/// A selector, unless the value does not fit into one. An entry could not name such a value
/// either, so nothing is lost.
pub(crate) fn selector(kind: &str, value: fmt::Arguments<'_>) -> Option<Selector> {
    Selector::from_str(&format!("{kind}:{value}")).ok()
}
