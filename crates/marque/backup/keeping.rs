//! What of the state that is there a restore takes along, because it is newer than the backup or is not the backup's to
//! replace: sealed keys, a folder of keys that is elsewhere, bundles of others, kills and lifts.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use marque_authority::AuthorityRecord;
use marque_spiffe::TrustDomain;
use marque_store::{JournalFile, JournaledOrder, PostgresStore, SqliteStore, Survey};

use super::files::{self, io, plain_files};
use super::{BUNDLES, BackupCode, BackupError, KEYS, STORE};
use crate::federation::sequence_of_kept;

/// What a restore took along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptHere {
    /// Sealed keys that the backup does not have, by their slots.
    pub keys: Vec<String>,
    /// The folder of keys, where it is a link to one elsewhere.
    pub key_folder: Option<PathBuf>,
    /// Bundles of other trust domains that are newer here, by their files.
    pub bundles: Vec<String>,
    /// How many kills and lifts of the journal here the backup does not know.
    pub orders: usize,
}

/// The kill journal of the engine in a private folder.
pub(super) fn journal(private: &Path, is_sqlite: bool, trust_domain: &TrustDomain) -> JournalFile {
    if is_sqlite {
        SqliteStore::journal(&private.join(STORE))
    } else {
        PostgresStore::journal(private, trust_domain)
    }
}

/// The kills and lifts that only the journal here has. They are refused unless they are to be kept.
pub(super) fn orders(
    here: &JournalFile,
    next: &Survey,
    trust_domain: &TrustDomain,
    keep: bool,
) -> Result<Vec<JournaledOrder>, BackupError> {
    let unread = BackupError::of(BackupCode::Store, "the kill journal that is here cannot be read");
    let unknown = here.unknown_to(&next.kills, trust_domain).map_err(unread)?;
    match unknown.first() {
        Some(first) if !keep => {
            let (many, at, path) = (unknown.len(), first.at(), here.path().display());
            let message = format!(
                "the backup does not know {many} kills or lifts of `{path}`, of which the first is of {at}"
            );
            Err(BackupError::new(BackupCode::KillRollback, message))
        }
        _ => Ok(unknown),
    }
}

/// What the restored store names and a folder of keys that is elsewhere lacks. Others use that folder: it is put there when
/// nothing else is left to do.
#[derive(Default)]
pub(super) struct MissingKeys {
    folder: PathBuf,
    /// The sealed keys by their names.
    keys: Vec<(String, Vec<u8>)>,
}

impl MissingKeys {
    /// Puts them there.
    pub(super) fn put(&self) -> Result<(), BackupError> {
        self.keys.iter().try_for_each(|(name, content)| put_beside(&self.folder, name, content))
    }
}

/// Takes the keys along that are here. A folder of keys that is elsewhere stays where it is; what it is to get is the answer.
pub(super) fn keys(
    private: &Path,
    staged: &Path,
    (here, next): (Option<&[AuthorityRecord]>, &[AuthorityRecord]),
    kept: &mut KeptHere,
) -> Result<MissingKeys, BackupError> {
    let (here_keys, staged_keys) = (private.join(KEYS), staged.join(KEYS));
    let Ok(facts) = here_keys.symlink_metadata() else { return Ok(MissingKeys::default()) };
    if facts.is_symlink() {
        return linked_keys(&here_keys, &staged_keys, next, kept);
    }
    let device =
        |path: &Path| fs::metadata(path).map(|facts| facts.dev()).map_err(io("look at", path));
    if device(&here_keys)? != device(private)? {
        let path = here_keys.display();
        let message = format!(
            "`{path}` is a file system of its own, which would be moved aside: unmount it first"
        );
        return Err(BackupError::new(BackupCode::Io, message));
    }
    for (name, path) in plain_files(&here_keys)? {
        let staged = staged_keys.join(&name);
        let slot = name.trim_end_matches(".key");
        if staged.exists() {
            // The key on record is the same: what is here is known to open.
            if here.is_some_and(|here| is_same(slot, here, next)) {
                files::remove(&staged)?;
                take_along(&path, &staged)?;
            }
        } else {
            take_along(&path, &staged)?;
            kept.keys.push(slot.to_owned());
        }
    }
    files::sync_folder(&staged_keys)?;
    Ok(MissingKeys::default())
}

