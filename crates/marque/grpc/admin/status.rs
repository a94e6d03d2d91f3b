//! How the daemon is, and what it counts.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::{AdminService, folder, messages};
use crate::telemetry;

impl AdminService {
    pub(super) async fn status(
        &self,
        request: Request<proto::GetStatusRequest>,
    ) -> Result<Response<proto::GetStatusResponse>, Status> {
        self.operator("GetStatus", &request).await?;
        let log = self.door.log();
        let log_size = match log.size().await {
            Ok(size) => size,
            // Whoever asks how the daemon is has to be told so above all when its store cannot be read.
            Err(_unreadable) => *log.changed().borrow(),
        };
        let not_ready = self.door.readiness().await;
        let folder = folder::standing(self.door.folder().await);
        let status = messages::status(&*self.door, log_size, &not_ready);
        Ok(Response::new(proto::GetStatusResponse { folder: Some(folder), ..status }))
    }

    pub(super) async fn metrics(
        &self,
        request: Request<proto::GetMetricsRequest>,
    ) -> Result<Response<proto::GetMetricsResponse>, Status> {
        self.operator("GetMetrics", &request).await?;
        let proto::GetMetricsRequest {} = request.into_inner();
        self.door.measure().await;
        Ok(Response::new(proto::GetMetricsResponse { text: telemetry::metrics() }))
    }
}
