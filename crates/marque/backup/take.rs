//! Taking a backup, whoever serves the trust domain meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use marque_spiffe::{Clock, Random};
use marque_store::{JournalFile, PostgresStore, SqliteStore, Survey};
use secrecy::ExposeSecret as _;

use super::files::{self, Digested, Staging, io};
use super::manifest::FORMAT;
use super::work::{Step, Work};
use super::{
    AuthorityGeneration, BUNDLES, BackedUpFile, BackupCode, BackupError, JOURNAL, KEYS, Manifest,
    STORE, Site, archive, keeping, place, standing,
};
use crate::cli::StoreOption;

/// What is built beside the file that it becomes.
const STAGED: &str = ".marque-backup-";
/// The largest file that is copied through memory: a sealed key or a bundle.
const MAX_SMALL: u64 = 16 * 1024 * 1024;

/// Writes a backup of a trust domain to `to`, which must not exist: mode 0600, whole or not there at all.
///
/// # Errors
/// With the code that says why; nothing is left behind then.
pub async fn take(
    site: &Site,
    to: &Path,
    (clock, random): (&dyn Clock, &dyn Random),
    work: &Work,
) -> Result<Manifest, BackupError> {
    if to.symlink_metadata().is_ok() {
        let message = format!("`{}` exists", to.display());
        return Err(BackupError::new(BackupCode::Exists, message));
    }
    let _held = place::hold(&there(site)?)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let staging = Staging::make(&parent, STAGED, random)?;
    let written = write(site, staging.path(), clock, work).await;
    let (manifest, whole) = written.map_err(|error| work.blame(error))?;
    // A link replaces nothing: who was faster has the name.
    fs::hard_link(&whole, to).map_err(io("write", to))?;
    work.go_on(Step::Named);
    if let Err(error) = files::sync_folder(&parent) {
        files::remove(to)?;
        return Err(error);
    }
    Ok(manifest)
}

/// The folder of a trust domain that has a state to back up.
fn there(site: &Site) -> Result<PathBuf, BackupError> {
    let private = site.private();
    let there = if site.is_sqlite() { private.join(STORE) } else { private.join(KEYS) };
    if there.exists() {
        return Ok(site.folder());
    }
    let message = format!("`{}` is not there", there.display());
    Err(BackupError::new(BackupCode::NothingThere, message))
}

/// Writes a backup into `folder`; where it is there.
async fn write(
    site: &Site,
    folder: &Path,
    clock: &dyn Clock,
    work: &Work,
) -> Result<(Manifest, PathBuf), BackupError> {
    let manifest = gather(site, folder, clock, work).await?;
    work.begin(Step::Write)?;
    let whole = folder.join("backup.tar");
    archive::write(files::create(&whole)?, &manifest, folder, work)?;
    Ok((manifest, whole))
}

/// Copies everything into `folder`, and says what it is.
async fn gather(
    site: &Site,
    folder: &Path,
    clock: &dyn Clock,
    work: &Work,
) -> Result<Manifest, BackupError> {
    work.begin(Step::Copy)?;
    let private = site.private();
    // A key is on disk before the store names it, and may go after the store has forgotten it: with the keys of before and
    // after, none is missing that the store names.
    let mut keys = sealed_keys(&private)?;
    let survey = match &site.store {
        StoreOption::Sqlite => copy_sqlite(site, folder, work).await?,
        StoreOption::Postgres(url) => {
            let journal = PostgresStore::journal(&private, &site.trust_domain);
            copy_journal(&journal, folder)?;
            let survey = PostgresStore::survey(url.expose_secret(), &journal, &site.trust_domain);
            survey.await.map_err(unread)?
        }
    };
    keys.extend(sealed_keys(&private)?);
    write_all(&folder.join(KEYS), keys)?;
    write_all(&folder.join(BUNDLES), small_files(&private.join(BUNDLES))?)?;
    work.begin(Step::ReadLog)?;
    let files = listed(folder, site.is_sqlite(), work)?;
    Ok(Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at: clock.now(),
        trust_domain: site.trust_domain.clone(),
        environment: site.environment,
        engine: if site.is_sqlite() { "sqlite" } else { "postgres" }.to_owned(),
        log: standing::position(&survey).await?,
        kill_epoch: survey.kills.epoch,
        authorities: survey
            .authorities
            .iter()
            .map(|record| AuthorityGeneration::of(record, &files))
            .collect(),
        files,
    })
}

