//! A process held by its kernel facts, so that what is learned later is known to be about it.
//!
//! The pidfd says whether the process lives; while it does, its pid cannot be given to another, so
//! a read below `/proc/PID` followed by a check that it lives was a read about this process. The
//! rest of the pin notices what a pidfd survives: another executable, another user, other groups.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OnceCell;

use crate::MAX_SUPPLEMENTARY_GROUPS;
use crate::error::AttestError;
use crate::proc::{MemoryLayout, Stat, Status, parse_stat, parse_status};

/// More than `/proc/PID/status` needs with [`MAX_SUPPLEMENTARY_GROUPS`] groups of ten digits.
const MAX_PROC_FILE: u64 = 64 * 1024;

/// One process, pinned: its id, a pidfd, its start time, its effective user and group, its
/// supplementary groups, and the device and inode of its executable.
#[derive(Debug)]
pub struct ProcessPin {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    facts: Facts,
    /// Where the program lay when it was pinned. Another execution lies elsewhere, even one of the
    /// same program; but the process may move it too, so it is no part of the facts above.
    layout: Option<MemoryLayout>,
    /// The pidfd once more, registered with the runtime by the first who waits for the exit.
    watched: OnceCell<AsyncFd<Arc<OwnedFd>>>,
}

/// One process for as long as it runs one program: told from every earlier and later one with its
/// pid, and from itself after it executed something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessInstance {
    pid: i32,
    start_time: u64,
    executable: Option<FileId>,
}

/// Which file a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: (u32, u32),
    inode: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    start_time: u64,
    uid: u32,
    gid: u32,
    groups: Box<[u32]>,
    /// Absent where the kernel does not let us see it; such a process earns nothing that comes
    /// from its executable.
    executable: Option<FileId>,
}

impl ProcessPin {
    /// Pins a process that is named by its id. The start time is read on both sides of
    /// `pidfd_open`, so that the pidfd and the facts are of one process.
    ///
    /// # Errors
    /// When the process is gone, changes meanwhile, or may not be looked at.
    pub fn open(pid: i32) -> Result<Self, AttestError> {
        let before = read_stat(pid)?;
        let id = Pid::from_raw(pid).ok_or(AttestError::UnseenProcess)?;
        let pidfd = pidfd_open(id, PidfdFlags::empty())
            .map_err(|errno| AttestError::Pidfd { pid, source: errno.into() })?;
        let pin = Self::hold(pid, pidfd)?;
        if pin.facts.start_time != before.start_time {
            return Err(AttestError::StartTimeChanged { pid });
        }
        Ok(pin)
    }

    /// Pins the process behind a pidfd.
    pub(crate) fn hold(pid: i32, pidfd: OwnedFd) -> Result<Self, AttestError> {
        let (facts, layout) = read_facts(pid).map_err(|error| gone_or(pid, &pidfd, error))?;
        let pin = Self { pid, pidfd: Arc::new(pidfd), facts, layout, watched: OnceCell::new() };
        // Only now is it sure that the facts are those of the process behind the pidfd.
        pin.require_alive()?;
        Ok(pin)
    }

    /// The process id, as seen from this process's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The effective user id.
    pub fn uid(&self) -> u32 {
        self.facts.uid
    }

    /// The effective group id.
    pub fn gid(&self) -> u32 {
        self.facts.gid
    }

    /// The supplementary group ids, ascending.
    pub fn supplementary_groups(&self) -> &[u32] {
        &self.facts.groups
    }

    /// The process as what it was when it was pinned, for telling it from others later.
    pub fn instance(&self) -> ProcessInstance {
        let Facts { start_time, executable, .. } = self.facts;
        ProcessInstance { pid: self.pid, start_time, executable }
    }

    /// Whether the kernel lets this daemon see which executable the process runs. It does not for
    /// processes of other users when the daemon may not trace them, and for processes that made
    /// themselves undumpable.
    pub fn executable_is_visible(&self) -> bool {
        self.facts.executable.is_some()
    }

    pub(crate) fn executable(&self) -> Option<FileId> {
        self.facts.executable
    }

    pub(crate) fn layout(&self) -> Option<MemoryLayout> {
        self.layout
    }

    /// The pidfd that holds the process.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Reads a small file below `/proc/PID`. What comes back is of this process.
    ///
    /// # Errors
    /// When the process has ended, when the file may not be read, or when it is 64 KiB or longer.
    pub fn read_proc(&self, file: &'static str) -> Result<Vec<u8>, AttestError> {
        let bytes = read(self.pid, file).map_err(|error| gone_or(self.pid, &self.pidfd, error))?;
        self.require_alive()?;
        Ok(bytes)
    }

    /// Whether the process has not exited yet. A zombie has.
    pub fn is_alive(&self) -> bool {
        is_alive(&self.pidfd)
    }

    /// Completes when the process has exited, or at once when that cannot be watched.
    pub async fn exited(&self) {
        #[expect(deprecated, reason = "its successor is unsafe; an owned descriptor stays open")]
        let watch = async || AsyncFd::with_interest(Arc::clone(&self.pidfd), Interest::READABLE);
        let Ok(watched) = self.watched.get_or_try_init(watch).await else { return };
        // Readable and an error both mean that there is nothing left to wait for.
        drop(watched.readable().await);
    }

