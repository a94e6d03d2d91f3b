//! The `systemd` attestor: which unit of the host's service manager a process belongs to.
//!
//! | selector | from | proves |
//! |---|---|---|
//! | `systemd:id:agent.service` | `GetUnitByPIDFD` of the system manager | the process is in the unit's control group |
//! | `systemd:invocation_id:<32 hex digits>` | likewise | and this is the start that bore that id |
//! | `systemd:fragment_path:/etc/systemd/system/agent.service` | the unit's `FragmentPath` | which file defines the unit |
//! | `systemd:slice:system.slice` | the unit's `Slice` | the branch of the control group tree |
//!
//! The process is named to systemd by the pin's pidfd, so that neither a reused pid nor another pid
//! namespace can mislead it. Before systemd 253 there is only `GetUnitByPID`; its answer counts
//! when the process's own `/proc/PID/cgroup` lies in the unit's control group.
//!
//! Only the *system* manager is asked: whoever has the name `org.freedesktop.systemd1` on the bus
//! must be process 1 and root. A process that a user's own manager started is in the system unit of
//! that manager, `user@1000.service`, and that is what it gets: the units inside are whatever the
//! user says.
//!
//! Deliberately absent: state, results and properties of units that say nothing about identity.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use marque_spiffe::{Selector, SelectorSet};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::attestor::Attestor;
use crate::error::AttestError;
use crate::pin::ProcessPin;
use crate::slots::Slots;

mod manager;

use manager::{Manager, Unit};

/// Whom and how long [`SystemdAttestor`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdAttestorConfig {
    /// The socket of the system bus.
    pub bus: PathBuf,
    /// How long one attestation may take, the connection to the bus included.
    pub timeout: Duration,
    /// How many processes are asked about at once, a quarter of them of one user; more wait.
    pub max_concurrent: usize,
}

/// Says the system unit of a process.
#[derive(Debug)]
pub struct SystemdAttestor {
    config: SystemdAttestorConfig,
    /// Who must answer as the service manager.
    owner: Owner,
    /// Made by the first who needs it, and again after it was lost.
    manager: Mutex<Option<Arc<Manager>>>,
    slots: Arc<Slots>,
}

/// Why systemd did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// Nothing listens at the bus's socket.
    #[error("cannot connect to the system bus")]
    Connect(#[source] std::io::Error),
    /// The bus or systemd refused, or the connection was lost over and over.
    #[error("the system bus does not carry the question")]
    Bus(#[source] zbus::Error),
    /// Somebody other than process 1 of root answers as the service manager.
    #[error("process {pid} of user {uid} answers as systemd, not process 1 of root")]
    NotSystemd {
        /// Its process id, as the bus says.
        pid: u32,
        /// Its user id, as the bus says.
        uid: u32,
    },
    /// The bus does not say who answers as the service manager.
    #[error("the bus does not say who answers as systemd")]
    UnknownOwner,
    /// No whole answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The process came into another unit, or the unit was started anew, each time it was read.
    #[error("the unit changed while it was read")]
    Changed,
}

/// A process, as a bus describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    pid: u32,
    uid: u32,
}

/// How often a unit that changes while it is read is read again.
const MAX_ATTEMPTS: usize = 3;

impl Default for SystemdAttestorConfig {
    fn default() -> Self {
        Self {
            bus: "/run/dbus/system_bus_socket".into(),
            timeout: Duration::from_secs(2),
            max_concurrent: 16,
        }
    }
}

impl SystemdAttestor {
    /// An attestor that asks at this bus. Nothing is connected yet.
    pub fn new(config: SystemdAttestorConfig) -> Self {
        let slots = Slots::new(config.max_concurrent);
        Self { config, owner: Owner { pid: 1, uid: 0 }, manager: Mutex::default(), slots }
    }

    /// An attestor that believes this very process, which plays systemd.
    #[cfg(test)]
    pub(crate) fn believing_this_process(config: SystemdAttestorConfig) -> Self {
        let owner = Owner { pid: std::process::id(), uid: nix::unistd::Uid::effective().as_raw() };
        Self { owner, ..Self::new(config) }
    }