async fn copy_sqlite(site: &Site, folder: &Path, work: &Work) -> Result<Survey, BackupError> {
    let (from, to) = (site.private().join(STORE), folder.join(STORE));
    SqliteStore::copy(&from, &to, work.stopped()).await.map_err(unread)?;
    // After the store: an order is in the journal first.
    copy_journal(&SqliteStore::journal(&from), folder)?;
    // What the copy says counts, with the journal under the name that a store has it.
    let beside = SqliteStore::journal(&to);
    fs::hard_link(folder.join(JOURNAL), beside.path()).map_err(io("write", beside.path()))?;
    SqliteStore::survey(&to, &site.trust_domain).await.map_err(unread)
}

fn copy_journal(journal: &JournalFile, folder: &Path) -> Result<(), BackupError> {
    let orders = journal.whole_lines().map_err(io("read", journal.path()))?;
    files::write_new(&folder.join(JOURNAL), &orders)
}

/// The sealed keys by their names. A file that is no sealed key is not taken along: nothing leaves unsealed.
fn sealed_keys(private: &Path) -> Result<BTreeMap<String, Vec<u8>>, BackupError> {
    let mut keys = small_files(&private.join(KEYS))?;
    keys.retain(|name, _| name.ends_with(".key"));
    for (name, content) in &keys {
        if !is_sealed(content) {
            let message = format!("`{name}` among the keys is no sealed key: nothing is backed up");
            return Err(BackupError::new(BackupCode::Store, message));
        }
    }
    Ok(keys)
}

/// Whether a file has the form of a sealed key: JSON with a ciphertext and the id of what sealed it.
fn is_sealed(content: &[u8]) -> bool {
    let file: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(content).ok();
    file.is_some_and(|file| {
        ["sealing_key", "nonce", "sealed"].iter().all(|key| file.contains_key(*key))
    })
}

fn small_files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, BackupError> {
    let mut all = BTreeMap::new();
    for (name, path) in files::plain_files(folder)? {
        if keeping::is_partial(&path) {
            continue;
        }
        let content = match fs::metadata(&path) {
            Ok(facts) if facts.len() > MAX_SMALL => {
                let message = format!("`{}` is larger than {MAX_SMALL} bytes", path.display());
                return Err(BackupError::new(BackupCode::Io, message));
            }
            Ok(_) => fs::read(&path),
            Err(error) => Err(error),
        };
        match content {
            Ok(content) => {
                all.insert(name, content);
            }
            // It went while we looked.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("read", &path)(error)),
        }
    }
    Ok(all)
}

fn write_all(folder: &Path, all: BTreeMap<String, Vec<u8>>) -> Result<(), BackupError> {
    files::make_private(folder)?;
    for (name, content) in all {
        files::write_new(&folder.join(name), &content)?;
    }
    Ok(())
}

/// Every file of the backup, with its length and digest.
fn listed(folder: &Path, is_sqlite: bool, work: &Work) -> Result<Vec<BackedUpFile>, BackupError> {
    let mut paths: Vec<String> = Vec::new();
    if is_sqlite {
        paths.push(STORE.to_owned());
    }
    paths.push(JOURNAL.to_owned());
    for part in [KEYS, BUNDLES] {
        let names = files::plain_files(&folder.join(part))?.into_iter();
        paths.extend(names.map(|(name, _)| format!("{part}/{name}")));
    }
    let describe = |path: String| {
        let full = folder.join(&path);
        let file = File::open(&full).map_err(io("read", &full))?;
        let digested = files::digest(work.reads(file), std::io::sink());
        let Digested { bytes, sha256 } = digested.map_err(|error| error.of(&path))?;
        Ok(BackedUpFile { path, bytes, sha256 })
    };
    paths.into_iter().map(describe).collect()
}

fn unread<E: Into<Box<dyn std::error::Error + Send + Sync>>>(error: E) -> BackupError {
    BackupError::of(BackupCode::Store, "the store cannot be read")(error)
}
