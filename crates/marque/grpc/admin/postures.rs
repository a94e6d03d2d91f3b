//! Posture signals as operators see and set them.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::{AdminService, messages, requests};
use crate::error;

impl AdminService {
    pub(super) async fn set_posture_signal(
        &self,
        request: Request<proto::SetPostureRequest>,
    ) -> Result<Response<proto::SetPostureResponse>, Status> {
        let operator = self.operator("SetPosture", &request).await?;
        let order = requests::posture(request.into_inner())?;
        let state = self.door.set_posture(order, operator).await.map_err(error::admin)?;
        let signals_json = messages::postures(&state);
        Ok(Response::new(proto::SetPostureResponse { signals_json }))
    }

    pub(super) async fn postures(
        &self,
        request: Request<proto::ListPosturesRequest>,
    ) -> Result<Response<proto::ListPosturesResponse>, Status> {
        self.operator("ListPostures", &request).await?;
        let proto::ListPosturesRequest {} = request.into_inner();
        let state = self.door.postures().await.map_err(error::admin)?;
        let signals_json = messages::postures(&state);
        Ok(Response::new(proto::ListPosturesResponse { signals_json }))
    }
}
