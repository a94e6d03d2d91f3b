//! The log and where it goes, as operators reach it.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_audit::{LogStore, VerifierKey};

use super::AdminError;
use crate::sinks::SinkView;

/// The log, who cosigns it and where it is pushed.
pub trait LogDoor {
    /// The log.
    fn log(&self) -> Arc<dyn LogStore>;

    /// The key that verifies the log's checkpoints.
    fn log_key(&self) -> VerifierKey;

    /// The newest checkpoint that enough witnesses have cosigned; `None` while there is none.
    fn cosigned_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>>;

    /// Where the log is pushed, and how far each has come.
    fn audit_sinks(&self) -> BoxFuture<'_, Result<Vec<SinkView>, AdminError>>;
}
