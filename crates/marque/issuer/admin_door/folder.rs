//! The folder of a trust domain, as its operators reach it.

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use marque_intent::{PlaybookSet, Rosters};
use marque_registry::TrustDomainDocument;

use super::super::Issuer;
use super::super::folder::FolderFiles;
use super::super::reload::{FolderStanding, ReloadReport};
use crate::grpc::admin::{AdminError, FolderDoor, Operator};

impl FolderDoor for Issuer {
    fn document(&self) -> Arc<TrustDomainDocument> {
        Arc::clone(&self.document)
    }

    fn playbooks(&self) -> Arc<PlaybookSet> {
        Arc::clone(&self.intents.playbooks)
    }

    fn rosters(&self) -> Arc<Rosters> {
        Arc::clone(&self.intents.rosters)
    }

    fn sources(&self) -> FolderFiles {
        self.files.clone()
    }

    fn folder(&self) -> BoxFuture<'_, FolderStanding> {
        Box::pin(self.folder_standing())
    }

    fn reload(
        &self,
        operator: Operator,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<ReloadReport, AdminError>> {
        Box::pin(async move {
            let served = self.served.get().and_then(Weak::upgrade);
            let served = served.ok_or_else(|| AdminError::Unavailable("not served yet".into()))?;
            let reloaded = served.reload(operator.to_string(), dry_run).await;
            reloaded.map_err(|error| AdminError::Unavailable(error.into_boxed_dyn_error()))
        })
    }
}
