//! The `unix` attestor: what the kernel and the host's name service say of a process.
//!
//! | selector | from | proves |
//! |---|---|---|
//! | `unix:uid:1000`, `unix:user:alice` | effective user id | the user |
//! | `unix:gid:1000`, `unix:group:staff` | effective group id | the group |
//! | `unix:supplementary_gid:27`, `unix:supplementary_group:sudo` | supplementary groups | membership |
//! | `unix:path:/usr/bin/x` | `/proc/PID/exe`, when that path leads to the same file from here | which file runs; narrows a user |
//! | `unix:sha256:<64 hex digits>` | content of `/proc/PID/exe` | which content runs; narrows a user |
//!
//! Deliberately absent: command lines, environment and working directory, which the process writes
//! itself.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;
use marque_spiffe::{Selector, SelectorSet};
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};
use tokio::sync::Semaphore;

use crate::attestor::Attestor;
use crate::error::AttestError;
use crate::hash::ExecutableHashes;
use crate::pin::{FileId, ProcessPin};

/// The limits of [`UnixAttestor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixAttestorConfig {
    /// Executables larger than this many bytes earn no `unix:sha256`.
    pub max_executable_size: u64,
    /// How many processes are looked at at once; more wait.
    pub max_concurrent: usize,
    /// How many digests of executables are remembered.
    pub max_remembered_digests: u64,
}

/// Says user, groups and executable of a process.
#[derive(Debug)]
pub struct UnixAttestor {
    hashes: Arc<ExecutableHashes>,
    workers: Arc<Semaphore>,
}

/// What the blocking half needs of a pin.
#[derive(Debug)]
struct Subject {
    pid: i32,
    uid: u32,
    gid: u32,
    supplementary: Vec<u32>,
    executable: Option<FileId>,
}

impl Default for UnixAttestorConfig {
    fn default() -> Self {
        Self {
            max_executable_size: 256 * 1024 * 1024,
            max_concurrent: 8,
            max_remembered_digests: 4096,
        }
    }
}

impl UnixAttestor {
    /// An attestor with these limits.
    pub fn new(config: UnixAttestorConfig) -> Self {
        let UnixAttestorConfig { max_executable_size, max_concurrent, max_remembered_digests } =
            config;
        Self {
            hashes: Arc::new(ExecutableHashes::new(max_executable_size, max_remembered_digests)),
            workers: Arc::new(Semaphore::new(max_concurrent.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    async fn gather(&self, subject: Subject) -> Result<SelectorSet, AttestError> {
        let interrupted = AttestError::Interrupted { pid: subject.pid };
        let Ok(permit) = Arc::clone(&self.workers).acquire_owned().await else {
            return Err(interrupted);
        };
        let hashes = Arc::clone(&self.hashes);
        // Names may come over a network and hashing reads a whole file: neither belongs on the
        // threads that serve connections. The permit goes along, so that a caller who gives up
        // does not make room for another while the work still runs.
        let worker = tokio::task::spawn_blocking(move || {
            let selectors = subject.selectors(&hashes);
            drop(permit);
            selectors
        });
        worker.await.unwrap_or(Err(interrupted))
    }
}

impl Default for UnixAttestor {
    fn default() -> Self {
        Self::new(UnixAttestorConfig::default())
    }
}

impl Attestor for UnixAttestor {
    fn kind(&self) -> &'static str {
        "unix"
    }

    fn selectors<'a>(
        &'a self,
        process: &'a ProcessPin,
    ) -> BoxFuture<'a, Result<SelectorSet, AttestError>> {
        Box::pin(self.gather(Subject {
            pid: process.pid(),
            uid: process.uid(),
            gid: process.gid(),
            supplementary: process.supplementary_groups().to_vec(),
            executable: process.executable(),
        }))
    }
}

impl Subject {
    fn selectors(&self, hashes: &ExecutableHashes) -> Result<SelectorSet, AttestError> {
        let mut found = Vec::new();
        found.extend(selector("uid", &self.uid.to_string()));
        found.extend(user_name(self.uid)?.and_then(|name| selector("user", &name)));
        found.extend(selector("gid", &self.gid.to_string()));
        found.extend(group_name(self.gid)?.and_then(|name| selector("group", &name)));
        for gid in &self.supplementary {
            found.extend(selector("supplementary_gid", &gid.to_string()));
            let name = group_name(*gid)?;
            found.extend(name.and_then(|name| selector("supplementary_group", &name)));
        }
        if let Some(executable) = self.executable {
            found.extend(self.path(executable).and_then(|path| selector("path", &path)));
            match hashes.digest(self.pid, executable)? {
                Some(digest) => found.extend(selector("sha256", &hex::encode(digest))),
                None => tracing::warn!(
                    pid = self.pid,
                    "executable is too large to be hashed, or unreadable"
                ),
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The path of the executable, if that path leads to the very same file from here. A process
    /// can give itself any path in a mount namespace of its own, which any user may create.
    fn path(&self, executable: FileId) -> Option<String> {
        let path: PathBuf = std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
        let path = path.to_str().filter(|path| path.starts_with('/'))?;
        (FileId::at(path).ok()? == executable).then(|| path.to_owned())
    }
}

/// A selector, unless the value does not fit into one (a path with a line feed, say). An entry
/// could not name such a value either, so nothing is lost.
fn selector(name: &str, value: &str) -> Option<Selector> {
    Selector::from_str(&format!("unix:{name}:{value}")).ok()
}

fn user_name(uid: u32) -> Result<Option<String>, AttestError> {
    absent_or(User::from_uid(Uid::from_raw(uid)), "user", uid).map(|user| user.map(|u| u.name))
}

fn group_name(gid: u32) -> Result<Option<String>, AttestError> {
    absent_or(Group::from_gid(Gid::from_raw(gid)), "group", gid).map(|group| group.map(|g| g.name))
}

/// Name services say "no such name" in several ways (getpwuid(3)); anything else is a failure.
fn absent_or<T>(
    answer: Result<Option<T>, Errno>,
    what: &'static str,
    id: u32,
) -> Result<Option<T>, AttestError> {
    match answer {
        Ok(found) => Ok(found),
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(source) => Err(AttestError::Names { what, id, source }),
    }
}
