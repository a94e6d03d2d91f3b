//! Restoring a backup: all of it or nothing, and never to anything earlier than what is known.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use marque_audit::checkpoint::MAX_CHECKPOINT_BYTES;
use marque_spiffe::{Clock, Random};
use marque_store::{PostgresStore, SqliteStore, Survey};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::Uid;
use secrecy::ExposeSecret as _;

use super::files::{self, Staging, io};
use super::marker::{MARKER, Marker};
use super::verify::unpacked;
use super::{BackupCode, BackupError, JOURNAL, Manifest, STORE, Site, standing};
use crate::cli::StoreOption;

/// What a restore is told.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The backup.
    pub from: PathBuf,
    /// The last checkpoint that somebody outside has: the backup must have all that it covers.
    pub last_checkpoint: Option<PathBuf>,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup's manifest.
    pub manifest: Manifest,
    /// Where the state is that was there before.
    pub replaced: Option<PathBuf>,
    /// Whether there was anything that the backup could be held against.
    pub compared: bool,
}

/// Puts a backup in the place of a trust domain's state.
///
/// # Errors
/// With the code that says why; the state is then what it was.
pub async fn restore(
    site: &Site,
    options: &RestoreOptions,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<Restored, BackupError> {
    let (folder, private) = (site.folder(), site.private());
    must_be_stopped(site)?;
    DirBuilder::new().recursive(true).mode(0o755).create(&folder).map_err(io("create", &folder))?;
    let staging = Staging::make(&folder, ".restoring-", random)?;
    let (manifest, copied) = unpacked(&options.from, staging.path()).await?;
    is_of(site, &manifest)?;
    let next = match copied {
        Some(survey) => survey,
        None => survey_postgres(site, staging.path(), &manifest).await?,
    };
    let mut compared = false;
    let checkpoint = read_checkpoint(options)?;
    if let Some(text) = &checkpoint {
        standing::covers(&next, text, &site.trust_domain).await?;
        compared = true;
    }
    if site.is_sqlite() && private.join(STORE).exists() {
        let current = SqliteStore::survey(&private.join(STORE), &site.trust_domain).await;
        let current = current
            .map_err(BackupError::of(BackupCode::Store, "what is there cannot be compared with"))?;
        standing::no_rollback(&current, &next).await?;
        compared = true;
    }
    drop(next);
    settle(staging.path(), &manifest, checkpoint.as_deref(), clock)?;
    must_be_stopped(site)?;
    let replaced = swap(staging, &private, clock)?;
    files::sync_folder(&folder)?;
    Ok(Restored { manifest, replaced, compared })
}

/// A daemon that serves the trust domain, or holds its store, is stopped by whoever restores.
fn must_be_stopped(site: &Site) -> Result<(), BackupError> {
    let running = |what: &Path| {
        let message = format!("a daemon uses `{}`", what.display());
        Err(BackupError::new(BackupCode::DaemonRunning, message))
    };
    for socket in ["admin.sock", "workload.sock"] {
        let socket = site.folder().join(socket);
        if UnixStream::connect(&socket).is_ok() {
            return running(&socket);
        }
    }
    let store = site.private().join(STORE);
    if site.is_sqlite() && store.exists() {
        let in_use = SqliteStore::is_in_use(&store);
        let in_use =
            in_use.map_err(BackupError::of(BackupCode::Store, "what is there cannot be opened"))?;
        if in_use {
            return running(&store);
        }
    }
    Ok(())
}

fn is_of(site: &Site, manifest: &Manifest) -> Result<(), BackupError> {
    if manifest.trust_domain != site.trust_domain {
        let (of, here) = (&manifest.trust_domain, &site.trust_domain);
        let message = format!("the backup is of `{of}`, and this is `{here}`");
        return Err(BackupError::new(BackupCode::OtherTrustDomain, message));
    }
    if manifest.environment != site.environment {
        let (of, here) = (manifest.environment, site.environment);
        let message = format!("the backup is of {of}, and `{}` is {here}", site.trust_domain);
        return Err(BackupError::new(BackupCode::EnvironmentBoundary, message));
    }
    let engine = if site.is_sqlite() { "sqlite" } else { "postgres" };
    if manifest.engine != engine {
        let message = format!("the backup is of {}, and {engine} was named", manifest.engine);
        return Err(BackupError::new(BackupCode::OtherEngine, message));
    }
    Ok(())
}

/// The database that its own tools have restored, held against the manifest.
async fn survey_postgres(
    site: &Site,
    staging: &Path,
    manifest: &Manifest,
) -> Result<Survey, BackupError> {
    let StoreOption::Postgres(url) = &site.store else {
        return Err(BackupError::new(BackupCode::OtherEngine, "no PostgreSQL database was named"));
    };
    let journal = PostgresStore::journal(staging, &site.trust_domain);
    fs::rename(staging.join(JOURNAL), journal.path()).map_err(io("name", journal.path()))?;
    let survey = PostgresStore::survey(url.expose_secret(), &journal, &site.trust_domain).await;
    let survey =
        survey.map_err(BackupError::of(BackupCode::Store, "the database cannot be read"))?;
    standing::fits(&survey, manifest).await?;
    Ok(survey)
}

fn read_checkpoint(options: &RestoreOptions) -> Result<Option<String>, BackupError> {
    let Some(path) = &options.last_checkpoint else { return Ok(None) };
    let bytes = fs::read(path).map_err(io("read", path))?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_CHECKPOINT_BYTES);
    text.map(Some).ok_or_else(|| {
        let message = format!("`{}` is no checkpoint", path.display());
        BackupError::new(BackupCode::CheckpointInvalid, message)
    })
}

