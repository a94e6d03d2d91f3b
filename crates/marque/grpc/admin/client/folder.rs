//! The folder of the trust domain.

use super::{AdminClient, CallError, proto};
use crate::issuer::reload::ReloadReport;

impl AdminClient {
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
