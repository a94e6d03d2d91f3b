use std::error::Error;
use std::fmt;

/// Why a backup was not taken, is not sound or was not restored: a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupCode {
    /// There is no state to back up.
    NothingThere,
    /// Something has the name that was to be written.
    Exists,
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
    /// The log would lose leaves.
    LogRollback,
    /// The log would say something else than it said.
    LogForked,
    /// Kills or lifts would be forgotten.
    KillRollback,
    /// An authority would be as it was before.
    AuthorityRollback,
    /// A checkpoint does not verify, or is of another log.
    CheckpointInvalid,
}

impl BackupCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::NothingThere,
        Self::Exists,
        Self::Io,
        Self::Store,
        Self::Damaged,
        Self::OtherTrustDomain,
        Self::EnvironmentBoundary,
        Self::OtherEngine,
        Self::DaemonRunning,
        Self::LogRollback,
        Self::LogForked,
        Self::KillRollback,
        Self::AuthorityRollback,
        Self::CheckpointInvalid,
    ];

    /// The code as it is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingThere => "backup_nothing_there",
            Self::Exists => "backup_exists",
            Self::Io => "backup_io",
            Self::Store => "backup_store",
            Self::Damaged => "backup_damaged",
            Self::OtherTrustDomain => "restore_other_trust_domain",
            Self::EnvironmentBoundary => "environment_boundary",
            Self::OtherEngine => "restore_other_engine",
            Self::DaemonRunning => "restore_daemon_running",
            Self::LogRollback => "restore_log_rollback",
            Self::LogForked => "restore_log_forked",
            Self::KillRollback => "restore_kill_rollback",
            Self::AuthorityRollback => "restore_authority_rollback",
            Self::CheckpointInvalid => "restore_checkpoint_invalid",
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
            Self::Io => "see that the user of the daemon runs this, and that there is room",
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
            Self::LogRollback | Self::LogForked | Self::KillRollback | Self::AuthorityRollback => {
                "nothing is taken back by force; docs/backup.md says what to do instead"
            }
            Self::CheckpointInvalid => {
                "name the last checkpoint that a sink of this trust domain has"
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
        move |source| Self { code, message, source: Some(source.into()) }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> BackupCode {
        self.code
    }
}
