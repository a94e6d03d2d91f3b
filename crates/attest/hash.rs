//! SHA-256 of files, above all of the file that a process runs.
//!
//! An executable is opened through `/proc/PID/exe`, so it is the very file that the kernel runs,
//! whatever its path means in whichever mount namespace. Hashing is a lever for overload, so it
//! is bounded in size and in memory, and remembered by everything that changes with a file's
//! content; its callers bound how much of it happens at once.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use moka::sync::Cache;
use ring::digest::{Context, SHA256};
use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};

use crate::error::AttestError;
use crate::pin::FileId;

/// How often a file that is touched while it is hashed is hashed again before it is refused.
const MAX_ATTEMPTS: usize = 8;

/// How many files without a digest are remembered, so that each is told of once.
const MAX_TOLD: u64 = 1024;

/// The digests of files seen before. For blocking threads.
#[derive(Debug)]
pub(crate) struct FileHashes {
    max_size: u64,
    known: Cache<FileState, Digest>,
    told: Cache<FileState, ()>,
}

pub(crate) type Digest = [u8; 32];

/// What came of hashing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashed {
    Digest(Digest),
    /// It is larger than the limit.
    TooLarge,
    /// It is not for this daemon to read.
    Unreadable,
}

/// Why a file was not hashed.
#[derive(Debug)]
pub(crate) enum HashError {
    Io(io::Error),
    /// It was written to, over and over.
    Changed,
}

/// A file in one state of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileState {
    file: FileId,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl FileHashes {
    pub(crate) fn new(max_size: u64, max_entries: u64) -> Self {
        Self { max_size, known: Cache::new(max_entries), told: Cache::new(MAX_TOLD) }
    }

    /// The digest of the executable of `pid`, which must be the file `pinned`.
    pub(crate) fn executable(&self, pid: i32, pinned: FileId) -> Result<Hashed, AttestError> {
        let failed = |source| AttestError::Hash { pid, source };
        let file = match File::open(format!("/proc/{pid}/exe")) {
            Ok(file) => file,
            // A file that this daemon may not read has no digest here, as one that is too large.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Hashed::Unreadable);
            }
            Err(error) => return Err(failed(error)),
        };
        if FileState::of(&file).map_err(failed)?.file != pinned {
            return Err(AttestError::ExecutableChanged { pid });
        }
        self.file(&file).map_err(|error| match error {
            HashError::Io(source) => failed(source),
            HashError::Changed => AttestError::ChangedWhileHashed { pid },
        })
    }

    /// The digest of an open file.
    pub(crate) fn file(&self, file: &File) -> Result<Hashed, HashError> {
        let mut key = FileState::of(file)?;
        for _attempt in 0..MAX_ATTEMPTS {
            if key.size > self.max_size {
                self.tell(key);
                return Ok(Hashed::TooLarge);
            }
            if let Some(digest) = self.known.get(&key) {
                return Ok(Hashed::Digest(digest));
            }
            let digest = read_digest(file, key.size)?;
            let now = FileState::of(file)?;
            if now == key {
                self.known.insert(key, digest);
                return Ok(Hashed::Digest(digest));
            }
            // Adding a hard link touches the file as much as writing to it does.
            key = now;
        }
        Err(HashError::Changed)
    }

    /// Tells the operator, once for each state of a file: the path is the process's to choose, so
    /// the file goes by its inode.
    fn tell(&self, key: FileState) {
        metrics::counter!("marque_unhashed_files_total", "reason" => "too_large").increment(1);
        if self.told.contains_key(&key) {
            return;
        }
        self.told.insert(key, ());
        let FileState { file, size, .. } = key;
        let limit = self.max_size;
        tracing::warn!(%file, size, limit, "file is larger than the limit: it earns no digest");
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> u64 {
        self.known.run_pending_tasks();
        self.known.entry_count()
    }

    #[cfg(test)]
    pub(crate) fn told(&self) -> u64 {
        self.told.run_pending_tasks();
        self.told.entry_count()
    }
}

impl From<io::Error> for HashError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl FileState {
    fn of(file: &File) -> io::Result<Self> {
        let facts: Statx = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Self::from(&facts))
    }

    /// The state of the executable of `pid`. Neither a remote nor a user-space file system is asked
    /// anew: it could hold up whoever asks.
    pub(crate) fn of_executable(pid: i32) -> io::Result<Self> {
        let flags = AtFlags::STATX_DONT_SYNC;
        let facts = statx(CWD, format!("/proc/{pid}/exe"), flags, StatxFlags::BASIC_STATS)?;
        Ok(Self::from(&facts))
    }

    pub(crate) fn file(&self) -> FileId {
        self.file
    }
}

impl From<&Statx> for FileState {
    fn from(facts: &Statx) -> Self {
        Self {
            file: FileId::of(facts),
            size: facts.stx_size,
            modified: (facts.stx_mtime.tv_sec, facts.stx_mtime.tv_nsec),
            changed: (facts.stx_ctime.tv_sec, facts.stx_ctime.tv_nsec),
        }
    }
}

/// Hashes `size` bytes and no more, so that a growing file cannot pass the limit.
fn read_digest(file: &File, size: u64) -> io::Result<Digest> {
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; 64 * 1024];
    let mut position = 0;
    while position < size {
        let wanted = usize::try_from(size - position).unwrap_or(usize::MAX).min(chunk.len());
        let read = file.read_at(chunk.get_mut(..wanted).unwrap_or_default(), position)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        position += read as u64;
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    Ok(bytes)
}
