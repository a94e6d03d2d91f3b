//! Webhooks as operators see them.
//!
//! Absent on purpose: sending, and secrets.

use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::{from_timestamp, timestamp};
use super::AdminService;
use crate::error;
use crate::webhooks::{DeadLetterView, WebhookView};

impl AdminService {
    pub(super) async fn webhooks(
        &self,
        request: Request<proto::ListWebhooksRequest>,
    ) -> Result<Response<proto::ListWebhooksResponse>, Status> {
        self.operator("ListWebhooks", &request).await?;
        let proto::ListWebhooksRequest {} = request.into_inner();
        let found = self.door.webhooks().await.map_err(error::admin)?;
        let webhooks = found.into_iter().map(webhook).collect();
        Ok(Response::new(proto::ListWebhooksResponse { webhooks }))
    }

    pub(super) async fn try_webhook(
        &self,
        request: Request<proto::TestWebhookRequest>,
    ) -> Result<Response<proto::TestWebhookResponse>, Status> {
        self.operator("TestWebhook", &request).await?;
        let proto::TestWebhookRequest { name } = request.into_inner();
        self.door.test_webhook(name).await.map_err(error::admin)?;
        Ok(Response::new(proto::TestWebhookResponse {}))
    }

    pub(super) async fn redeliver(
        &self,
        request: Request<proto::RedeliverWebhookRequest>,
    ) -> Result<Response<proto::RedeliverWebhookResponse>, Status> {
        self.operator("RedeliverWebhook", &request).await?;
        let proto::RedeliverWebhookRequest { name, leaf } = request.into_inner();
        let taken = self.door.redeliver(name, leaf).await.map_err(error::admin)?;
        Ok(Response::new(proto::RedeliverWebhookResponse { taken }))
    }
}

fn webhook(view: WebhookView) -> proto::Webhook {
    let WebhookView { name, behind, failed, retry_at, failure, delivered_at, dead } = view;
    let letter = |letter: DeadLetterView| {
        let DeadLetterView { leaf, at, failure } = letter;
        proto::DeadLetter { leaf, at: Some(timestamp(at)), failure }
    };
    proto::Webhook {
        name,
        behind,
        failed,
        retry_at: retry_at.map(timestamp),
        failure: failure.unwrap_or_default(),
        delivered_at: delivered_at.map(timestamp),
        dead: dead.into_iter().map(letter).collect(),
    }
}

impl From<proto::Webhook> for WebhookView {
    fn from(message: proto::Webhook) -> Self {
        let proto::Webhook { name, behind, failed, retry_at, failure, delivered_at, dead } =
            message;
        let letter = |letter: proto::DeadLetter| {
            let proto::DeadLetter { leaf, at, failure } = letter;
            let at = at.and_then(from_timestamp).unwrap_or_default();
            DeadLetterView { leaf, at, failure }
        };
        Self {
            name,
            behind,
            failed,
            retry_at: retry_at.and_then(from_timestamp),
            failure: Some(failure).filter(|failure| !failure.is_empty()),
            delivered_at: delivered_at.and_then(from_timestamp),
            dead: dead.into_iter().map(letter).collect(),
        }
    }
}
