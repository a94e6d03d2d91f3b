//! A backup as one tar file: the manifest, then what it lists, in its order and nothing else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tar::{Archive, Builder, EntryType, Header};

use super::files::{create, digest, io, make_private};
use super::{BUNDLES, BackupCode, BackupError, KEYS, Manifest};

const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;

/// Writes a backup of the files below `folder` that the manifest lists.
pub(super) fn write(to: File, manifest: &Manifest, folder: &Path) -> Result<File, BackupError> {
    let failed = |path: &str| io("write", Path::new(path));
    let mut builder = Builder::new(to);
    let json = serde_json::to_vec_pretty(manifest)
        .map_err(BackupError::of(BackupCode::Io, "the manifest cannot be written"))?;
    let seconds = u64::try_from(manifest.taken_at.as_second()).unwrap_or_default();
    let header = |bytes: u64| {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(seconds);
        header.set_size(bytes);
        header
    };
    builder
        .append_data(&mut header(json.len() as u64), MANIFEST, json.as_slice())
        .map_err(failed(MANIFEST))?;
    for listed in &manifest.files {
        let path = folder.join(&listed.path);
        let file = File::open(&path).map_err(io("read", &path))?;
        builder
            .append_data(&mut header(listed.bytes), &listed.path, file.take(listed.bytes))
            .map_err(failed(&listed.path))?;
    }
    let file = builder.into_inner().map_err(failed(MANIFEST))?;
    file.sync_all().map_err(failed(MANIFEST))?;
    Ok(file)
}

/// Reads a backup to its end and holds every file against the manifest.
///
/// # Errors
/// Anything is not as it was written.
pub fn inspect(backup: impl Read) -> Result<Manifest, BackupError> {
    read(backup, |_path| Ok(Box::new(io::sink())))
}

/// As [`inspect`], and puts every file below `folder`, on disk.
pub(super) fn unpack(backup: impl Read, folder: &Path) -> Result<Manifest, BackupError> {
    make_private(&folder.join(KEYS))?;
    make_private(&folder.join(BUNDLES))?;
    let manifest = read(backup, |path| Ok(Box::new(create(&folder.join(path))?)))?;
    for listed in &manifest.files {
        let path = folder.join(&listed.path);
        File::open(&path).and_then(|file| file.sync_all()).map_err(io("sync", &path))?;
    }
    Ok(manifest)
}

fn read(
    backup: impl Read,
    mut place: impl FnMut(&str) -> Result<Box<dyn Write>, BackupError>,
) -> Result<Manifest, BackupError> {
    let mut archive = Archive::new(backup);
    let mut entries = archive.entries().map_err(no_archive)?;
    let mut first = entries.next().ok_or_else(empty)?.map_err(no_archive)?;
    if path_of(&first)? != MANIFEST || first.size() > MAX_MANIFEST {
        return Err(BackupError::damaged("it does not begin with a manifest: it is no backup"));
    }
    let mut json = Vec::new();
    first.by_ref().take(MAX_MANIFEST).read_to_end(&mut json).map_err(no_archive)?;
    let manifest = Manifest::parse(&json)?;
    let mut listed = manifest.files.iter();
    for entry in entries {
        let entry = entry.map_err(no_archive)?;
        let path = path_of(&entry)?;
        let Some(expected) = listed.next().filter(|file| file.path == path) else {
            let path: String = path.chars().take(80).collect();
            return Err(BackupError::damaged(format!("`{path}` is not where the manifest has it")));
        };
        // No more is read than was written, whatever the archive claims.
        let limit = expected.bytes.saturating_add(1);
        let (bytes, sha256) = digest(entry.take(limit), place(&path)?).map_err(no_archive)?;
        if bytes != expected.bytes || sha256 != expected.sha256 {
            return Err(BackupError::damaged(format!("`{path}` is not what was backed up")));
        }
    }
    match listed.next() {
        None => Ok(manifest),
        Some(missing) => {
            Err(BackupError::damaged(format!("`{}` is missing: it was cut off", missing.path)))
        }
    }
}

fn path_of<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String, BackupError> {
    if entry.header().entry_type() != EntryType::Regular {
        return Err(BackupError::damaged("it has something else than files"));
    }
    let path = entry.path_bytes();
    String::from_utf8(path.into_owned())
        .map_err(|_not_text| BackupError::damaged("it has a file whose name is no text"))
}

fn empty() -> BackupError {
    BackupError::damaged("it is empty")
}

fn no_archive(error: io::Error) -> BackupError {
    BackupError::of(BackupCode::Damaged, "it does not read as a backup")(error)
}
