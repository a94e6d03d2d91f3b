//! Files that hold secrets: created exclusively, complete or not there at all, and closed to others.
//!
//! Every operation goes through the open folder, so a folder that is swapped underneath is not followed.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use ring::rand::SecureRandom;
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat},
    io::Errno,
};
use zeroize::Zeroizing;

use crate::{FileError, system_random};

/// Files which are still being written are called this and 16 hexadecimal digits; nothing ever reads them.
const UNFINISHED: &str = ".marque-unfinished-";

/// Who else may do what in a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FolderRule {
    /// Group and others may do nothing: the folder is ours alone.
    Private,
    /// Group and others may look; they may not put another file in the place of ours.
    NotWritableByOthers,
}

/// An open folder that passed its rule.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder and checks who owns it and who else may use it.
    pub(crate) fn open(path: &Path, rule: FolderRule) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(io_error("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(io_error("look at", path))?;
        check_owner(&stat, path)?;
        let mode = permissions(&stat);
        let sticky = stat.st_mode & Mode::SVTX.bits() != 0;
        let (open_to_others, wanted) = match rule {
            FolderRule::Private => (mode & 0o077 != 0, "700"),
            FolderRule::NotWritableByOthers => (mode & 0o022 != 0 && !sticky, "go-w"),
        };
        if open_to_others {
            return Err(FileError::NotPrivate { path: path.to_owned(), mode, wanted });
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a private folder, and makes it first (mode 0700) when it is not there; its parent must exist.
    pub(crate) fn open_or_create_private(path: &Path) -> Result<Self, FileError> {
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) => {
                let parent = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                let parent_file =
                    File::open(parent).map_err(|source| io_failure("open", parent, source))?;
                parent_file.sync_all().map_err(|source| io_failure("sync", parent, source))?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(io_error("create", path)(error)),
        }
        Self::open(path, FolderRule::Private)
    }

    /// A file's path, for messages.
    pub(crate) fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A private file's content, or `None` when there is no file of that name. Links are refused.
    pub(crate) fn read(
        &self,
        name: &str,
        limit: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        match self.read_with(OsStr::new(name), OFlags::NOFOLLOW, limit) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(FileError::Io { source, path, .. })
                if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
            {
                Err(FileError::NotAFile { path })
            }
            other => other.map(Some),
        }
    }

    /// A private file's content, following links: secrets that an orchestrator mounts are links. What is opened is
    /// held to the same rules.
    pub(crate) fn read_through_links(
        &self,
        name: &OsStr,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, FileError> {
        self.read_with(name, OFlags::empty(), limit)
    }

    /// Writes a file of mode 0600 which must not exist yet. It is on disk when this returns, and it is never there in
    /// part: the content is written and synced under another name, linked to its own (a link replaces nothing), and the
    /// folder synced.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>, content: &[u8]) -> Result<(), FileError> {
        let name = name.as_ref();
        let path = self.path_of(name);
        let unfinished = self.write_unfinished(content)?;
        let linked = rustix::fs::linkat(
            &self.fd,
            unfinished.name.as_str(),
            &self.fd,
            name,
            AtFlags::empty(),
        );
        drop(unfinished);
        match linked {
            Ok(()) => self.sync(),
            Err(Errno::EXIST) => Err(FileError::Exists { path }),
            Err(error) => Err(io_error("create", &path)(error)),
        }
    }

    /// Removes a file, if it is there; the removal is on disk when this returns.
    pub(crate) fn remove(&self, name: &str) -> Result<(), FileError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => self.sync(),
            Err(error) => Err(io_error("remove", &self.path_of(name))(error)),
        }
    }

    /// The names of all finished files in the folder, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, FileError> {
        let mut names = self.all_names()?;
        names.retain(|name| !name.starts_with(UNFINISHED));
        Ok(names)
    }

    /// Removes what a process that ended while it wrote left behind: a sealing key in the clear, perhaps. A writer holds
    /// its file locked, so what is being written now stays, as does whatever belongs to others. A file that cannot be
    /// removed is no reason not to start.
    pub(crate) fn remove_unfinished(&self) {
        let names = self.all_names().unwrap_or_default();
        for name in names.iter().filter(|name| is_unfinished(name)) {
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let Ok(fd) = rustix::fs::openat(&self.fd, name.as_str(), flags, Mode::empty()) else {
                continue;
            };
            let is_ours = rustix::fs::fstat(&fd).is_ok_and(|stat| {
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    && stat.st_uid == rustix::process::geteuid().as_raw()
            });
            if is_ours && lock(&fd).is_ok() {
                rustix::fs::unlinkat(&self.fd, name.as_str(), AtFlags::empty()).unwrap_or_default();
            }
        }
    }

    fn all_names(&self) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(io_error("list", &self.path))? {
            let entry = entry.map_err(io_error("list", &self.path))?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    fn read_with(
        &self,
        name: &OsStr,
        extra: OFlags,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let path = self.path_of(name);
        // Opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | extra;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(io_error("open", &path))?;
        let stat = rustix::fs::fstat(&fd).map_err(io_error("look at", &path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FileError::NotAFile { path });
        }
        check_owner(&stat, &path)?;
        let mode = permissions(&stat);
        if mode & 0o077 != 0 {
            return Err(FileError::NotPrivate { path, mode, wanted: "600" });
        }
        // Room for everything at once: a buffer that grows leaves copies behind which are not zeroed.
        let mut content = Zeroizing::new(Vec::with_capacity(limit + 1));
        let mut file =
            File::from(fd).take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1));
        file.read_to_end(&mut content).map_err(|source| io_failure("read", &path, source))?;
        if content.len() > limit {
            return Err(FileError::TooLong { path, limit });
        }
        Ok(content)
    }

    fn write_unfinished(&self, content: &[u8]) -> Result<Unfinished<'_>, FileError> {
        let mut unfinished = self.begin_unfinished()?;
        let path = self.path_of(&unfinished.name);
        let file = &mut unfinished.file;
        file.write_all(content).map_err(|source| io_failure("write", &path, source))?;
        file.sync_all().map_err(|source| io_failure("sync", &path, source))?;
        Ok(unfinished)
    }

    /// An empty file under a working name, locked before its first byte, so that nobody takes it for one that a crash
    /// left. Who opens the folder in the very moment between making and locking still does: then there is another one.
    /// Where the file system has no locks nobody gets one, and nothing is removed.
    fn begin_unfinished(&self) -> Result<Unfinished<'_>, FileError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _attempt in 0..8 {
            let mut suffix = [0; 8];
            system_random().fill(&mut suffix).map_err(|_unspecified| {
                io_failure("draw a name in", &self.path, io::ErrorKind::Other.into())
            })?;
            let name = format!("{UNFINISHED}{}", hex::encode(suffix));
            let path = self.path_of(&name);
            let fd = rustix::fs::openat(&self.fd, name.as_str(), flags, Mode::RUSR | Mode::WUSR)
                .map_err(io_error("create", &path))?;
            let is_taken = lock(&fd) == Err(Errno::WOULDBLOCK);
            let stat = rustix::fs::fstat(&fd).map_err(io_error("look at", &path))?;
            let unfinished = Unfinished { folder: self, name, file: File::from(fd) };
            if !is_taken && stat.st_nlink > 0 {
                return Ok(unfinished);
            }
        }
        Err(io_failure("begin a file in", &self.path, io::ErrorKind::WouldBlock.into()))
    }

    fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.fd).map_err(io_error("sync", &self.path))
    }
}

