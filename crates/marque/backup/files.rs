//! Folders that are built beside what they become, and files that are on disk when they are said to be.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use marque_spiffe::Random;
use nix::unistd::Uid;

use super::{BackupCode, BackupError};

const BLOCK: usize = 64 * 1024;
/// How many bytes make the name of a folder that is being built.
const NAME: usize = 8;
/// How often a name is drawn before that is given up.
const TRIES: usize = 8;
/// The file in a folder that has not become anything yet: its content is the folder's name.
pub(super) const UNFINISHED: &str = ".staging";

/// A folder of mode 0700 that goes with everything in it, unless it is kept. It is locked, so that nobody takes it for one
/// that a process left which ended.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    name: String,
    kept: bool,
    _lock: File,
}

impl Staging {
    /// A new folder in `parent`; its name begins with `prefix`, which no other file's does. Those that ended processes left
    /// there go.
    pub(super) fn make(
        parent: &Path,
        prefix: &str,
        random: &dyn Random,
    ) -> Result<Self, BackupError> {
        sweep(parent, prefix);
        for _try in 0..TRIES {
            let mut bytes = [0; NAME];
            random
                .fill(&mut bytes)
                .map_err(BackupError::of(BackupCode::Io, "no random number for a name"))?;
            let name = format!("{prefix}{}", hex::encode(bytes));
            let path = parent.join(&name);
            DirBuilder::new().mode(0o700).create(&path).map_err(io("create", &path))?;
            let lock = File::open(&path).map_err(io("open", &path))?;
            // Whoever sweeps may have been faster.
            if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) && is_at(&lock, &path) {
                let staging = Self { path, name, kept: false, _lock: lock };
                write_new(&staging.path.join(UNFINISHED), staging.name.as_bytes())?;
                return Ok(staging);
            }
        }
        let message = format!("no folder of its own in `{}`", parent.display());
        Err(BackupError::new(BackupCode::Io, message))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `folder` is what this was made for: it has taken that one's place.
    pub(super) fn became(&self, folder: &Path) -> bool {
        fs::read(folder.join(UNFINISHED)).is_ok_and(|name| name == self.name.as_bytes())
    }

    /// It became something else.
    pub(super) fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let path = self.path.display();
            tracing::warn!(error = &error as &dyn std::error::Error, %path, "a folder is left over");
        }
    }
}

/// The folders in `parent` that [`Staging`] made under `prefix`.
pub(super) fn unfinished(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_ours = |name: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == 2 * NAME && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let Ok(listing) = fs::read_dir(parent) else { return Vec::new() };
    let found = listing.flatten().filter(|item| item.file_name().to_str().is_some_and(is_ours));
    let folders = found.filter(|item| item.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|item| item.path()).collect()
}

/// Removes what a process left that ended before it was done. What somebody works on stays, as does what belongs to others;
/// what cannot be removed is only litter.
pub(super) fn sweep(parent: &Path, prefix: &str) {
    for path in unfinished(parent, prefix) {
        let Ok(folder) = File::open(&path) else { continue };
        let own = folder.metadata().is_ok_and(|facts| facts.uid() == Uid::effective().as_raw());
        if own && folder.try_lock().is_ok() && became_nothing(&path) {
            drop(fs::remove_dir_all(&path));
        }
    }
}

/// Whether a folder is one that never took another's place, or has nothing in it.
pub(super) fn became_nothing(folder: &Path) -> bool {
    let is_empty = || fs::read_dir(folder).is_ok_and(|mut listing| listing.next().is_none());
    folder.join(UNFINISHED).exists() || is_empty()
}

fn is_at(open: &File, path: &Path) -> bool {
    let place = |facts: fs::Metadata| (facts.dev(), facts.ino());
    match (open.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => place(open) == place(there),
        _ => false,
    }
}

/// Writes a new file of mode 0600 and has it on disk.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let mut file = create(path)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(io("write", path))
}

/// A new file of mode 0600.
pub(super) fn create(path: &Path) -> Result<File, BackupError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(io("create", path))
}

/// Writes a file of mode 0600 in the place of what has its name: whole or not at all.
pub(super) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(partial, path)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A private folder.
pub(super) fn make_private(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(path).map_err(io("create", path))
}

/// Has a folder's names on disk.
pub(super) fn sync_folder(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io("sync", path))
}

/// The regular files of a folder by name, hidden ones left out; none where there is no folder.
pub(super) fn plain_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, BackupError> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("list", folder)(error)),
    };
    let mut files = Vec::new();
    for item in listing {
        let item = item.map_err(io("list", folder))?;
        let is_file = item.file_type().map_err(io("look at", &item.path()))?.is_file();
        let name = item.file_name().to_string_lossy().into_owned();
        if is_file && !name.starts_with('.') {
            files.push((name, item.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// What was passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digested {
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

/// On which side it failed.
#[derive(Debug)]
pub(super) enum PassError {
    Read(std::io::Error),
    Write(std::io::Error),
}

impl PassError {
    /// It was a file of a backup.
    pub(super) fn of(self, path: &str) -> BackupError {
        match self {
            Self::Read(error) => io("read", Path::new(path))(error),
            Self::Write(error) => io("write", Path::new(path))(error),
        }
    }
}

/// Passes everything on and gives its length and SHA-256.
pub(super) fn digest(mut from: impl Read, mut to: impl Write) -> Result<Digested, PassError> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut bytes, mut block) = (0_u64, vec![0; BLOCK]);
    loop {
        let read = match from.read(&mut block) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(PassError::Read)?,
        };
        let Some(part) = block.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
        to.write_all(part).map_err(PassError::Write)?;
        bytes += part.len() as u64;
    }
    Ok(Digested { bytes, sha256: hex::encode(context.finish()) })
}

pub(super) fn io(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> BackupError + use<> {
    BackupError::of(BackupCode::Io, format!("cannot {what} `{}`", path.display()))
}
