//! Where the log is pushed, as operators see it.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};
use super::AdminService;
use crate::error;
use crate::sinks::SinkView;

impl AdminService {
    pub(super) async fn audit_sinks(
        &self,
        request: Request<proto::ListAuditSinksRequest>,
    ) -> Result<Response<proto::ListAuditSinksResponse>, Status> {
        self.operator("ListAuditSinks", &request).await?;
        let proto::ListAuditSinksRequest {} = request.into_inner();
        let found = self.door.audit_sinks().await.map_err(error::admin)?;
        let sinks = found.into_iter().map(sink).collect();
        Ok(Response::new(proto::ListAuditSinksResponse { sinks }))
    }
}

fn sink(view: SinkView) -> proto::AuditSink {
    let SinkView { name, sends, to, behind, failed, retry_at, failure, delivered_at } = view;
    proto::AuditSink {
        name,
        sends,
        to,
        behind,
        failed,
        retry_at: retry_at.map(timestamp),
        failure: failure.unwrap_or_default(),
        delivered_at: delivered_at.map(timestamp),
    }
}

impl From<proto::AuditSink> for SinkView {
    fn from(message: proto::AuditSink) -> Self {
        let proto::AuditSink { name, sends, to, behind, failed, retry_at, failure, delivered_at } =
            message;
        Self {
            name,
            sends,
            to,
            behind,
            failed,
            retry_at: retry_at.and_then(from_timestamp),
            failure: Some(failure).filter(|failure| !failure.is_empty()),
            delivered_at: delivered_at.and_then(from_timestamp),
        }
    }
}
