//! The playbooks as operators see them.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::{AdminError, AdminService, messages, requests};
use crate::error;

impl AdminService {
    pub(super) async fn playbooks(
        &self,
        request: Request<proto::ListPlaybooksRequest>,
    ) -> Result<Response<proto::ListPlaybooksResponse>, Status> {
        self.operator("ListPlaybooks", &request).await?;
        let proto::ListPlaybooksRequest {} = request.into_inner();
        let playbooks = self.door.playbooks().iter().map(messages::playbook).collect();
        Ok(Response::new(proto::ListPlaybooksResponse { playbooks }))
    }

    pub(super) async fn playbook(
        &self,
        request: Request<proto::GetPlaybookRequest>,
    ) -> Result<Response<proto::GetPlaybookResponse>, Status> {
        self.operator("GetPlaybook", &request).await?;
        let proto::GetPlaybookRequest { id } = request.into_inner();
        let playbooks = self.door.playbooks();
        let playbook = playbooks
            .find(&requests::playbook_id(&id)?)
            .ok_or_else(|| error::admin(AdminError::NotFound { what: "playbook", id }))?;
        Ok(Response::new(proto::GetPlaybookResponse {
            playbook: Some(messages::playbook(playbook)),
        }))
    }
}
