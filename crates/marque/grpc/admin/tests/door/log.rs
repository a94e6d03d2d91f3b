//! A log in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_audit::{LogStore, VerifierKey};

use super::super::super::door::{AdminError, LogDoor};
use super::FakeDoor;
use crate::sinks::SinkView;

impl LogDoor for FakeDoor {
    fn log(&self) -> Arc<dyn LogStore> {
        self.memory_log()
    }

    fn log_key(&self) -> VerifierKey {
        self.key()
    }

    fn cosigned_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async { Ok(None) })
    }

    fn audit_sinks(&self) -> BoxFuture<'_, Result<Vec<SinkView>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