/// Leaves nothing of the checks behind, and what the next start records.
fn settle(
    staging: &Path,
    manifest: &Manifest,
    checkpoint: Option<&str>,
    clock: &dyn Clock,
) -> Result<(), BackupError> {
    for left in ["marque.sqlite-wal", "marque.sqlite-shm"] {
        let left = staging.join(left);
        match fs::remove_file(&left) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove", &left)(error));
            }
            _ => {}
        }
    }
    let unwritten = || BackupError::of(BackupCode::Io, "the manifest cannot be written");
    let manifest_json = serde_json::to_vec(manifest).map_err(unwritten())?;
    let covered = |text: &str| text.lines().nth(1).and_then(|size| size.parse().ok());
    let marker = Marker {
        restored_at: clock.now(),
        by_uid: Uid::current().as_raw(),
        taken_at: manifest.taken_at,
        log_size: manifest.log.size,
        log_root: manifest.log.root.clone(),
        kill_epoch: manifest.kill_epoch,
        manifest_sha256: hex::encode(marque_jose::sha256(&manifest_json)),
        held_against: checkpoint.and_then(covered),
    };
    let json = serde_json::to_vec_pretty(&marker).map_err(unwritten())?;
    files::write_new(&staging.join(MARKER), &json)?;
    files::sync_folder(staging)
}

/// Puts the folder in the place of another by one rename; where that one is then.
fn swap(
    staging: Staging,
    private: &Path,
    clock: &dyn Clock,
) -> Result<Option<PathBuf>, BackupError> {
    let exists = private.symlink_metadata().is_ok();
    let flags = if exists { RenameFlags::RENAME_EXCHANGE } else { RenameFlags::RENAME_NOREPLACE };
    renameat2(AT_FDCWD, staging.path(), AT_FDCWD, private, flags).map_err(BackupError::of(
        BackupCode::Io,
        format!("cannot put the backup in the place of `{}`", private.display()),
    ))?;
    let was = staging.path().to_owned();
    // What has its name now is the state of before, or nothing.
    staging.keep();
    if !exists {
        return Ok(None);
    }
    let stamp = clock.now().to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let aside = private.with_file_name(format!("private.replaced-{stamp}"));
    fs::rename(&was, &aside).map_err(io("name", &aside))?;
    Ok(Some(aside))
}
