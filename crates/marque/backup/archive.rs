//! A backup as one tar file: the manifest, what it lists in its order, and the manifest's digest. Nothing else, to the byte.
//!
//! What a reader may find is known before it looks: headers, padding and end are made anew and compared, so that no byte of
//! a backup is read as anything and none of it changes unnoticed.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::files::{Digested, create, digest, io, make_private, sync_folder};
use super::work::Work;
use super::{BUNDLES, BackupCode, BackupError, KEYS, Manifest};

const MANIFEST: &str = "manifest.json";
/// SHA-256 of the manifest as `sha256sum` writes and checks it.
const MANIFEST_DIGEST: &str = "manifest.sha256";
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// Tar files are made of blocks of this size, and end with two that are empty.
const BLOCK: usize = 512;
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Writes a backup of the files below `folder` that the manifest lists.
pub(super) fn write(
    to: File,
    manifest: &Manifest,
    folder: &Path,
    work: &Work,
) -> Result<File, BackupError> {
    let failed = |path: &str| io("write", Path::new(path));
    let json = serde_json::to_vec_pretty(manifest)
        .map_err(BackupError::of(BackupCode::Io, "the manifest cannot be written"))?;
    let mut to = BufWriter::new(to);
    let seconds = seconds(manifest);
    let mut put = |path: &str, content: &mut dyn Read, bytes: u64| {
        let written = (|| {
            to.write_all(&preamble(path, bytes, seconds)?)?;
            let copied = io::copy(&mut work.reads(content.take(bytes)), &mut to)?;
            if copied != bytes {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            to.write_all(&vec![0; padding(bytes)])
        })();
        written.map_err(failed(path))
    };
    put(MANIFEST, &mut json.as_slice(), json.len() as u64)?;
    for listed in &manifest.files {
        let path = folder.join(&listed.path);
        let mut file = File::open(&path).map_err(io("read", &path))?;
        put(&listed.path, &mut file, listed.bytes)?;
    }
    let digest = digest_line(&json);
    put(MANIFEST_DIGEST, &mut digest.as_bytes(), digest.len() as u64)?;
    let ended = to.write_all(&END).and_then(|()| to.into_inner().map_err(Into::into));
    let file = ended.map_err(failed(MANIFEST))?;
    file.sync_all().map_err(failed(MANIFEST))?;
    Ok(file)
}

/// Reads a backup to its end and holds every byte against what a backup of this manifest has there.
///
/// # Errors
/// [`BackupCode::Damaged`] where anything is not as it was written; [`BackupCode::Io`] where it cannot be read.
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
    sync_folder(&folder.join(KEYS))?;
    sync_folder(&folder.join(BUNDLES))?;
    Ok(manifest)
}

fn read(
    mut backup: impl Read,
    mut place: impl FnMut(&str) -> Result<Box<dyn Write>, BackupError>,
) -> Result<Manifest, BackupError> {
    let (head, json) = read_manifest(&mut backup)?;
    let manifest = Manifest::parse(&json)?;
    let seconds = seconds(&manifest);
    if preamble_of(MANIFEST, json.len() as u64, seconds)? != head {
        return Err(BackupError::damaged("the manifest is not as it was written"));
    }
    for listed in &manifest.files {
        let path = &listed.path;
        let preamble = preamble_of(path, listed.bytes, seconds)?;
        expect(&mut backup, &preamble, path, "is not where the manifest has it")?;
        // No more is read than was written, whatever the archive claims.
        let content = digest((&mut backup).take(listed.bytes), place(path)?);
        let Digested { bytes, sha256 } = content.map_err(|error| error.of(path))?;
        if bytes != listed.bytes {
            return Err(cut_off(path));
        }
        if sha256 != listed.sha256 {
            return Err(BackupError::damaged(format!("`{path}` is not what was backed up")));
        }
        let rest = vec![0; padding(listed.bytes)];
        expect(&mut backup, &rest, path, "has something behind its end")?;
    }
    let digest = digest_line(&json);
    let mut end = preamble_of(MANIFEST_DIGEST, digest.len() as u64, seconds)?;
    end.extend(digest.as_bytes());
    end.resize(end.len() + padding(digest.len() as u64), 0);
    expect(&mut backup, &end, MANIFEST_DIGEST, "is not that of the manifest")?;
    expect(&mut backup, &END, "the end", "is not one")?;
    match backup.read(&mut [0]).map_err(unread)? {
        0 => Ok(manifest),
        _ => Err(BackupError::damaged("it goes on behind its end")),
    }
}

/// The first header and what it is of, of which nothing is known yet but that it is a manifest.
fn read_manifest(backup: &mut impl Read) -> Result<(Vec<u8>, Vec<u8>), BackupError> {
    let mut head = vec![0; BLOCK];
    match backup.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(empty()),
        Err(error) => return Err(unread(error)),
    }
    if head.iter().all(|byte| *byte == 0) {
        return Err(empty());
    }
    let header = Header::from_byte_slice(&head);
    let size = header.entry_size().ok().filter(|size| *size <= MAX_MANIFEST);
    let (Some(size), b"manifest.json") = (size, &*header.path_bytes()) else {
        return Err(BackupError::damaged("it does not begin with a manifest: it is no backup"));
    };
    let mut json = Vec::new();
    backup.take(size).read_to_end(&mut json).map_err(unread)?;
    if json.len() as u64 != size {
        return Err(cut_off(MANIFEST));
    }
    expect(backup, &vec![0; padding(size)], MANIFEST, "has something behind its end")?;
    Ok((head, json))
}

/// Reads exactly these bytes.
fn expect(
    backup: &mut impl Read,
    expected: &[u8],
    what: &str,
    otherwise: &str,
) -> Result<(), BackupError> {
    let mut found = vec![0; expected.len()];
    match backup.read_exact(&mut found) {
        Ok(()) if found == expected => Ok(()),
        Ok(()) => Err(BackupError::damaged(format!("`{what}` {otherwise}"))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(cut_off(what)),
        Err(error) => Err(unread(error)),
    }
}

/// What stands before the content of a file: its header, and where its name is long the one before that.
fn preamble(path: &str, bytes: u64, seconds: u64) -> io::Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_mtime(seconds);
    header.set_size(bytes);
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header, path, io::empty())?;
    Ok(builder.get_ref().clone())
}

fn preamble_of(path: &str, bytes: u64, seconds: u64) -> Result<Vec<u8>, BackupError> {
    preamble(path, bytes, seconds).map_err(BackupError::of(
        BackupCode::Damaged,
        format!("`{path}` is no name that a backup has"),
    ))
}

/// How many bytes there are from the end of a content to the end of its last block.
fn padding(bytes: u64) -> usize {
    let over = bytes % BLOCK as u64;
    usize::try_from(over).map_or(0, |over| (BLOCK - over) % BLOCK)
}

fn seconds(manifest: &Manifest) -> u64 {
    u64::try_from(manifest.taken_at.as_second()).unwrap_or_default()
}

fn digest_line(json: &[u8]) -> String {
    format!("{}  {MANIFEST}\n", hex::encode(marque_jose::sha256(json)))
}

fn empty() -> BackupError {
    BackupError::damaged("it is empty")
}

fn cut_off(what: &str) -> BackupError {
    BackupError::damaged(format!("`{what}` is missing or not whole: it was cut off"))
}

fn unread(error: io::Error) -> BackupError {
    BackupError::of(BackupCode::Io, "the backup cannot be read")(error)
}
