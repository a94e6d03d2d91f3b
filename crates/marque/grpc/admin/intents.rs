//! Intents in all, and what is open by agent, delegator or target; one intent and the word on it is in `approvals`.

use marque_intent::{Holding, OpenCount};
use tonic::{Request, Response, Status};

use super::super::connection::peer_of;
use super::super::proto::admin as proto;
use super::{AdminService, messages, requests};
use crate::error;

impl AdminService {
    pub(super) async fn intents(
        &self,
        request: Request<proto::ListIntentsRequest>,
    ) -> Result<Response<proto::ListIntentsResponse>, Status> {
        self.operator("ListIntents", &request).await?;
        let filter = requests::filter(request.into_inner())?;
        let found = self.door.intents(filter).await.map_err(error::admin)?;
        let intents = found.iter().map(|intent| self.intent(intent)).collect();
        Ok(Response::new(proto::ListIntentsResponse { intents }))
    }

    pub(super) async fn open_counts(
        &self,
        request: Request<proto::CountOpenGrantsRequest>,
    ) -> Result<Response<proto::CountOpenGrantsResponse>, Status> {
        self.gate.admit(&*peer_of(&request)?, "CountOpenGrants", None).await?;
        let proto::CountOpenGrantsRequest { by } = request.into_inner();
        let counts = self.door.open_counts(requests::open_by(&by)?).await.map_err(error::admin)?;
        let count = |OpenCount { name, grants }| proto::OpenCount { name, grants };
        let counts = counts.into_iter().map(count).collect();
        Ok(Response::new(proto::CountOpenGrantsResponse { counts }))
    }

    pub(super) async fn revoke_held(
        &self,
        request: Request<proto::RevokeOpenGrantsRequest>,
    ) -> Result<Response<proto::RevokeOpenGrantsResponse>, Status> {
        let operator = self.gate.admit(&*peer_of(&request)?, "RevokeOpenGrants", None).await?;
        let proto::RevokeOpenGrantsRequest { by, name, reason } = request.into_inner();
        let holding = Holding { by: requests::open_by(&by)?, name };
        let reason = requests::reason(&reason)?;
        let ended = self.door.revoke_held(operator, holding, reason).await.map_err(error::admin)?;
        let intents = ended.iter().map(ToString::to_string).collect();
        Ok(Response::new(proto::RevokeOpenGrantsResponse { intents }))
    }

    /// An intent as a message, with who answers for its agent.
    pub(super) fn intent(&self, intent: &marque_intent::Intent) -> proto::Intent {
        let registry = self.door.registry();
        let owner = registry.entry_by_spiffe_id(intent.agent()).map(|entry| entry.owner());
        messages::intent(intent, owner)
    }
}
