//! The kill switch: stopping, looking, trying, and letting somebody go on.
//!
//! Absent on purpose: what a kill does, which is behind [`AdminDoor`](super::AdminDoor).

use marque_intent::kill::StopPoint;
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::{AdminService, messages, requests};
use crate::error;

impl AdminService {
    pub(super) async fn stop(
        &self,
        request: Request<proto::KillRequest>,
    ) -> Result<Response<proto::KillResponse>, Status> {
        let operator = self.operator("Kill", &request).await?;
        let order = requests::kill(request.into_inner())?;
        let stops_use = order.mode.stops(StopPoint::Use);
        let state = self.door.kill(order, operator).await.map_err(error::admin)?;
        Ok(Response::new(messages::killed(&*self.door, &state, stops_use)))
    }

    pub(super) async fn kill_standing(
        &self,
        request: Request<proto::GetKillStateRequest>,
    ) -> Result<Response<proto::GetKillStateResponse>, Status> {
        self.operator("GetKillState", &request).await?;
        let proto::GetKillStateRequest {} = request.into_inner();
        let state = Some(messages::kill_state(&*self.door, &self.door.kill_state()));
        // What stands is told even where nothing can be read.
        let (asks, asks_unknown) = match self.door.lift_asks().await {
            Ok(asks) => (asks.iter().map(messages::lift_ask).collect(), String::new()),
            Err(failed) => (Vec::new(), error::admin(failed).message().to_owned()),
        };
        Ok(Response::new(proto::GetKillStateResponse { state, asks, asks_unknown }))
    }

    pub(super) async fn kill_preview(
        &self,
        request: Request<proto::PreviewKillRequest>,
    ) -> Result<Response<proto::PreviewKillResponse>, Status> {
        self.operator("PreviewKill", &request).await?;
        let proto::PreviewKillRequest { scope, mode } = request.into_inner();
        let mode = requests::kill_mode(&mode)?.unwrap_or_default();
        let impact = self.door.kill_impact(requests::kill_scope(scope)?, mode).await;
        let impact_json = messages::json(&impact.map_err(error::admin)?);
        Ok(Response::new(proto::PreviewKillResponse { impact_json }))
    }

    pub(super) async fn kill_drill(
        &self,
        request: Request<proto::DrillKillRequest>,
    ) -> Result<Response<proto::DrillKillResponse>, Status> {
        let operator = self.operator("DrillKill", &request).await?;
        let proto::DrillKillRequest {} = request.into_inner();
        let report = self.door.kill_drill(operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::DrillKillResponse { report_json: messages::json(&report) }))
    }

    pub(super) async fn lift_asked(
        &self,
        request: Request<proto::AskLiftRequest>,
    ) -> Result<Response<proto::AskLiftResponse>, Status> {
        let operator = self.operator("AskLift", &request).await?;
        let proto::AskLiftRequest { kill, mode, reason } = request.into_inner();
        let (mode, reason) = (requests::kill_mode(&mode)?, requests::reason(&reason)?);
        let ask = self.door.ask_lift(kill, mode, reason, operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::AskLiftResponse { ask: Some(messages::lift_ask(&ask)) }))
    }

    pub(super) async fn lift_confirmed(
        &self,
        request: Request<proto::ConfirmLiftRequest>,
    ) -> Result<Response<proto::ConfirmLiftResponse>, Status> {
        let operator = self.operator("ConfirmLift", &request).await?;
        let proto::ConfirmLiftRequest { ask } = request.into_inner();
        let state = self.door.confirm_lift(ask, operator).await.map_err(error::admin)?;
        let state = Some(messages::kill_state(&*self.door, &state));
        Ok(Response::new(proto::ConfirmLiftResponse { state }))
    }
}
