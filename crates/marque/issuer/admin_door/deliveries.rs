//! Webhooks and shared signals, as operators reach them.

use futures::future::BoxFuture;

use super::super::Issuer;
use super::refused::{of_signal, of_webhook};
use crate::grpc::admin::{AdminError, DeliveryDoor};
use crate::ssf::SignalView;
use crate::webhooks::WebhookView;

impl DeliveryDoor for Issuer {
    fn webhooks(&self) -> BoxFuture<'_, Result<Vec<WebhookView>, AdminError>> {
        Box::pin(async move { self.webhooks.views().await.map_err(|error| of_webhook(error, "")) })
    }

    fn test_webhook(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            self.webhooks.test(&name).await.map_err(|error| of_webhook(error, &name))
        })
    }

    fn redeliver(&self, name: String, leaf: Option<u64>) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async move {
            let taken = self.webhooks.redeliver(&name, leaf).await;
            taken.map_err(|error| of_webhook(error, &name))
        })
    }

    fn signals(&self) -> BoxFuture<'_, Result<Vec<SignalView>, AdminError>> {
        Box::pin(async move { self.signals.views().await.map_err(|error| of_signal(error, "")) })
    }

    fn verify_signals(
        &self,
        stream: String,
        state: Option<String>,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let verified = self.signals.verify(&stream, state.as_deref()).await;
            verified.map_err(|error| of_signal(error, &stream))
        })
    }
}
