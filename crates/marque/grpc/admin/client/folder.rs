//! The folder of the trust domain.

use futures::TryStreamExt;

use super::super::view::PlaybookView;
use super::{AdminClient, CallError, proto};
use crate::issuer::folder::FolderFiles;
use crate::issuer::reload::ReloadReport;

impl AdminClient {
    /// The playbooks.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn playbooks(&mut self) -> Result<Vec<PlaybookView>, CallError> {
        let answer = self.inner.list_playbooks(proto::ListPlaybooksRequest {}).await?.into_inner();
        let proto::ListPlaybooksResponse { playbooks } = answer;
        playbooks.into_iter().map(TryInto::try_into).collect()
    }

    /// One playbook.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn playbook(&mut self, id: String) -> Result<PlaybookView, CallError> {
        let answer = self.inner.get_playbook(proto::GetPlaybookRequest { id }).await?.into_inner();
        let proto::GetPlaybookResponse { playbook } = answer;
        playbook.ok_or(CallError::Malformed("playbook"))?.try_into()
    }

    /// The files of the folder that the daemon serves.
    ///
    /// # Errors
    /// As [`Self::status`]; and the daemon named a file that is not below a folder.
    pub async fn sources(&mut self) -> Result<FolderFiles, CallError> {
        let stream = self.inner.stream_sources(proto::StreamSourcesRequest {}).await?;
        let files: Vec<(String, Vec<u8>)> = stream
            .into_inner()
            .map_ok(|proto::StreamSourcesResponse { name, content }| (name, content))
            .try_collect()
            .await?;
        FolderFiles::of(files).ok_or(CallError::Malformed("name"))
    }

    /// Has the folder of the trust domain read anew; a dry run says what that would come to.
    ///
    /// # Errors
    /// As [`Self::status`]. A folder that is refused is no error.
    pub async fn reload(&mut self, dry_run: bool) -> Result<ReloadReport, CallError> {
        let request = proto::ReloadFolderRequest { dry_run };
        let answer = self.inner.reload_folder(request).await?;
        let proto::ReloadFolderResponse { report_json } = answer.into_inner();
        serde_json::from_str(&report_json).map_err(|_unreadable| CallError::Malformed("report"))
    }
}
