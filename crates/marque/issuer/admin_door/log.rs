//! The log and where it goes, as operators reach it.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_audit::{LogStore, VerifierKey};

use super::super::Issuer;
use crate::grpc::admin::{AdminError, LogDoor};
use crate::sinks::SinkView;

impl LogDoor for Issuer {
    fn log(&self) -> Arc<dyn LogStore> {
        let log: Arc<dyn LogStore> = Arc::clone(&self.store) as _;
        log
    }

    fn log_key(&self) -> VerifierKey {
        self.log_key.clone()
    }

    fn cosigned_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async move {
            let found = self.witnesses.checkpoint().await;
            let found = found.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            Ok(found.map(|signed| signed.text().to_owned()))
        })
    }

    fn audit_sinks(&self) -> BoxFuture<'_, Result<Vec<SinkView>, AdminError>> {
        Box::pin(async move {
            let sinks = self.sinks.views().await;
            let mut views = sinks.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            let witnesses = self.witnesses.views().await;
            views.extend(witnesses.map_err(|error| AdminError::Unavailable(Box::new(error)))?);
            Ok(views)
        })
    }
}
