//! The process at the other end of a Unix socket, pinned when its connection is accepted.
//!
//! A peer is the process that *connected*, not whoever writes on the descriptor later: what else
//! must be checked for that (sender credentials) belongs to the edge that owns the socket.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};

use crate::attestor::Gathered;
use crate::error::AttestError;
use crate::pin::ProcessPin;

/// The pinned process at the other end of one accepted connection.
#[derive(Debug)]
pub struct Peer {
    process: ProcessPin,
    /// By the attestors that looked last.
    gathered: Mutex<Option<Gathered>>,
}

impl Peer {
    /// Takes the kernel's word (`SO_PEERCRED`) for who connected and pins that process, by
    /// `SO_PEERPIDFD` where the kernel has it (Linux 6.5).
    ///
    /// Call it right after `accept`, before the first byte is answered. Nothing stays open when
    /// it fails.
    ///
    /// # Errors
    /// When the peer is in a pid namespace unseen from here (pid 0), is gone already, or is no
    /// longer the user or group that connected.
    pub fn capture(socket: &impl AsFd) -> Result<Self, AttestError> {
        let credentials =
            getsockopt(socket, sockopt::PeerCredentials).map_err(AttestError::PeerCredentials)?;
        let (pid, uid, gid) = (credentials.pid(), credentials.uid(), credentials.gid());
        if pid == 0 {
            return Err(AttestError::UnseenProcess);
        }
        let process = match peer_pidfd(socket, pid)? {
            Some(pidfd) => ProcessPin::hold(pid, pidfd)?,
            None => ProcessPin::open(pid)?,
        };
        if process.uid() != uid {
            return Err(AttestError::UserChanged { pid, pinned: uid, found: process.uid() });
        }
        if process.gid() != gid {
            return Err(AttestError::GroupChanged { pid, pinned: gid, found: process.gid() });
        }
        Ok(Self { process, gathered: Mutex::default() })
    }

    /// The process id, as seen from this process's pid namespace.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The effective user id, equal to that of the connection.
    pub fn uid(&self) -> u32 {
        self.process.uid()
    }

    /// The effective group id, equal to that of the connection.
    pub fn gid(&self) -> u32 {
        self.process.gid()
    }

    /// The pinned process itself.
    pub fn process(&self) -> &ProcessPin {
        &self.process
    }

    /// Compares every pinned fact with what the kernel says now; see [`ProcessPin::recheck`].
    ///
    /// # Errors
    /// A variant for the first fact that no longer holds.
    pub fn recheck(&self) -> Result<(), AttestError> {
        self.process.recheck()
    }

    pub(crate) fn gathered(&self) -> MutexGuard<'_, Option<Gathered>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, gathered: Gathered) {
        *self.gathered() = Some(gathered);
    }

    /// Whether the process has not exited yet.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Completes when the process has exited, or at once when that cannot be watched.
    pub async fn exited(&self) {
        self.process.exited().await;
    }
}

/// The peer's pidfd, or `None` on a kernel that does not know the option.
fn peer_pidfd(socket: &impl AsFd, pid: i32) -> Result<Option<OwnedFd>, AttestError> {
    match getsockopt(socket, sockopt::PeerPidfd) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::ENOPROTOOPT) => Ok(None),
        // What Linux answers when the process has been reaped already, before and since 6.16. Its pid
        // may be another process by now, so there is no falling back to it.
        Err(Errno::EINVAL | Errno::ESRCH) => Err(AttestError::Exited { pid }),
        Err(errno) => Err(AttestError::Pidfd { pid, source: errno.into() }),
    }
}
