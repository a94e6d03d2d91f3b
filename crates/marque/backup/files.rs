//! Folders that are built beside what they become, and files that are on disk when they are said to be.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use marque_spiffe::Random;

use super::{BackupCode, BackupError};

const BLOCK: usize = 64 * 1024;

/// A folder of mode 0700 that goes with everything in it, unless it is kept.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    kept: bool,
}

impl Staging {
    /// A new folder in `parent`; its name begins with `prefix`, which no other file's does.
    pub(super) fn make(
        parent: &Path,
        prefix: &str,
        random: &dyn Random,
    ) -> Result<Self, BackupError> {
        let mut bytes = [0; 8];
        random
            .fill(&mut bytes)
            .map_err(BackupError::of(BackupCode::Io, "no random number for a name"))?;
        let path = parent.join(format!("{prefix}{}", hex::encode(bytes)));
        DirBuilder::new().mode(0o700).create(&path).map_err(io("create", &path))?;
        Ok(Self { path, kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It became something else.
    pub(super) fn keep(mut self) {
        self.kept = true;
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
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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

/// Passes everything on and gives length and SHA-256, in hexadecimal, of it.
pub(super) fn digest(mut from: impl Read, mut to: impl Write) -> std::io::Result<(u64, String)> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut bytes, mut block) = (0_u64, vec![0; BLOCK]);
    loop {
        let read = from.read(&mut block)?;
        let Some(part) = block.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
        to.write_all(part)?;
        bytes += part.len() as u64;
    }
    Ok((bytes, hex::encode(context.finish())))
}

pub(super) fn io(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> BackupError + use<> {
    BackupError::of(BackupCode::Io, format!("cannot {what} `{}`", path.display()))
}
