//! The log, where it is pushed, and what reports say of it.

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::super::view::{LogInfoView, ReportView};
use super::{AdminClient, CallError, LeafStream, proto, timestamp};
use crate::sinks::SinkView;

impl AdminClient {
    /// How the log stands.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn log_info(&mut self) -> Result<LogInfoView, CallError> {
        Ok(self.inner.get_log_info(proto::GetLogInfoRequest {}).await?.into_inner().into())
    }

    /// The log's leaves from number `from` on; with `follow`, new ones as they come.
    ///
    /// # Errors
    /// As [`Self::status`]; the stream can end with such an error too.
    pub async fn leaves(&mut self, from: u64, follow: bool) -> Result<LeafStream, CallError> {
        let request = proto::StreamLeavesRequest { from, follow };
        let stream = self.inner.stream_leaves(request).await?.into_inner();
        Ok(stream.map_ok(Into::into).map_err(Into::into).boxed())
    }

    /// Where the log is pushed, and how far each has come.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn audit_sinks(&mut self) -> Result<Vec<SinkView>, CallError> {
        let request = proto::ListAuditSinksRequest {};
        let proto::ListAuditSinksResponse { sinks } =
            self.inner.list_audit_sinks(request).await?.into_inner();
        Ok(sinks.into_iter().map(Into::into).collect())
    }

    /// What these reports say about what was recorded since then; all of them when none is named.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn reports(
        &mut self,
        reports: Vec<String>,
        since: Option<Timestamp>,
    ) -> Result<Vec<ReportView>, CallError> {
        let request = proto::MakeReportRequest { reports, since: since.map(timestamp) };
        let answer = self.inner.make_report(request).await?.into_inner();
        let proto::MakeReportResponse { findings } = answer;
        findings.into_iter().map(TryInto::try_into).collect()
    }
}
