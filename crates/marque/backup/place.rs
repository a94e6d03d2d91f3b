//! Where a trust domain's state is: held by whoever uses it, and tidied up after a restore that was cut short.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use marque_jose::sha256;
use marque_spiffe::Clock;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::files::{self, UNFINISHED, became_nothing, io, sync_folder};
use super::{BackupCode, BackupError};

/// How the names begin of what is built beside private folders to take their places.
const STAGED: &str = ".restoring-";
/// How many states may be set aside in one millisecond.
const MAX_ASIDE: u32 = 100;

/// A trust domain's folder, held against whoever would replace what is in it; let go when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// Nothing where the file system has no locks.
    _lock: Option<File>,
}

/// Holds a trust domain's folder while its state is used, together with others who use it.
///
/// # Errors
/// Somebody holds it alone, or it is not there.
pub(crate) fn hold(folder: &Path) -> Result<Held, BackupError> {
    held(folder, File::try_lock_shared, || {
        let message =
            format!("a restore, or a command without the daemon, has `{}`", folder.display());
        BackupError::new(BackupCode::UnderWay, message)
    })
}

/// Holds it alone, as a restore does, and whoever makes keys without the daemon; it is made where it is not there.
///
/// # Errors
/// Somebody else holds it.
pub(crate) fn hold_alone(folder: &Path) -> Result<Held, BackupError> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(io("create", folder))?;
    held(folder, File::try_lock, || {
        let message = format!(
            "a daemon, a backup, a restore or a command without the daemon uses `{}`",
            folder.display()
        );
        BackupError::new(BackupCode::DaemonRunning, message)
    })
}

fn held(
    folder: &Path,
    lock: fn(&File) -> Result<(), TryLockError>,
    taken: impl FnOnce() -> BackupError,
) -> Result<Held, BackupError> {
    let open = File::open(folder).map_err(io("open", folder))?;
    match lock(&open) {
        Ok(()) => Ok(Held { _lock: Some(open) }),
        Err(TryLockError::WouldBlock) => Err(taken()),
        Err(TryLockError::Error(error)) => {
            let (error, folder) = (&error as &dyn std::error::Error, folder.display());
            tracing::debug!(error, %folder, "the file system has no locks");
            Ok(Held { _lock: None })
        }
    }
}

/// The private folder itself, where it is a link to one elsewhere, and the folder that it is in.
pub(super) fn real(private: &Path) -> Result<(PathBuf, PathBuf), BackupError> {
    let is_link = private.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
    let real = if is_link {
        fs::canonicalize(private).map_err(io("follow", private))?
    } else {
        private.to_owned()
    };
    let parent = real.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    Ok((real, parent))
}

/// How the name begins of what is built to take the place of this private folder, and of no other one beside it: with a
/// digest of its name, which may be as long as names can be.
pub(super) fn staged(private: &Path) -> String {
    let [a, b, c, d, ..] = sha256(private.file_name().unwrap_or_default().as_encoded_bytes());
    format!("{STAGED}{}-", hex::encode([a, b, c, d]))
}

/// What an earlier restore left.
#[derive(Debug, Default)]
pub(crate) struct Tidied {
    /// Whether it had put its state in place and was cut short before its end.
    pub(super) cut_short: bool,
    /// Where the state of before is now, which had no name of its own yet.
    pub(super) aside: Option<PathBuf>,
}

/// Finishes a restore that had put its state in place and was cut short before its end, and removes what one left that had
/// not. What somebody works on stays.
///
/// # Errors
/// A file or folder cannot be opened or removed.
pub(crate) fn tidy_up(private: &Path, clock: &dyn Clock) -> Result<Tidied, BackupError> {
    let (private, parent) = real(private)?;
    let mut aside = None;
    for left in files::unfinished(&parent, &staged(&private)) {
        let lock = File::open(&left).map_err(io("open", &left))?;
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            continue;
        }
        if became_nothing(&left) {
            fs::remove_dir_all(&left).map_err(io("remove", &left))?;
        } else {
            match set_aside(&left, &private, clock) {
                Ok(named) => aside = Some(named),
                // What is served is whole all the same.
                Err(error) => {
                    let (error, left) = (&error as &dyn std::error::Error, left.display());
                    tracing::warn!(error, %left, "what was there before a restore keeps this name");
                }
            }
        }
    }
    let cut_short = private.join(UNFINISHED).exists();
    files::remove(&private.join(UNFINISHED))?;
    if let Some(aside) = &aside {
        sync_folder(&parent)?;
        let aside = aside.display();
        tracing::warn!(%aside, "a restore that was cut short is finished: what was there before is aside");
    }
    Ok(Tidied { cut_short, aside })
}

/// Gives a state that was replaced a name of its own beside the one that replaced it.
pub(super) fn set_aside(
    was: &Path,
    private: &Path,
    clock: &dyn Clock,
) -> Result<PathBuf, BackupError> {
    let name = private.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stamp = clock.now().to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    let names = (0..MAX_ASIDE).map(|number| match number {
        0 => format!("{name}.replaced-{stamp}"),
        more => format!("{name}.replaced-{stamp}-{more}"),
    });
    let mut taken = None;
    for aside in names.map(|name| private.with_file_name(name)) {
        match renameat2(AT_FDCWD, was, AT_FDCWD, &aside, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => return Ok(aside),
            Err(nix::errno::Errno::EEXIST) => taken = Some(aside),
            Err(error) => return Err(io("name", &aside)(error.into())),
        }
    }
    let taken = taken.unwrap_or_default();
    let message = format!("`{}` and a hundred others are there already", taken.display());
    Err(BackupError::new(BackupCode::Exists, message))
}
