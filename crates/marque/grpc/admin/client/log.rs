//! The log: its leaves, what is kept beside them, and where they go.

use futures::{StreamExt, TryStreamExt};
use marque_audit::completeness::KeptToken;

use super::super::view::{IntentView, LogInfoView, kept_token};
use super::{AdminClient, CallError, LeafStream, one, proto};
use crate::issuer::folder::FolderFiles;
use crate::sinks::SinkView;
use crate::ssf::SignalView;

impl AdminClient {
    /// How the log stands.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn log_info(&mut self) -> Result<LogInfoView, CallError> {
        Ok(self.inner.get_log_info(proto::GetLogInfoRequest {}).await?.into_inner().into())
    }

    /// The log's leaves from number `from` on; with `follow`, new ones as they come.
    ///
    /// # Errors
    /// As [`Self::status`]; the stream can end with such an error too.
    pub async fn leaves(&mut self, from: u64, follow: bool) -> Result<LeafStream, CallError> {
        let request = proto::StreamLeavesRequest { from, follow };
        let stream = self.inner.stream_leaves(request).await?.into_inner();
        Ok(stream.map_ok(Into::into).map_err(Into::into).boxed())
    }

    /// The files of the folder that the daemon serves.
    ///
    /// # Errors
    /// As [`Self::status`]; and the daemon named a file that is not below a folder.
    pub async fn sources(&mut self) -> Result<FolderFiles, CallError> {
        let stream = self.inner.stream_sources(proto::StreamSourcesRequest {}).await?;
        let files: Vec<(String, Vec<u8>)> = stream
            .into_inner()
            .map_ok(|proto::StreamSourcesResponse { name, content }| (name, content))
            .try_collect()
            .await?;
        FolderFiles::of(files).ok_or(CallError::Malformed("name"))
    }

    /// What is kept of tokens, by their ids, from the one behind `after` on: one page, empty behind the last.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn tokens_after(&mut self, after: String) -> Result<Vec<KeptToken>, CallError> {
        let answer = self.inner.page_tokens(proto::PageTokensRequest { after }).await?;
        let proto::PageTokensResponse { tokens } = answer.into_inner();
        tokens.into_iter().map(kept_token).collect()
    }

    /// What an agent wrote about an intent and was sealed: names and texts.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn payloads(&mut self, id: String) -> Result<Vec<(String, String)>, CallError> {
        let request = proto::ReadPayloadsRequest { id };
        let proto::ReadPayloadsResponse { payloads } =
            self.inner.read_payloads(request).await?.into_inner();
        Ok(payloads.into_iter().map(|proto::Payload { name, text }| (name, text)).collect())
    }

    /// Takes away what an agent wrote about an intent that is over.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn erase_intent(
        &mut self,
        id: String,
        reason: String,
    ) -> Result<IntentView, CallError> {
        let request = proto::EraseIntentRequest { id, reason };
        let proto::EraseIntentResponse { intent } =
            self.inner.erase_intent(request).await?.into_inner();
        one(intent)
    }

    /// Where the log is pushed, and how far each has come.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn audit_sinks(&mut self) -> Result<Vec<SinkView>, CallError> {
        let request = proto::ListAuditSinksRequest {};
        let proto::ListAuditSinksResponse { sinks } =
            self.inner.list_audit_sinks(request).await?.into_inner();
        Ok(sinks.into_iter().map(Into::into).collect())
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
