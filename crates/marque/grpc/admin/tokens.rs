//! Issued tokens as operators see them: what is kept of each, whether it stands, and ending it.
//!
//! Absent on purpose: tokens themselves, which nobody keeps, and the judgement whether one stands.

use marque_exchange::{Confirmation, TokenRecord};
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::timestamp;
use super::door::TokenStanding;
use super::{AdminService, requests};
use crate::error;

impl AdminService {
    pub(super) async fn tokens_of(
        &self,
        request: Request<proto::ListTokensRequest>,
    ) -> Result<Response<proto::ListTokensResponse>, Status> {
        let (_, intent) = self.operator_for("ListTokens", &request, |body| &body.intent).await?;
        let found = self.door.tokens_of(intent).await.map_err(error::admin)?;
        let tokens = found.iter().map(token).collect();
        Ok(Response::new(proto::ListTokensResponse { tokens }))
    }

    pub(super) async fn token(
        &self,
        request: Request<proto::GetTokenRequest>,
    ) -> Result<Response<proto::GetTokenResponse>, Status> {
        self.operator("GetToken", &request).await?;
        let proto::GetTokenRequest { id } = request.into_inner();
        let found = self.door.token(requests::token_id(&id)?).await.map_err(error::admin)?;
        Ok(Response::new(proto::GetTokenResponse { token: Some(token(&found)) }))
    }

    pub(super) async fn tokens_after(
        &self,
        request: Request<proto::PageTokensRequest>,
    ) -> Result<Response<proto::PageTokensResponse>, Status> {
        self.operator("PageTokens", &request).await?;
        let proto::PageTokensRequest { after } = request.into_inner();
        let after = Some(after).filter(|id| !id.is_empty());
        let after = after.map(|id| requests::token_id(&id)).transpose()?;
        let found = self.door.tokens_after(after).await.map_err(error::admin)?;
        let tokens = found.iter().map(kept).collect();
        Ok(Response::new(proto::PageTokensResponse { tokens }))
    }

    pub(super) async fn end_token(
        &self,
        request: Request<proto::RevokeTokenRequest>,
    ) -> Result<Response<proto::RevokeTokenResponse>, Status> {
        let operator = self.operator("RevokeToken", &request).await?;
        let proto::RevokeTokenRequest { id, reason } = request.into_inner();
        let (id, reason) = (requests::token_id(&id)?, requests::reason(&reason)?);
        let revoked = self.door.revoke_token(operator, id, reason).await.map_err(error::admin)?;
        let revoked = revoked.iter().map(ToString::to_string).collect();
        Ok(Response::new(proto::RevokeTokenResponse { revoked }))
    }
}

fn kept(record: &TokenRecord) -> proto::KeptToken {
    proto::KeptToken {
        id: record.id.to_string(),
        intent: record.intent.to_string(),
        derived: record.parent.is_some(),
        used: record.used_at.is_some(),
        revoked: record.revoked_at.is_some(),
        expires_at: Some(timestamp(record.expires_at)),
    }
}

fn token(standing: &TokenStanding) -> proto::Token {
    let TokenStanding { record, ended } = standing;
    let TokenRecord {
        id,
        intent,
        kind,
        client,
        through,
        parent,
        ancestors: _,
        keys_above: _,
        root,
        root_groups: _,
        confirmation,
        single_use,
        used_at,
        status_index,
        audiences,
        issued_at,
        expires_at,
        epoch: _,
        revoked_at,
    } = record;
    proto::Token {
        id: id.to_string(),
        intent: intent.to_string(),
        kind: kind.as_str().to_owned(),
        holder: client.to_string(),
        through: through.iter().map(ToString::to_string).collect(),
        parent: parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        root: root.as_ref().map(ToString::to_string).unwrap_or_default(),
        audiences: audiences.clone(),
        bound_to: confirmation.map(bound_to).unwrap_or_default(),
        single_use: *single_use,
        issued_at: Some(timestamp(*issued_at)),
        expires_at: Some(timestamp(*expires_at)),
        used_at: used_at.map(timestamp),
        revoked_at: revoked_at.map(timestamp),
        status_list: status_index.map(|place| place.list()),
        status_idx: status_index.map(|place| place.idx()),
        ended_code: ended
            .as_ref()
            .map(|denial| denial.code().as_str())
            .unwrap_or_default()
            .to_owned(),
    }
}

fn bound_to(confirmation: Confirmation) -> String {
    match confirmation {
        Confirmation::Jkt(thumbprint) => format!("jkt:{thumbprint}"),
        Confirmation::X5t(thumbprint) => format!("x5t#S256:{thumbprint}"),
    }
}
