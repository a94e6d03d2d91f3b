//! Why a store did not open, and why it did not do something.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use marque_audit::AuditError;

/// Why a transaction or a read was not done. Nothing of it was written, unless the answer itself was lost on its way
/// from the database: then it is unknown, and counts as not done.
///
/// Cloned for everybody whose transaction was in the same batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The writer has ended.
    #[error("the store has stopped")]
    Stopped,
    /// What other replicas did was not heard of for too long.
    #[error("kills at other replicas are not heard of")]
    Unheard,
    /// The database refused, is busy, full, read-only or gone.
    #[error("the database is not available")]
    Engine(#[source] Arc<dyn Error + Send + Sync>),
    /// A row no longer reads as what was stored.
    #[error("the row `{key}` of `{table}` is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The row's key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A row was changed by somebody who does not take the writer's lock.
    #[error("a row of `{table}` was changed by somebody else")]
    Conflict {
        /// The table.
        table: &'static str,
    },
    /// An event cannot become a leaf.
    #[error("the event cannot be recorded")]
    Event(#[source] Arc<AuditError>),
    /// A table holds as many rows as it may.
    #[error("`{table}` holds as many rows as it may")]
    Full {
        /// The table.
        table: &'static str,
    },
    /// A value cannot be written as the document it is kept as.
    #[error("the value cannot be stored")]
    Encode(#[source] Arc<serde_json::Error>),
}

impl Failure {
    pub(crate) fn engine(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Engine(Arc::new(error))
    }

    pub(crate) fn damaged(
        table: &'static str,
        key: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Damaged { table, key: key.into(), source: Arc::from(source.into()) }
    }

    /// Whether it may be about one transaction of a batch alone, so that the others deserve an attempt without it. Never
    /// where the commit may have been done, or the database is not to be spoken to.
    pub(crate) fn may_concern_one_alone(&self) -> bool {
        match self {
            // What is damaged was asked for by somebody; the others may not have asked for it.
            Self::Conflict { .. } | Self::Encode(_) | Self::Damaged { .. } => true,
            Self::Engine(error) => is_about_rows(error.as_ref()),
            Self::Stopped | Self::Unheard | Self::Event(_) | Self::Full { .. } => false,
        }
    }

    pub(crate) fn encode(error: serde_json::Error) -> Self {
        Self::Encode(Arc::new(error))
    }

    pub(crate) fn event(error: AuditError) -> Self {
        Self::Event(Arc::new(error))
    }
}

/// Whether the engine refused values: constraints and data exceptions (PostgreSQL documentation, appendix A, classes 22
/// and 23).
fn is_about_rows(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    let sqlite =
        error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    let postgres =
        error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    matches!(sqlite, Some(ConstraintViolation | TooBig | TypeMismatch))
        || postgres
            .is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("23"))
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::engine(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::engine(error)
    }
}

impl From<deadpool_postgres::PoolError> for Failure {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::engine(error)
    }
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file cannot be opened.
    #[error("the database `{}` cannot be opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system or the engine said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no room for a copy of the database.
    #[error("there is no room for `{}`", path.display())]
    NoRoom {
        /// The copy.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The address of the database does not parse. It may hold a password, so nothing of it is repeated.
    #[error("the PostgreSQL address is malformed")]
    Address,
    /// The database server cannot be used.
    #[error("the PostgreSQL server cannot be used")]
    Server(#[source] Box<dyn Error + Send + Sync>),
    /// The schema cannot be brought up to date.
    #[error("the schema of the database cannot be brought up to date")]
    Migrate(#[source] Box<refinery::Error>),
    /// A setting without which an answered transaction could be lost.
    #[error("the database does not keep what it answers: `{setting}` is `{value}`")]
    NotDurable {
        /// The engine's setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// The database belongs to another trust domain.
    #[error("the database belongs to the trust domain `{found}`")]
    OtherTrustDomain {
        /// The trust domain it belongs to.
        found: String,
    },
    /// The kill journal cannot be used.
    #[error("the kill journal cannot be used")]
    Journal(#[from] JournalError),
    /// The thread that writes cannot be started.
    #[error("the writer cannot be started")]
    Writer(#[source] std::io::Error),
    /// What is kept of the log cannot be read.
    #[error("the log cannot be read")]
    Log(#[source] Box<marque_audit::LogError>),
    /// What the database holds cannot be read.
    #[error("the store cannot be read")]
    Read(#[from] Failure),
}

/// Why the kill journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("`{}` cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is not a kill.
    #[error("line {line} of `{}` is not a kill", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The journal belongs to another trust domain.
    #[error("line {line} of `{}` is of the trust domain `{found}`", path.display())]
    OtherTrustDomain {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The trust domain it belongs to.
        found: String,
    },
}
