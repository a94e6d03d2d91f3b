//! A folder that says nothing.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{PlaybookSet, Rosters};
use marque_registry::TrustDomainDocument;
use marque_spiffe::Environment;

use super::super::super::door::{AdminError, FolderDoor, Operator};
use super::FakeDoor;
use crate::issuer::folder::FolderFiles;
use crate::issuer::reload::{FolderStanding, ReloadReport};

impl FolderDoor for FakeDoor {
    fn document(&self) -> Arc<TrustDomainDocument> {
        self.registry.document()
    }

    fn playbooks(&self) -> Arc<PlaybookSet> {
        Arc::new(PlaybookSet::empty(
            "test.example.org".parse().unwrap(),
            Environment::NonProduction,
        ))
    }

    fn rosters(&self) -> Arc<Rosters> {
        Arc::default()
    }

    fn sources(&self) -> FolderFiles {
        FolderFiles::default()
    }

    fn folder(&self) -> BoxFuture<'_, FolderStanding> {
        Box::pin(async {
            FolderStanding {
                digest: "sha256:00".to_owned(),
                loaded_at: Timestamp::UNIX_EPOCH,
                differs: false,
                refused: None,
            }
        })
    }

    fn reload(
        &self,
        operator: Operator,
        _dry_run: bool,
    ) -> BoxFuture<'_, Result<ReloadReport, AdminError>> {
        self.actors.lock().unwrap().push(operator.to_string());
        let refused = "there is no folder".to_owned();
        Box::pin(async { Err(AdminError::Unavailable(refused.into())) })
    }
}