    /// The unit of a process, as often asked for as it may need, within the time.
    async fn unit(&self, process: &ProcessPin) -> Result<Option<Unit>, SystemdError> {
        let asked = timeout(self.config.timeout, self.unit_at_last(process)).await;
        if let Ok(answer) = asked {
            return answer;
        }
        // Whatever held the answer up, the next question does not have to wait behind it. Locked
        // means that somebody makes a new connection already.
        if let Ok(mut manager) = self.manager.try_lock() {
            *manager = None;
        }
        Err(SystemdError::TimedOut(self.config.timeout))
    }

    async fn unit_at_last(&self, process: &ProcessPin) -> Result<Option<Unit>, SystemdError> {
        let _slot = self.slots.acquire(process.uid()).await;
        let mut last = SystemdError::Changed;
        for _attempt in 0..MAX_ATTEMPTS {
            let manager = self.manager().await?;
            last = match manager.unit(process).await {
                Ok(unit) => return Ok(unit),
                Err(error) if error.is_lost() => {
                    self.forget(&manager).await;
                    error
                }
                Err(SystemdError::Changed) => SystemdError::Changed,
                Err(other) => return Err(other),
            };
        }
        Err(last)
    }

    async fn manager(&self) -> Result<Arc<Manager>, SystemdError> {
        let mut manager = self.manager.lock().await;
        if let Some(manager) = manager.as_ref().filter(|manager| !manager.is_closed()) {
            return Ok(Arc::clone(manager));
        }
        let connected = Arc::new(Manager::connect(&self.config.bus, self.owner).await?);
        *manager = Some(Arc::clone(&connected));
        Ok(connected)
    }

    /// Forgets a connection, unless another caller made a new one already.
    async fn forget(&self, lost: &Arc<Manager>) {
        let mut manager = self.manager.lock().await;
        if manager.as_ref().is_some_and(|manager| Arc::ptr_eq(manager, lost)) {
            *manager = None;
        }
    }
}

impl Attestor for SystemdAttestor {
    fn kind(&self) -> &'static str {
        "systemd"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(async move {
            let failed = |source| AttestError::Systemd { pid: process.pid(), source };
            let Some(unit) = self.unit(process).await.map_err(failed)? else {
                return Ok(SelectorSet::default());
            };
            if let Some(control_group) = &unit.control_group
                && !is_within(&process.read_proc("cgroup")?, control_group)
            {
                return Ok(SelectorSet::default());
            }
            Ok(unit.selectors().collect())
        })
    }
}

impl Unit {
    fn selectors(&self) -> impl Iterator<Item = Selector> {
        let Self { id, invocation_id, fragment_path, slice, control_group: _ } = self;
        let named = [
            ("id", Some(id)),
            ("invocation_id", invocation_id.as_ref()),
            ("fragment_path", fragment_path.as_ref()),
            ("slice", slice.as_ref()),
        ];
        // A value that does not fit into a selector could not stand in an entry either.
        named.into_iter().filter_map(|(name, value)| {
            Selector::new("systemd", &format!("{name}:{}", value?)).ok()
        })
    }
}

/// Whether `/proc/PID/cgroup` (cgroups(7): lines of hierarchy, controllers, path) places a process
/// in this control group or below, in the unified hierarchy or in systemd's own of version 1.
fn is_within(cgroup: &[u8], control_group: &str) -> bool {
    let Ok(text) = std::str::from_utf8(cgroup) else { return false };
    let path = |line: &'_ str| {
        let (_hierarchy, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let below = path.strip_prefix(control_group.trim_end_matches('/'))?;
        let is_systemd = matches!(controllers, "" | "name=systemd");
        Some(is_systemd && (below.is_empty() || below.starts_with('/')))
    };
    text.lines().any(|line| path(line).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_within_its_own_control_group_and_those_above() {
        let cgroup = b"1:name=systemd:/a.slice/b.service/c\n3:cpu:/other\n0::/u.slice/v.service\n";
        for (group, within) in [
            ("/a.slice/b.service", true),
            ("/a.slice/b.service/c", true),
            ("/a.slice", true),
            ("/u.slice/v.service", true),
            ("/", true),
            ("/a.slice/b", false),
            ("/a.slice/b.service/c/d", false),
            ("/other", false),
            ("/u", false),
        ] {
            assert_eq!(is_within(cgroup, group), within, "{group}");
        }
        assert!(!is_within(b"", "/") && !is_within(b"0:/\n", "/") && !is_within(b"\xff", "/"));
    }
}
