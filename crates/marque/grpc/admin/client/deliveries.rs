//! Webhooks and shared signals.

use super::{AdminClient, CallError, proto};
use crate::ssf::SignalView;
use crate::webhooks::WebhookView;

impl AdminClient {
    /// Who is told what happens.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn webhooks(&mut self) -> Result<Vec<WebhookView>, CallError> {
        let answer = self.inner.list_webhooks(proto::ListWebhooksRequest {}).await?.into_inner();
        let proto::ListWebhooksResponse { webhooks } = answer;
        Ok(webhooks.into_iter().map(Into::into).collect())
    }

    /// Sends a webhook a message of no event.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn test_webhook(&mut self, name: String) -> Result<(), CallError> {
        let request = proto::TestWebhookRequest { name };
        let proto::TestWebhookResponse {} = self.inner.test_webhook(request).await?.into_inner();
        Ok(())
    }

    /// Sends a webhook what was put aside; how many messages were taken.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn redeliver(&mut self, name: String, leaf: Option<u64>) -> Result<u64, CallError> {
        let request = proto::RedeliverWebhookRequest { name, leaf };
        let proto::RedeliverWebhookResponse { taken } =
            self.inner.redeliver_webhook(request).await?.into_inner();
        Ok(taken)
    }

    /// The streams and transmitters of shared signals.
    ///
    /// # Errors
    /// As [`Self::status`], and when the daemon is of another version.
    pub async fn signals(&mut self) -> Result<Vec<SignalView>, CallError> {
        let answer = self.inner.list_signals(proto::ListSignalsRequest {}).await?.into_inner();
        let proto::ListSignalsResponse { signals } = answer;
        signals.into_iter().map(SignalView::try_from).collect()
    }

    /// Sends a stream's receiver an event that says nothing but that events arrive.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn verify_signals(
        &mut self,
        name: String,
        state: Option<String>,
    ) -> Result<(), CallError> {
        let request = proto::VerifySignalStreamRequest { name, state };
        let answer = self.inner.verify_signal_stream(request).await?.into_inner();
        let proto::VerifySignalStreamResponse {} = answer;
        Ok(())
    }
}