/// A file's folder and name.
pub(crate) fn split(path: &Path) -> Result<(&Path, &OsStr), FileError> {
    let (Some(parent), Some(Component::Normal(name))) =
        (path.parent(), path.components().next_back())
    else {
        return Err(FileError::NotAFile { path: path.to_owned() });
    };
    Ok((if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, name))
}

/// A file that has no name of its own yet; its working name goes when this is dropped.
struct Unfinished<'a> {
    folder: &'a Folder,
    name: String,
    /// Locked for as long as the working name exists.
    file: File,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Nothing reads a file of this name, so one that cannot be removed is only litter.
        rustix::fs::unlinkat(&self.folder.fd, self.name.as_str(), AtFlags::empty())
            .unwrap_or_default();
    }
}

/// The name of a file that [`Folder::create`] began.
fn is_unfinished(name: &str) -> bool {
    name.strip_prefix(UNFINISHED).is_some_and(|suffix| {
        suffix.len() == 16 && suffix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn lock(file: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & 0o777
}

fn check_owner(stat: &Stat, path: &Path) -> Result<(), FileError> {
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid == user || stat.st_uid == 0 {
        return Ok(());
    }
    Err(FileError::ForeignOwner { path: path.to_owned(), owner: stat.st_uid, user })
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> FileError {
    move |error| io_failure(operation, path, error.into())
}

fn io_failure(operation: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
