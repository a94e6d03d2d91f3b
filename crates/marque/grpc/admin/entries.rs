//! The registration entries as operators see and change them.
//!
//! Absent on purpose: the rules of registration, which are behind [`EntryDoor`](super::door::EntryDoor).

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::{AdminService, messages, requests};
use crate::error;

impl AdminService {
    pub(super) async fn entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        self.operator("ListEntries", &request).await?;
        let proto::ListEntriesRequest {} = request.into_inner();
        let entries =
            self.door.registry().entries().iter().map(|entry| messages::entry(entry)).collect();
        Ok(Response::new(proto::ListEntriesResponse { entries }))
    }

    pub(super) async fn add_entry(
        &self,
        request: Request<proto::CreateEntryRequest>,
    ) -> Result<Response<proto::CreateEntryResponse>, Status> {
        let operator = self.operator("CreateEntry", &request).await?;
        let proto::CreateEntryRequest { spec } = request.into_inner();
        let entry = requests::new_entry(spec)?;
        let created = self.door.create_entry(entry, operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::CreateEntryResponse { entry: Some(messages::entry(&created)) }))
    }

    pub(super) async fn remove_entry(
        &self,
        request: Request<proto::DeleteEntryRequest>,
    ) -> Result<Response<proto::DeleteEntryResponse>, Status> {
        let operator = self.operator("DeleteEntry", &request).await?;
        let proto::DeleteEntryRequest { id } = request.into_inner();
        self.door.delete_entry(requests::entry_id(&id)?, operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::DeleteEntryResponse {}))
    }
}