    /// Compares every pinned fact with what the kernel says now.
    ///
    /// # Errors
    /// A variant for the first fact that no longer holds.
    pub fn recheck(&self) -> Result<(), AttestError> {
        let pid = self.pid;
        self.require_alive()?;
        let (now, _layout) = read_facts(pid).map_err(|error| gone_or(pid, &self.pidfd, error))?;
        self.require_alive()?;
        let Facts { start_time, uid, gid, groups, executable } = &self.facts;
        if now.start_time != *start_time {
            return Err(AttestError::StartTimeChanged { pid });
        }
        if now.uid != *uid {
            return Err(AttestError::UserChanged { pid, pinned: *uid, found: now.uid });
        }
        if now.gid != *gid {
            return Err(AttestError::GroupChanged { pid, pinned: *gid, found: now.gid });
        }
        if now.groups != *groups {
            return Err(AttestError::SupplementaryGroupsChanged { pid });
        }
        if now.executable != *executable {
            return Err(AttestError::ExecutableChanged { pid });
        }
        Ok(())
    }

    /// The id of the process's parent right now; `None` at the top of the visible tree.
    pub(crate) fn parent(&self) -> Result<Option<i32>, AttestError> {
        let parent = self.stat()?.parent;
        Ok((parent != 0).then_some(parent))
    }

    /// `/proc/PID/stat` as it is now.
    pub(crate) fn stat(&self) -> Result<Stat, AttestError> {
        let malformed = AttestError::Malformed { pid: self.pid, file: "stat" };
        parse_stat(&self.read_proc("stat")?).ok_or(malformed)
    }

    /// `/proc/PID/status` as it is now.
    pub(crate) fn status(&self) -> Result<Status, AttestError> {
        let malformed = AttestError::Malformed { pid: self.pid, file: "status" };
        parse_status(&self.read_proc("status")?).ok_or(malformed)
    }

    /// When the process started, in clock ticks since the machine did.
    pub(crate) fn start_time(&self) -> u64 {
        self.facts.start_time
    }

    /// This pin as it were, had its pid belonged to an earlier process.
    #[cfg(test)]
    pub(crate) fn as_if_started_earlier(&self) -> Self {
        let start_time = self.facts.start_time - 1;
        let facts = Facts { start_time, ..self.facts.clone() };
        let pidfd = Arc::clone(&self.pidfd);
        Self { pid: self.pid, pidfd, facts, layout: self.layout, watched: OnceCell::new() }
    }

    fn require_alive(&self) -> Result<(), AttestError> {
        if self.is_alive() { Ok(()) } else { Err(AttestError::Exited { pid: self.pid }) }
    }
}

impl ProcessInstance {
    /// The process with this id that started then (in clock ticks since boot), its program unseen.
    /// A name, not a pin: that it exists is for a [`ProcessPin`] to say.
    pub fn named(pid: i32, start_time: u64) -> Self {
        Self { pid, start_time, executable: None }
    }

    /// The process id, as seen from this process's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl FileId {
    pub(crate) fn of(facts: &Statx) -> Self {
        Self { device: (facts.stx_dev_major, facts.stx_dev_minor), inode: facts.stx_ino }
    }

    /// The file at `path`, without asking a remote or user-space file system anew: such a file
    /// system could otherwise hold up whoever asks.
    pub(crate) fn at(path: &str) -> io::Result<Self> {
        let flags = AtFlags::STATX_DONT_SYNC;
        Ok(Self::of(&statx(CWD, path, flags, StatxFlags::BASIC_STATS)?))
    }
}

impl fmt::Display for FileId {
    /// `8:1/4711`: the device, as in `/proc/self/mountinfo`, and the inode.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device: (major, minor), inode } = self;
        write!(f, "{major}:{minor}/{inode}")
    }
}

fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    // A pidfd becomes readable when its process exits (pidfd_open(2)); an error counts as an exit.
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}

/// A read that failed because the process ended meanwhile says so.
fn gone_or(pid: i32, pidfd: &OwnedFd, error: AttestError) -> AttestError {
    if is_alive(pidfd) { error } else { AttestError::Exited { pid } }
}

fn read_facts(pid: i32) -> Result<(Facts, Option<MemoryLayout>), AttestError> {
    let stat = read_stat(pid)?;
    let status = parse_status(&read(pid, "status")?)
        .ok_or(AttestError::Malformed { pid, file: "status" })?;
    if status.groups.len() > MAX_SUPPLEMENTARY_GROUPS {
        let (found, limit) = (status.groups.len(), MAX_SUPPLEMENTARY_GROUPS);
        return Err(AttestError::TooManyGroups { pid, found, limit });
    }
    let facts = Facts {
        start_time: stat.start_time,
        uid: status.uids.effective,
        gid: status.gids.effective,
        groups: status.groups,
        executable: read_executable(pid)?,
    };
    Ok((facts, stat.layout))
}

fn read_stat(pid: i32) -> Result<Stat, AttestError> {
    parse_stat(&read(pid, "stat")?).ok_or(AttestError::Malformed { pid, file: "stat" })
}

fn read_executable(pid: i32) -> Result<Option<FileId>, AttestError> {
    match FileId::at(&format!("/proc/{pid}/exe")) {
        Ok(file) => Ok(Some(file)),
        // Not ours to see, or (a kernel thread, a process in its last moments) there is none.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(AttestError::Unreadable { pid, file: "exe", source }),
    }
}

fn read(pid: i32, file: &'static str) -> Result<Vec<u8>, AttestError> {
    let unreadable = |source| AttestError::Unreadable { pid, file, source };
    let mut bytes = Vec::with_capacity(2048);
    let source = std::fs::File::open(format!("/proc/{pid}/{file}")).map_err(unreadable)?;
    source.take(MAX_PROC_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == MAX_PROC_FILE {
        return Err(AttestError::Malformed { pid, file });
    }
    Ok(bytes)
}
