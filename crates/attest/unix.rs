//! The `unix` attestor: what the kernel and the host's name service say of a process.
//!
//! | selector | from | proves |
//! |---|---|---|
//! | `unix:uid:1000`, `unix:user:alice` | effective user id | the user |
//! | `unix:gid:1000`, `unix:group:staff` | effective group id | the group |
//! | `unix:supplementary_gid:27`, `unix:supplementary_group:sudo` | supplementary groups | membership |
//! | `unix:path:/usr/bin/x` | `/proc/PID/exe`, when that path leads to the same file from here | which file runs; narrows a user |
//! | `unix:sha256:<64 hex digits>` | content of `/proc/PID/exe` | which content runs; narrows a user |
//! | `unix:unhashed:too_large`, `unix:unhashed:unreadable` | in place of `unix:sha256` | nothing: it tells an operator why there is none |
//!
//! A user or group that has no number in this daemon's user namespace shows as the overflow id
//! (65534, the number of `nobody`), and so does every other one. A process of such a user is
//! refused; such a group is left out.
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

use crate::attestor::Attestor;
use crate::error::AttestError;
use crate::hash::{FileHashes, Hashed};
use crate::known::{Known, Owner, Program};
use crate::namespace::IdMaps;
use crate::pin::{FileId, ProcessPin};
use crate::slots::Slots;

/// The limits of [`UnixAttestor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixAttestorConfig {
    /// Executables larger than this many bytes earn no `unix:sha256`.
    pub max_executable_size: u64,
    /// How many processes are looked at at once, a quarter of them of one user; more wait.
    pub max_concurrent: usize,
    /// How many digests of executables are remembered.
    pub max_remembered_digests: u64,
}

/// Says user, groups and executable of a process.
#[derive(Debug)]
pub struct UnixAttestor {
    hashes: Arc<FileHashes>,
    known: Arc<Known>,
    slots: Arc<Slots>,
}

/// What the blocking half needs of a pin.
#[derive(Debug)]
struct Subject {
    pid: i32,
    owner: Owner,
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
            hashes: Arc::new(FileHashes::new(max_executable_size, max_remembered_digests)),
            known: Arc::new(Known::new()),
            slots: Slots::new(max_concurrent),
        }
    }

    /// Takes all the room that one user can have.
    #[cfg(test)]
    pub(crate) async fn occupy(&self, uid: u32) -> Vec<crate::slots::Slot> {
        let mut held = Vec::new();
        while let Some(slot) = futures::FutureExt::now_or_never(self.slots.acquire(uid)) {
            held.extend(slot);
        }
        held
    }

    async fn gather(&self, subject: Subject) -> Result<SelectorSet, AttestError> {
        let interrupted = AttestError::Interrupted { pid: subject.pid };
        let uid = subject.owner.uid;
        let Some(slot) = self.slots.acquire(uid).await else { return Err(interrupted) };
        let (hashes, known) = (Arc::clone(&self.hashes), Arc::clone(&self.known));
        // Names may come over a network and hashing reads a whole file: neither belongs on the
        // threads that serve connections.
        let worker = tokio::task::spawn_blocking(move || {
            let selectors = subject.selectors(&hashes, &known);
            drop(slot);
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
        let subject = Subject {
            pid: process.pid(),
            owner: Owner::of(process),
            executable: process.executable(),
        };
        match subject.known(&self.known) {
            Some(selectors) => Box::pin(std::future::ready(Ok(selectors))),
            None => Box::pin(self.gather(subject)),
        }
    }
}

impl Subject {
    /// The selectors, if all that they come from is known.
    fn known(&self, known: &Known) -> Option<SelectorSet> {
        let owner = known.owner(&self.owner)?;
        let program = match self.executable {
            Some(executable) => {
                let program = Program::of(self.pid)?;
                // What else may have changed, the pin will notice.
                known.program(&program).filter(|_| program.file.file() == executable)?
            }
            None => Arc::default(),
        };
        Some(owner.iter().chain(&*program).cloned().collect())
    }

    fn selectors(&self, hashes: &FileHashes, known: &Known) -> Result<SelectorSet, AttestError> {
        let owner: Arc<[Selector]> = self.owner_selectors()?.into();
        known.keep_owner(self.owner.clone(), &owner);
        let program: Arc<[Selector]> = match self.executable {
            Some(executable) => {
                let before = Program::of(self.pid);
                let selectors = self.program_selectors(executable, hashes)?.into();
                if let Some(program) =
                    before.filter(|before| Program::of(self.pid).as_ref() == Some(before))
                {
                    known.keep_program(program, &selectors);
                }
                selectors
            }
            None => Arc::default(),
        };
        Ok(owner.iter().chain(&*program).cloned().collect())
    }

    fn owner_selectors(&self) -> Result<Vec<Selector>, AttestError> {
        let ids = IdMaps::read().map_err(AttestError::IdMaps)?;
        let Owner { uid, gid, supplementary } = &self.owner;
        if !ids.is_user(*uid) {
            return Err(AttestError::UnmappedUser { pid: self.pid });
        }
        let mut found = Vec::new();
        found.extend(selector("uid", &uid.to_string()));
        found.extend(user_name(*uid)?.and_then(|name| selector("user", &name)));
        if ids.is_group(*gid) {
            found.extend(selector("gid", &gid.to_string()));
            found.extend(group_name(*gid)?.and_then(|name| selector("group", &name)));
        }
        for gid in supplementary.iter().filter(|gid| ids.is_group(**gid)) {
            found.extend(selector("supplementary_gid", &gid.to_string()));
            let name = group_name(*gid)?;
            found.extend(name.and_then(|name| selector("supplementary_group", &name)));
        }
        Ok(found)
    }

    fn program_selectors(
        &self,
        executable: FileId,
        hashes: &FileHashes,
    ) -> Result<Vec<Selector>, AttestError> {
        let mut found = Vec::new();
        found.extend(self.path(executable).and_then(|path| selector("path", &path)));
        found.extend(match hashes.executable(self.pid, executable)? {
            Hashed::Digest(digest) => selector("sha256", &hex::encode(digest)),
            Hashed::TooLarge => selector("unhashed", "too_large"),
            Hashed::Unreadable => selector("unhashed", "unreadable"),
        });
        Ok(found)
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
