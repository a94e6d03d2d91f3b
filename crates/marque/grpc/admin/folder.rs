//! The folder of the trust domain: reading it anew, and how it stands.
//!
//! Absent on purpose: reading it.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};
use super::view::{FolderView, RefusedReloadView};
use super::{AdminService, messages};
use crate::error;
use crate::issuer::reload::{FolderStanding, RefusedReload};

impl AdminService {
    pub(super) async fn reload(
        &self,
        request: Request<proto::ReloadFolderRequest>,
    ) -> Result<Response<proto::ReloadFolderResponse>, Status> {
        let operator = self.operator("ReloadFolder", &request).await?;
        let proto::ReloadFolderRequest { dry_run } = request.into_inner();
        let report = self.door.reload(operator, dry_run).await.map_err(error::admin)?;
        Ok(Response::new(proto::ReloadFolderResponse { report_json: messages::json(&report) }))
    }
}

/// How the folder stands, as a message.
pub(super) fn standing(standing: FolderStanding) -> proto::FolderStanding {
    let FolderStanding { digest, loaded_at, differs, refused } = standing;
    let refused = refused.map(|refused| {
        let RefusedReload { at, by, code, first } = refused;
        let (at, code) = (Some(timestamp(at)), code.as_str().to_owned());
        proto::RefusedReload { at, by, code, first }
    });
    proto::FolderStanding { digest, loaded_at: Some(timestamp(loaded_at)), differs, refused }
}

impl From<proto::FolderStanding> for FolderView {
    fn from(message: proto::FolderStanding) -> Self {
        let proto::FolderStanding { digest, loaded_at, differs, refused } = message;
        let loaded_at = loaded_at.and_then(from_timestamp);
        let refused = refused.map(|refused| {
            let proto::RefusedReload { at, by, code, first } = refused;
            RefusedReloadView { at: at.and_then(from_timestamp), by, code, first }
        });
        Self { digest, loaded_at, differs, refused }
    }
}
