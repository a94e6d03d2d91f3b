//! A log that is read from its first leaf on: a running daemon's, or a copy.

use std::path::PathBuf;

use marque_audit::folder::{FolderError, FolderLog};
use marque_audit::{Leaf, LogError, LogStore as _, SignedCheckpoint, VerifierKey, VerifyError};

use super::super::Session;
use super::super::failure::Failure;
use super::{KeySource, key_of, key_or_ask};
use crate::grpc::CallError;
use crate::grpc::admin::RemoteLog;

/// How many leaves are asked for at a time.
const PAGE: usize = 1024;

/// A log in pages.
pub(super) struct LogSource {
    from: From,
    key: VerifierKey,
    checkpoint: String,
    size: u64,
    next: u64,
}

enum From {
    Daemon(Box<RemoteLog>),
    Copy { dir: PathBuf, log: Box<FolderLog> },
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("the log cannot be read")]
    Daemon(#[from] LogError),
    #[error("the copy cannot be read")]
    Copy(#[from] FolderError),
}

impl LogSource {
    /// Opens the copy in `dir`, or the log of the running daemon.
    pub(super) async fn open(
        session: &Session,
        dir: Option<PathBuf>,
        key: Option<KeySource>,
    ) -> Result<Self, Failure> {
        if let Some(dir) = dir {
            let key = key_or_ask(session, key).await?;
            let log = FolderLog::open(&dir, &key).map_err(|error| unsound(&error))?;
            let checkpoint = log.checkpoint().text().to_owned();
            let size = log.checkpoint().checkpoint().size;
            let from = From::Copy { dir, log: Box::new(log) };
            return Ok(Self { from, key, checkpoint, size, next: 0 });
        }
        let log = RemoteLog::open(session.home().await?.admin).await?;
        let key = key_of(key, log.info())?;
        let checkpoint = log.info().checkpoint.clone();
        if checkpoint.is_empty() {
            let error = VerifyError::NoCheckpoint;
            let failure = Failure::because("the log is not sound", &error);
            return Err(failure.code(Some(error.kind().to_owned())));
        }
        let size = log.info().size;
        Ok(Self { from: From::Daemon(Box::new(log)), key, checkpoint, size, next: 0 })
    }

    /// The key that verifies its checkpoints.
    pub(super) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Its checkpoint, as it was signed.
    pub(super) fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// The newest checkpoint that enough witnesses have cosigned, by the word of the daemon or the copy.
    pub(super) fn cosigned(&self) -> Result<Option<String>, Failure> {
        match &self.from {
            From::Daemon(log) => {
                Ok(Some(log.info().cosigned_checkpoint.clone()).filter(|note| !note.is_empty()))
            }
            From::Copy { dir, log: _ } => {
                let file = dir.join(super::COSIGNED);
                match std::fs::read_to_string(&file) {
                    Ok(note) => Ok(Some(note)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => {
                        let message = format!("cannot read `{}`", file.display());
                        Err(Failure::because(message, &error))
                    }
                }
            }
        }
    }

    /// Its checkpoint, verified.
    pub(super) fn signed(&self) -> Result<SignedCheckpoint, Failure> {
        SignedCheckpoint::verify(&self.checkpoint, &self.key).map_err(|error| {
            Failure::because("the log's checkpoint cannot be trusted", &error)
                .code(Some("checkpoint_untrusted".to_owned()))
        })
    }

    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next leaves; `None` behind the last.
    pub(super) async fn next_page(&mut self) -> Result<Option<Vec<Leaf>>, PageError> {
        match &mut self.from {
            From::Copy { log, .. } => Ok(log.next_page()?),
            From::Daemon(log) => {
                let page = log.leaves(self.next, PAGE).await?;
                self.next += page.len() as u64;
                Ok(Some(page).filter(|page| !page.is_empty()))
            }
        }
    }

    /// Hands every leaf to `take` until it has enough; whether it had.
    pub(super) async fn each(
        &mut self,
        mut take: impl FnMut(&Leaf) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        while let Some(page) = self.next_page().await.map_err(|error| error.failure())? {
            for leaf in &page {
                if take(leaf)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Begins again with the first leaf.
    pub(super) fn rewind(&mut self) -> Result<(), Failure> {
        self.next = 0;
        if let From::Copy { dir, log } = &mut self.from {
            **log = FolderLog::open(dir, &self.key).map_err(|error| unsound(&error))?;
        }
        Ok(())
    }
}

impl PageError {
    /// The finding that it is.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Copy(error) => unsound(&error),
            Self::Daemon(error) => {
                // What the daemon itself finds as it reads its log has its code already.
                let told = std::error::Error::source(&error)
                    .and_then(|source| source.downcast_ref::<CallError>());
                let told = match told {
                    Some(CallError::Refused { code: Some(code), .. }) => Some(code.clone()),
                    _ => None,
                };
                let error = VerifyError::from(error);
                let code = told.unwrap_or_else(|| error.kind().to_owned());
                Failure::because("the log is not sound", &error).code(Some(code))
            }
        }
    }
}

fn unsound(error: &FolderError) -> Failure {
    Failure::because("the copy is not sound", error).code(Some(error.kind().to_owned()))
}
