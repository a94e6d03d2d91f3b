//! SHA-256 of the file that a process runs.
//!
//! The file is opened through `/proc/PID/exe`, so it is the very file that the kernel runs,
//! whatever its path means in whichever mount namespace. Hashing is a lever for overload, so it
//! is bounded in size, in concurrency and in memory, and remembered by everything that changes
//! with a file's content.

use std::fs::File;
use std::io::{ErrorKind, Read};

use moka::sync::Cache;
use ring::digest::{Context, SHA256};
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};

use crate::error::AttestError;
use crate::pin::FileId;

/// How often a file that is touched while it is hashed is hashed again before the process is refused.
const MAX_ATTEMPTS: usize = 8;

/// The digests of executables seen before. For blocking threads.
#[derive(Debug)]
pub(crate) struct ExecutableHashes {
    max_size: u64,
    known: Cache<Key, Digest>,
}

pub(crate) type Digest = [u8; 32];

/// A file in one state of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    file: FileId,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

/// What came of hashing an executable once.
enum Attempt {
    Digest(Digest),
    /// It is larger than the limit, or not for this daemon to read.
    NoDigest,
    /// It was touched meanwhile.
    Touched,
}

impl ExecutableHashes {
    pub(crate) fn new(max_size: u64, max_entries: u64) -> Self {
        Self { max_size, known: Cache::new(max_entries) }
    }

    /// The digest of the executable of `pid`, which must be the file `pinned`. `None` when it is
    /// larger than the limit or not for this daemon to read.
    pub(crate) fn digest(&self, pid: i32, pinned: FileId) -> Result<Option<Digest>, AttestError> {
        for _attempt in 0..MAX_ATTEMPTS {
            match self.attempt(pid, pinned)? {
                Attempt::Digest(digest) => return Ok(Some(digest)),
                Attempt::NoDigest => return Ok(None),
                // Adding a hard link touches the file as much as writing to it does.
                Attempt::Touched => {}
            }
        }
        Err(AttestError::ChangedWhileHashed { pid })
    }

    fn attempt(&self, pid: i32, pinned: FileId) -> Result<Attempt, AttestError> {
        let failed = |source| AttestError::Hash { pid, source };
        let mut file = match File::open(format!("/proc/{pid}/exe")) {
            Ok(file) => file,
            // A file that this daemon may not read has no digest here, as one that is too large.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Attempt::NoDigest);
            }
            Err(error) => return Err(failed(error)),
        };
        let key = Key::of(&file).map_err(failed)?;
        if key.file != pinned {
            return Err(AttestError::ExecutableChanged { pid });
        }
        if key.size > self.max_size {
            return Ok(Attempt::NoDigest);
        }
        if let Some(digest) = self.known.get(&key) {
            return Ok(Attempt::Digest(digest));
        }
        let digest = read_digest(&mut file, key.size).map_err(failed)?;
        if Key::of(&file).map_err(failed)? != key {
            return Ok(Attempt::Touched);
        }
        self.known.insert(key, digest);
        Ok(Attempt::Digest(digest))
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> u64 {
        self.known.run_pending_tasks();
        self.known.entry_count()
    }
}

impl Key {
    fn of(file: &File) -> std::io::Result<Self> {
        let facts: Statx = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Self {
            file: FileId::of(&facts),
            size: facts.stx_size,
            modified: (facts.stx_mtime.tv_sec, facts.stx_mtime.tv_nsec),
            changed: (facts.stx_ctime.tv_sec, facts.stx_ctime.tv_nsec),
        })
    }
}

/// Hashes `size` bytes and no more, so that a growing file cannot pass the limit.
fn read_digest(file: &mut File, size: u64) -> std::io::Result<Digest> {
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; 64 * 1024];
    let mut source = file.take(size);
    loop {
        let read = source.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    Ok(bytes)
}
