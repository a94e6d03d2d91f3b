//! The log as operators read it.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::calls::LeavesStream;
use super::{AdminService, leaves};
use crate::error;

impl AdminService {
    pub(super) async fn log_info(
        &self,
        request: Request<proto::GetLogInfoRequest>,
    ) -> Result<Response<proto::GetLogInfoResponse>, Status> {
        self.operator("GetLogInfo", &request).await?;
        let proto::GetLogInfoRequest {} = request.into_inner();
        let log = self.door.log();
        // Before the newest one, so that it is never a later one than that.
        let cosigned = self.door.cosigned_checkpoint().await.map_err(error::admin)?;
        let checkpoint = leaves::whole_checkpoint(&*log).await.map_err(error::log)?;
        let checkpoint = checkpoint.map(|stored| stored.text).unwrap_or_default();
        let size = log.size().await.map_err(error::log)?;
        let verifier_key = self.door.log_key().to_string();
        let cosigned_checkpoint = cosigned.unwrap_or_default();
        let info =
            proto::GetLogInfoResponse { size, checkpoint, verifier_key, cosigned_checkpoint };
        Ok(Response::new(info))
    }

    pub(super) async fn leaves(
        &self,
        request: Request<proto::StreamLeavesRequest>,
    ) -> Result<Response<LeavesStream>, Status> {
        self.operator("StreamLeaves", &request).await?;
        let proto::StreamLeavesRequest { from, follow } = request.into_inner();
        Ok(Response::new(leaves::stream(self.door.log(), from, follow, self.shutdown.clone())))
    }
}
