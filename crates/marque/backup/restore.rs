//! Restoring a backup: all of it or nothing, and never to anything earlier than what is known.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use marque_audit::checkpoint::MAX_CHECKPOINT_BYTES;
use marque_authority::AuthorityRecord;
use marque_spiffe::{Clock, Random};
use marque_store::{JournaledOrder, PostgresStore, SqliteStore, Survey};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::Uid;
use secrecy::ExposeSecret as _;

use super::files::{self, Staging, UNFINISHED, io};
use super::high_water::Mark;
use super::keeping::{self, KeptHere, MissingKeys};
use super::marker::{MARKER, Marker};
use super::place::{self, Tidied};
use super::verify::unpacked;
use super::work::{Step, Work};
use super::{BackupCode, BackupError, JOURNAL, Manifest, STORE, Site, standing};
use crate::cli::StoreOption;
use crate::outgoing::in_one_line;

/// What a restore is told.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The backup.
    pub from: PathBuf,
    /// The last checkpoint that somebody outside has: the backup must have all that it covers.
    pub last_checkpoint: Option<PathBuf>,
    /// Whether kills and lifts that only the journal here has are taken along; they are refused otherwise.
    pub keep_kills: bool,
    /// Whether everything is compared and nothing is changed.
    pub check: bool,
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
    /// What of the state of before was taken along.
    pub kept: KeptHere,
    /// Whether an earlier restore of the same backup had put it in place already and was cut short.
    pub resumed: bool,
    /// What could not be done after the backup was in place, in words. It is in place all the same.
    pub unfinished: Vec<String>,
}

/// Puts a backup in the place of a trust domain's state.
///
/// # Errors
/// With the code that says why; the state is then what it was.
pub async fn restore(
    site: &Site,
    options: &RestoreOptions,
    (clock, random): (&dyn Clock, &dyn Random),
    work: &Work,
) -> Result<Restored, BackupError> {
    let _held = place::hold_alone(&site.folder())?;
    must_be_stopped(site)?;
    let (private, parent) = place::real(&site.private())?;
    let before = if options.check { Tidied::default() } else { place::tidy_up(&private, clock)? };
    let staging = Staging::make(&parent, &place::staged(&private), random)?;
    let ready = prepare(site, options, (&private, staging.path()), clock, work).await;
    let ready = ready.map_err(|error| work.blame(error))?;
    let Ready { manifest, compared, kept, missing, digest } = ready;
    let mut restored = Restored {
        manifest,
        replaced: before.aside,
        compared,
        kept,
        resumed: false,
        unfinished: Vec::new(),
    };
    if options.check {
        return Ok(restored);
    }
    let done = Marker::read(&private).filter(|marker| marker.manifest_sha256 == digest);
    if let (true, Some(marker)) = (before.cut_short, done) {
        (restored.resumed, restored.compared) = (true, marker.compared);
        return Ok(restored);
    }
    must_be_stopped(site)?;
    work.begin(Step::Exchange)?;
    missing.put()?;
    let (replaced, unfinished) = put_in_place(staging, &private, clock, work)?;
    (restored.replaced, restored.unfinished) = (replaced, unfinished);
    work.go_on(Step::Done);
    Ok(restored)
}

/// A restore that only has to be put in place.
struct Ready {
    manifest: Manifest,
    compared: bool,
    kept: KeptHere,
    /// What a folder of keys that is elsewhere gets.
    missing: MissingKeys,
    /// Of the manifest.
    digest: String,
}

/// Unpacks the backup into the staged folder, compares it with what is here and takes along what is newer.
async fn prepare(
    site: &Site,
    options: &RestoreOptions,
    (private, staged): (&Path, &Path),
    clock: &dyn Clock,
    work: &Work,
) -> Result<Ready, BackupError> {
    let (manifest, copied) = unpacked(&options.from, staged, work).await?;
    is_of(site, &manifest)?;
    let next = match copied {
        Some(survey) => survey,
        None => survey_postgres(site, staged, &manifest, work).await?,
    };
    work.begin(Step::Compare)?;
    let checkpoint = read_checkpoint(options)?;
    let Compared { here, orders, any } =
        compare(site, options, (private, &next), checkpoint.as_deref()).await?;
    let mut kept = KeptHere { orders: orders.len(), ..KeptHere::default() };
    let (mut missing, digest) = (MissingKeys::default(), digest_of(&manifest)?);
    if !options.check {
        work.begin(Step::Keep)?;
        let records = (here.as_deref(), next.authorities.as_slice());
        missing = keeping::keys(private, staged, records, &mut kept)?;
        keeping::bundles(private, staged, &mut kept)?;
        let journal = keeping::journal(staged, site.is_sqlite(), &site.trust_domain);
        let appended = journal.append(&orders, &site.trust_domain);
        appended.map_err(BackupError::of(BackupCode::Io, "the kill journal cannot be written"))?;
        let mark = Mark::of(&next).await?;
        drop(next);
        work.begin(Step::Flush)?;
        let noted = mark.write(staged, &site.trust_domain);
        noted.map_err(io("write in", staged))?;
        let marker = Marker {
            restored_at: clock.now(),
            by_uid: Uid::current().as_raw(),
            taken_at: manifest.taken_at,
            log_size: manifest.log.size,
            log_root: manifest.log.root.clone(),
            kill_epoch: manifest.kill_epoch,
            manifest_sha256: digest.clone(),
            held_against: checkpoint.as_deref().and_then(covered),
            compared: any,
            kept_orders: orders.len(),
        };
        settle(staged, &marker)?;
    }
    Ok(Ready { manifest, compared: any, kept, missing, digest })
}

