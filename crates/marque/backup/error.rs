use std::error::Error;
use std::fmt;

/// Why a backup was not taken, is not sound or was not restored: a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupCode {
    /// There is no state to back up.
    NothingThere,
    /// Something has the name that was to be written.
    Exists,
    /// There is no room for what has to be written.
    NoRoom,
    /// It was asked to stop.
    Stopped,
    /// A file or folder could not be read or written.
    Io,
    /// The store could not be read.
    Store,
    /// The backup is not what was written once.
    Damaged,
    /// It is of another trust domain.
    OtherTrustDomain,
    /// It is of the other environment.
    EnvironmentBoundary,
    /// It was made for another engine than the one that was named.
    OtherEngine,
    /// A daemon uses the state.
    DaemonRunning,
    /// A restore has the state in hands.
    UnderWay,
    /// The log would lose leaves.
    LogRollback,
    /// The log would say something else than it said.
    LogForked,
    /// Kills or lifts would be forgotten.
    KillRollback,
    /// An authority would be as it was before.
    AuthorityRollback,
    /// A folder of keys that is elsewhere has another key of the same name.
    KeyConflict,
    /// A checkpoint does not verify, or is of another log.
    CheckpointInvalid,
    /// The store that is to be served is older than what was signed from it.
    StoreRolledBack,
    /// The store that is to be served has another history than the one that was signed.
    StoreForked,
    /// What was noted of how far the store had come does not read.
    MarkDamaged,
}

impl BackupCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::NothingThere,
        Self::Exists,
        Self::NoRoom,
        Self::Stopped,
        Self::Io,
        Self::Store,
        Self::Damaged,
        Self::OtherTrustDomain,
        Self::EnvironmentBoundary,
        Self::OtherEngine,
        Self::DaemonRunning,
        Self::UnderWay,
        Self::LogRollback,
        Self::LogForked,
        Self::KillRollback,
        Self::AuthorityRollback,
        Self::KeyConflict,
        Self::CheckpointInvalid,
        Self::StoreRolledBack,
        Self::StoreForked,
        Self::MarkDamaged,
    ];

    /// The code as it is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingThere => "backup_nothing_there",
            Self::Exists => "backup_exists",
            Self::NoRoom => "backup_no_room",
            Self::Stopped => "backup_stopped",
            Self::Io => "backup_io",
            Self::Store => "backup_store",
            Self::Damaged => "backup_damaged",
            Self::OtherTrustDomain => "restore_other_trust_domain",
            Self::EnvironmentBoundary => "environment_boundary",
            Self::OtherEngine => "restore_other_engine",
            Self::DaemonRunning => "restore_daemon_running",
            Self::UnderWay => "restore_under_way",
            Self::LogRollback => "restore_log_rollback",
            Self::LogForked => "restore_log_forked",
            Self::KillRollback => "restore_kill_rollback",
            Self::AuthorityRollback => "restore_authority_rollback",
            Self::KeyConflict => "restore_key_conflict",
            Self::CheckpointInvalid => "restore_checkpoint_invalid",
            Self::StoreRolledBack => "store_rolled_back",
            Self::StoreForked => "store_forked",
            Self::MarkDamaged => "store_mark_damaged",
        }
    }

    /// What whoever reads it can do.
    #[must_use]
    pub const fn next(self) -> &'static str {
        match self {
            Self::NothingThere => {
                "name the daemon's data directory with --data-dir and its trust domain with --trust-domain"
            }
            Self::Exists => "name a file that is not there yet",
            Self::NoRoom => {
                "make room, or name a folder that has as much as the state takes twice; nothing is left behind"
            }
            Self::Stopped => "run it again: nothing was changed",
            Self::Io => {
                "see that the user of the daemon runs this, and what the system says of the disk"
            }
            Self::Store => {
                "see `marque status`; where the store is damaged, restore an older backup elsewhere"
            }
            Self::Damaged => "take another copy of this backup, or another backup",
            Self::OtherTrustDomain => "name the backup of this trust domain",
            Self::EnvironmentBoundary => {
                "name the backup of this environment: nothing crosses the firebreak"
            }
            Self::OtherEngine => "name the engine that it was taken of with --store",
            Self::DaemonRunning => "stop the daemon first",
            Self::UnderWay => "wait until the restore, or the command with --offline, has ended",
            Self::LogRollback | Self::LogForked | Self::AuthorityRollback => {
                "nothing is taken back by force; docs/backup.md says what to do instead"
            }
            Self::KillRollback => {
                "take along what the kill journal here has with --keep-kills; docs/backup.md says what to do where that is not \
                 enough"
            }
            Self::KeyConflict => {
                "see which of the two is used with `marque authority list`, and move the other one away"
            }
            Self::CheckpointInvalid => {
                "name the last checkpoint that a sink of this trust domain has"
            }
            Self::StoreRolledBack | Self::StoreForked => {
                "put the newest store back, or restore the newest backup; where both are lost, docs/backup.md says how to begin \
                 anew"
            }
            Self::MarkDamaged => {
                "the file was altered or its disk is damaged: hold the store against the last checkpoint of a sink with `marque \
                 audit verify`, then move the file away"
            }
        }
    }
}

impl fmt::Display for BackupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A backup was not taken, is not sound or was not restored.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BackupError {
    code: BackupCode,
    message: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BackupError {
    pub(super) fn new(code: BackupCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None }
    }

    pub(super) fn damaged(message: impl Into<String>) -> Self {
        Self::new(BackupCode::Damaged, message)
    }

    /// For `map_err`: something failed because of what the system or a store said.
    pub(super) fn of<E: Into<Box<dyn Error + Send + Sync>>>(
        code: BackupCode,
        message: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let message = message.into();
        move |source| {
            let source = source.into();
            let code = if lacks_room(code, &*source) { BackupCode::NoRoom } else { code };
            Self { code, message, source: Some(source) }
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> BackupCode {
        self.code
    }
}

/// Whether something failed for want of room alone.
fn lacks_room(code: BackupCode, error: &(dyn Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};

    let full = |error: &(dyn Error + 'static)| {
        let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(io, Some(StorageFull | QuotaExceeded))
            || matches!(error.downcast_ref(), Some(marque_store::StoreError::NoRoom { .. }))
    };
    let mut cause = Some(error);
    while let Some(error) = cause {
        if full(error) {
            return matches!(code, BackupCode::Io | BackupCode::Store);
        }
        cause = error.source();
    }
    false
}
