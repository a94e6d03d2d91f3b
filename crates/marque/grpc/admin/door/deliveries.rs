//! Webhooks and shared signals, as operators reach them.

use futures::future::BoxFuture;

use super::AdminError;
use crate::ssf::SignalView;
use crate::webhooks::WebhookView;

/// Who is told what happens, and how far each has come.
pub trait DeliveryDoor {
    /// Who is told what happens, and how far each has come.
    fn webhooks(&self) -> BoxFuture<'_, Result<Vec<WebhookView>, AdminError>>;

    /// Sends a webhook a message of no event.
    fn test_webhook(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Sends a webhook what was put aside: the message of one leaf, or all of it. Gives how many were taken.
    fn redeliver(&self, name: String, leaf: Option<u64>) -> BoxFuture<'_, Result<u64, AdminError>>;

    /// The streams and transmitters of shared signals, and how far each has come.
    fn signals(&self) -> BoxFuture<'_, Result<Vec<SignalView>, AdminError>>;

    /// Sends a stream's receiver an event that says nothing but that events arrive, with what it is to hear again.
    fn verify_signals(
        &self,
        stream: String,
        state: Option<String>,
    ) -> BoxFuture<'_, Result<(), AdminError>>;
}