/// What a comparison found.
struct Compared {
    /// The authorities of the store here, where there is one beside what is restored.
    here: Option<Vec<AuthorityRecord>>,
    /// The kills and lifts of the journal here that go along.
    orders: Vec<JournaledOrder>,
    /// Whether there was anything to compare with.
    any: bool,
}

/// Holds a state that is to be restored against all that is known here: the last checkpoint that was named, what this
/// installation has signed, the store and the kill journal.
async fn compare(
    site: &Site,
    options: &RestoreOptions,
    (private, next): (&Path, &Survey),
    checkpoint: Option<&str>,
) -> Result<Compared, BackupError> {
    let trust_domain = &site.trust_domain;
    let mut any = false;
    if let Some(text) = checkpoint {
        standing::covers(next, text, trust_domain).await?;
        any = true;
    }
    let here = private.join(STORE);
    let here = if site.is_sqlite() && here.exists() {
        let survey = SqliteStore::survey(&here, trust_domain).await;
        let unread = BackupError::of(BackupCode::Store, "what is there cannot be compared with");
        Some(survey.map_err(unread)?)
    } else {
        None
    };
    let mark = Mark::read(private, trust_domain)?;
    let journal = keeping::journal(private, site.is_sqlite(), trust_domain);
    if let Some(here) = &here {
        // Of the log first: it says most of what is wrong.
        standing::same_history(here, next).await?;
    }
    if let Some(mark) = &mark {
        mark.log_is_reached_by(next).await?;
    }
    let orders = keeping::orders(&journal, next, trust_domain, options.keep_kills)?;
    if let Some(here) = &here {
        standing::no_rollback(here, next, &orders)?;
    }
    if let Some(mark) = &mark {
        mark.rest_is_reached_by(next, &orders)?;
    }
    any = any || here.is_some() || mark.is_some();
    Ok(Compared { here: here.map(|survey| survey.authorities), orders, any })
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
    work: &Work,
) -> Result<Survey, BackupError> {
    work.begin(Step::ReadLog)?;
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

fn digest_of(manifest: &Manifest) -> Result<String, BackupError> {
    let json = serde_json::to_vec(manifest).map_err(unwritten())?;
    Ok(hex::encode(marque_jose::sha256(&json)))
}

fn unwritten() -> impl FnOnce(serde_json::Error) -> BackupError {
    BackupError::of(BackupCode::Io, "what is restored cannot be described")
}

/// How many leaves a checkpoint covers.
fn covered(checkpoint: &str) -> Option<u64> {
    checkpoint.lines().nth(1).and_then(|size| size.parse().ok())
}

/// Leaves nothing of the checks behind, and what the next start records.
fn settle(staged: &Path, marker: &Marker) -> Result<(), BackupError> {
    for left in ["marque.sqlite-wal", "marque.sqlite-shm"] {
        files::remove(&staged.join(left))?;
    }
    let json = serde_json::to_vec_pretty(marker).map_err(unwritten())?;
    files::write_new(&staged.join(MARKER), &json)?;
    files::sync_folder(staged)
}

/// Puts the folder in the place of another by one rename. Where that one is then, and what could not be done after that.
///
/// # Errors
/// It is not in place: everything is as it was.
fn put_in_place(
    staging: Staging,
    private: &Path,
    clock: &dyn Clock,
    work: &Work,
) -> Result<(Option<PathBuf>, Vec<String>), BackupError> {
    let exists = private.symlink_metadata().is_ok();
    let flags = if exists { RenameFlags::RENAME_EXCHANGE } else { RenameFlags::RENAME_NOREPLACE };
    let exchanged = renameat2(AT_FDCWD, staging.path(), AT_FDCWD, private, flags);
    // A file system over a network may do it and say that it has not.
    if !staging.became(private) {
        exchanged.map_err(BackupError::of(
            BackupCode::Io,
            format!("cannot put the backup in the place of `{}`", private.display()),
        ))?;
    }
    // What has its name now is the state of before, or nothing.
    let was = staging.keep();
    work.go_on(Step::SetAside);
    let mut unfinished = Vec::new();
    let mut failed = |error: BackupError| unfinished.push(in_one_line(&error));
    let replaced = exists.then(|| {
        place::set_aside(&was, private, clock).unwrap_or_else(|error| {
            failed(error);
            was.clone()
        })
    });
    // Until then the next start, or the next restore, gives what was there its name.
    if replaced.as_ref() != Some(&was) {
        files::remove(&private.join(UNFINISHED)).unwrap_or_else(&mut failed);
    }
    let parent = private.parent().unwrap_or(private);
    files::sync_folder(parent).unwrap_or_else(&mut failed);
    Ok((replaced, unfinished))
}
