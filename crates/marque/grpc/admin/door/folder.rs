//! The folder of a trust domain, as its operators reach it.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_intent::{PlaybookSet, Rosters};
use marque_registry::TrustDomainDocument;

use super::{AdminError, Operator};
use crate::issuer::folder::FolderFiles;
use crate::issuer::reload::{FolderStanding, ReloadReport};

/// The folder: what it says, and having it read anew.
pub trait FolderDoor {
    /// The trust domain's document, which says who its operators are.
    fn document(&self) -> Arc<TrustDomainDocument>;

    /// The playbooks.
    fn playbooks(&self) -> Arc<PlaybookSet>;

    /// Who is on duty when.
    fn rosters(&self) -> Arc<Rosters>;

    /// The files of the folder that is served.
    fn sources(&self) -> FolderFiles;

    /// How the folder in force stands to its files.
    fn folder(&self) -> BoxFuture<'_, FolderStanding>;

    /// Has the folder read anew and put in force; a dry run only says what that would come to. One that is refused is no
    /// error.
    fn reload(
        &self,
        operator: Operator,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<ReloadReport, AdminError>>;
}
