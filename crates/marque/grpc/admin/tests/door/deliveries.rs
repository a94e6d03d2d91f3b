//! Nobody is told anything.

use futures::future::BoxFuture;

use super::super::super::door::{AdminError, DeliveryDoor};
use super::FakeDoor;
use crate::ssf::SignalView;
use crate::webhooks::WebhookView;

impl DeliveryDoor for FakeDoor {
    fn webhooks(&self) -> BoxFuture<'_, Result<Vec<WebhookView>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn test_webhook(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "webhook", id: name }) })
    }

    fn redeliver(
        &self,
        name: String,
        _leaf: Option<u64>,
    ) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "webhook", id: name }) })
    }

    fn signals(&self) -> BoxFuture<'_, Result<Vec<SignalView>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn verify_signals(
        &self,
        stream: String,
        _state: Option<String>,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "stream", id: stream }) })
    }
}