/// Whether both have the same key on record in this slot.
fn is_same(slot: &str, here: &[AuthorityRecord], next: &[AuthorityRecord]) -> bool {
    let of = |records: &[AuthorityRecord]| {
        let found = records.iter().find(|record| record.slot.to_string() == slot);
        found.map(|record| record.public_key.clone())
    };
    of(here).is_some_and(|key| of(next) == Some(key))
}

fn linked_keys(
    link: &Path,
    staged: &Path,
    next: &[AuthorityRecord],
    kept: &mut KeptHere,
) -> Result<MissingKeys, BackupError> {
    let shared = fs::canonicalize(link).map_err(io("follow", link))?;
    let there: BTreeSet<String> =
        plain_files(&shared)?.into_iter().map(|(name, _path)| name).collect();
    let ours = plain_files(staged)?;
    let mut missing = Vec::new();
    for (name, path) in ours {
        let named = next.iter().any(|record| format!("{}.key", record.slot) == name);
        let content = fs::read(&path).map_err(io("read", &path))?;
        if !there.contains(&name) {
            missing.extend(named.then_some((name, content)));
            continue;
        }
        let other = shared.join(&name);
        if named {
            is_key(&other, &content)?;
        }
    }
    let target = fs::read_link(link).map_err(io("follow", link))?;
    fs::remove_dir_all(staged).map_err(io("remove", staged))?;
    symlink(&target, staged).map_err(io("link", staged))?;
    kept.key_folder = Some(shared.clone());
    Ok(MissingKeys { folder: shared, keys: missing })
}

/// A key of a folder that others use has to be the backup's.
fn is_key(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    if fs::read(path).map_err(io("read", path))? == content {
        return Ok(());
    }
    let message = format!("`{}` is another key than the backup's", path.display());
    Err(BackupError::new(BackupCode::KeyConflict, message))
}

/// Puts a key into a folder that others use: whole, or not there at all.
fn put_beside(folder: &Path, name: &str, content: &[u8]) -> Result<(), BackupError> {
    let partial = folder.join(format!(".{name}.restored"));
    files::remove(&partial)?;
    files::write_new(&partial, content)?;
    let path = folder.join(name);
    let linked = fs::hard_link(&partial, &path);
    files::remove(&partial)?;
    match linked {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => is_key(&path, content)?,
        linked => linked.map_err(io("write", &path))?,
    }
    files::sync_folder(folder)
}

/// Takes the bundles of others along that are as new as the backup's, or newer; and since when the folder's own ones are here,
/// which makes none of them younger.
pub(super) fn bundles(
    private: &Path,
    staged: &Path,
    kept: &mut KeptHere,
) -> Result<(), BackupError> {
    let staged = staged.join(BUNDLES);
    for (name, path) in plain_files(&private.join(BUNDLES))? {
        if is_partial(&path) {
            continue;
        }
        let other = staged.join(&name);
        if path.extension().is_some_and(|extension| extension == "seen") {
            files::remove(&other)?;
            take_along(&path, &other)?;
            continue;
        }
        let (here, there) = (sequence_of_kept(&path), sequence_of_kept(&other));
        // One that does not read is worth nothing to anybody.
        if here.is_some() && here >= there {
            files::remove(&other)?;
            take_along(&path, &other)?;
            if here > there {
                kept.bundles.push(name);
            }
        }
    }
    files::sync_folder(&staged)
}

/// Whether it was to become another file, and has not.
pub(super) fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "partial")
}

/// A name of its own for a file that nobody changes in place.
fn take_along(from: &Path, to: &Path) -> Result<(), BackupError> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            files::write_new(to, &fs::read(from).map_err(io("read", from))?)
        }
        linked => linked.map_err(io("take along", from)),
    }
}
