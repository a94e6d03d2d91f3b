use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use crate::cgroup::CgroupError;
use crate::source::SourceError;
use crate::systemd::SystemdError;

/// Why a process could not be pinned or attested. Every variant is a refusal: nothing is
/// attested in part.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The socket did not tell who is at its other end.
    #[error("peer credentials are not available")]
    PeerCredentials(#[source] Errno),
    /// The kernel reports pid 0: the caller lives in a pid namespace that this process cannot see.
    #[error("caller is in a pid namespace that this process cannot see")]
    UnseenProcess,
    /// No pidfd could be had for the process.
    #[error("process {pid} cannot be held by a pidfd")]
    Pidfd {
        /// The process.
        pid: i32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the process in `/proc` could not be read.
    #[error("cannot read {file} of process {pid}")]
    Unreadable {
        /// The process.
        pid: i32,
        /// The file below `/proc/PID`.
        file: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the process in `/proc` does not read as proc(5) says, or is longer than the
    /// limit.
    #[error("{file} of process {pid} does not have the expected form")]
    Malformed {
        /// The process.
        pid: i32,
        /// The file below `/proc/PID`.
        file: &'static str,
    },
    /// The process has ended.
    #[error("process {pid} has exited")]
    Exited {
        /// The process.
        pid: i32,
    },
    /// The process id now belongs to another process.
    #[error("process {pid} is not the process that connected: its start time differs")]
    StartTimeChanged {
        /// The process.
        pid: i32,
    },
    /// The effective user differs from the one that connected.
    #[error("process {pid} changed its user from {pinned} to {found}")]
    UserChanged {
        /// The process.
        pid: i32,
        /// The user id of the connection.
        pinned: u32,
        /// The user id found now.
        found: u32,
    },
    /// The effective group differs from the one that connected.
    #[error("process {pid} changed its group from {pinned} to {found}")]
    GroupChanged {
        /// The process.
        pid: i32,
        /// The group id of the connection.
        pinned: u32,
        /// The group id found now.
        found: u32,
    },
    /// The supplementary groups differ from those pinned.
    #[error("process {pid} changed its supplementary groups")]
    SupplementaryGroupsChanged {
        /// The process.
        pid: i32,
    },
    /// The process runs another executable than when it connected.
    #[error("process {pid} runs another executable than when it connected")]
    ExecutableChanged {
        /// The process.
        pid: i32,
    },
    /// The process is in more supplementary groups than [`crate::MAX_SUPPLEMENTARY_GROUPS`].
    #[error("process {pid} is in {found} supplementary groups, more than {limit}")]
    TooManyGroups {
        /// The process.
        pid: i32,
        /// How many groups it is in.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The process got another parent while its ancestry was read.
    #[error("process {pid} changed its parent while its ancestry was read")]
    ParentChanged {
        /// The process.
        pid: i32,
    },
    /// The ancestry is longer than [`crate::MAX_LINEAGE`].
    #[error("ancestry of process {pid} has more than {limit} processes")]
    LineageTooLong {
        /// The process whose ancestry was read.
        pid: i32,
        /// How many processes are allowed.
        limit: usize,
    },
    /// An ancestor under this daemon's own user hides its executable, so whether it is an agent
    /// cannot be told.
    #[error("process {pid}, an ancestor under this daemon's own user, hides its executable")]
    HiddenAncestor {
        /// The ancestor.
        pid: i32,
    },
    /// The user has no number in this daemon's user namespace: it shows as the overflow id, as
    /// every other such user does, and as `nobody`.
    #[error("user of process {pid} has no number in this daemon's user namespace")]
    UnmappedUser {
        /// The process.
        pid: i32,
    },
    /// Which ids this daemon's user namespace has could not be read.
    #[error("cannot read this daemon's id maps")]
    IdMaps(#[source] io::Error),
    /// systemd could not be asked for the unit of a process.
    #[error("cannot ask systemd for the unit of process {pid}")]
    Systemd {
        /// The process.
        pid: i32,
        /// What went wrong.
        #[source]
        source: SystemdError,
    },
    /// A user or group name could not be looked up.
    #[error("cannot look up the name of {what} {id}")]
    Names {
        /// `user` or `group`.
        what: &'static str,
        /// The numeric id.
        id: u32,
        /// What the name service said.
        #[source]
        source: Errno,
    },
    /// The executable could not be read to be hashed.
    #[error("cannot hash the executable of process {pid}")]
    Hash {
        /// The process.
        pid: i32,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The executable's content changed while it was hashed.
    #[error("executable of process {pid} changed while it was hashed")]
    ChangedWhileHashed {
        /// The process.
        pid: i32,
    },
    /// The kernel does not say in an unmistakable way which container the process is in.
    #[error("cannot tell which container process {pid} is in")]
    Container {
        /// The process.
        pid: i32,
        /// What is wrong with its cgroups.
        #[source]
        source: CgroupError,
    },
    /// An attestor could not ask, or did not believe, whoever knows about containers. Without its
    /// selectors the process would pass for less than it is.
    #[error("the {attestor} attestor cannot attest")]
    Source {
        /// The attestor's kind.
        attestor: &'static str,
        /// Why.
        #[source]
        source: Arc<SourceError>,
    },
    /// A broker names an object of a type that no attestor here knows, or does not name it.
    #[error("no attestor knows such an object")]
    UnsupportedObject,
    /// The worker that gathered the facts ended early: the daemon is shutting down.
    #[error("attestation of process {pid} was interrupted")]
    Interrupted {
        /// The process.
        pid: i32,
    },
}
