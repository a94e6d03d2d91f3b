//! The admin API as the command line uses it.

mod authorities;
mod federation;
mod folder;
mod kill;
mod log;

use std::path::Path;
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use marque_intent::{Narrowing, Posture, PostureScope, PostureSignal, State};
use marque_registry::NewEntry;
use tonic::transport::Channel;

use super::super::client::{CallError, connect};
use super::super::proto::admin as proto;
use super::super::proto::admin::admin_client::AdminClient as Client;
use super::super::time::{duration, timestamp};
use super::messages;
use super::pace::{RefusalView, StandingView};
use crate::webhooks::WebhookView;

use super::view::{
    ApproverRecordView, EntryView, ExplanationView, IntentView, LeafView, PlaybookView,
    RefusedCallerView, ReportView, SharedIdentityView, StatusView, TokenView,
};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// A client of one admin socket.
#[derive(Debug, Clone)]
pub struct AdminClient {
    inner: Client<Channel>,
}

/// Leaves of the log, in order.
pub type LeafStream = BoxStream<'static, Result<LeafView, CallError>>;

impl AdminClient {
    /// Connects to the socket.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(socket: &Path) -> Result<Self, CallError> {
        let inner = Client::new(connect(socket).await?);
        // Lists of entries and plans are as long as the trust domain's folder is large.
        Ok(Self { inner: inner.max_decoding_message_size(MAX_ANSWER) })
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// As every call: a refusal, or an answer that does not read.
    pub async fn status(&mut self) -> Result<StatusView, CallError> {
        self.inner.get_status(proto::GetStatusRequest {}).await?.into_inner().try_into()
    }

    /// What the daemon's process counts and measures, in the Prometheus text format.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn metrics(&mut self) -> Result<String, CallError> {
        let answer = self.inner.get_metrics(proto::GetMetricsRequest {}).await?.into_inner();
        let proto::GetMetricsResponse { text } = answer;
        Ok(text)
    }

    /// The registration entries.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn entries(&mut self) -> Result<Vec<EntryView>, CallError> {
        let answer = self.inner.list_entries(proto::ListEntriesRequest {}).await?.into_inner();
        let proto::ListEntriesResponse { entries } = answer;
        entries.into_iter().map(TryInto::try_into).collect()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn create_entry(&mut self, entry: &NewEntry) -> Result<EntryView, CallError> {
        let request = proto::CreateEntryRequest { spec: Some(messages::entry_spec(entry)) };
        let proto::CreateEntryResponse { entry } =
            self.inner.create_entry(request).await?.into_inner();
        entry.ok_or(CallError::Malformed("entry"))?.try_into()
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn delete_entry(&mut self, id: String) -> Result<(), CallError> {
        let answer = self.inner.delete_entry(proto::DeleteEntryRequest { id }).await?;
        let proto::DeleteEntryResponse {} = answer.into_inner();
        Ok(())
    }

    /// The playbooks.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn playbooks(&mut self) -> Result<Vec<PlaybookView>, CallError> {
        let answer = self.inner.list_playbooks(proto::ListPlaybooksRequest {}).await?.into_inner();
        let proto::ListPlaybooksResponse { playbooks } = answer;
        playbooks.into_iter().map(TryInto::try_into).collect()
    }

    /// One playbook.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn playbook(&mut self, id: String) -> Result<PlaybookView, CallError> {
        let answer = self.inner.get_playbook(proto::GetPlaybookRequest { id }).await?.into_inner();
        let proto::GetPlaybookResponse { playbook } = answer;
        playbook.ok_or(CallError::Malformed("playbook"))?.try_into()
    }

    /// Intents, newest first.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn intents(
        &mut self,
        state: Option<State>,
        agent: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<IntentView>, CallError> {
        let request = proto::ListIntentsRequest {
            state: state.map_or(proto::IntentState::Unspecified, messages::state).into(),
            agent: agent.unwrap_or_default(),
            limit: limit.unwrap_or_default(),
        };
        let proto::ListIntentsResponse { intents } =
            self.inner.list_intents(request).await?.into_inner();
        intents.into_iter().map(TryInto::try_into).collect()
    }

    /// One intent.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn intent(&mut self, id: String) -> Result<IntentView, CallError> {
        let answer = self.inner.get_intent(proto::GetIntentRequest { id }).await?.into_inner();
        let proto::GetIntentResponse { intent } = answer;
        one(intent)
    }

    /// Approves the grant with this digest, or less than it. The same key with the same request is answered as before.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn approve(
        &mut self,
        id: String,
        grant_digest: String,
        less: Option<Narrowing>,
        key: Option<String>,
    ) -> Result<IntentView, CallError> {
        let less = less.map(|less| proto::Narrowing {
            uses: less.uses,
            max_duration: less.max_duration_s.map(|s| duration(Duration::from_secs(s))),
            start_within: less.start_within_s.map(|s| duration(Duration::from_secs(s))),
            without_scopes: less.without_scopes.iter().map(ToString::to_string).collect(),
            without_tools: less.without_tools.iter().map(ToString::to_string).collect(),
        });
        let idempotency_key = key.unwrap_or_default();
        let request = proto::ApproveIntentRequest { id, grant_digest, less, idempotency_key };
        let proto::ApproveIntentResponse { intent } =
            self.inner.approve_intent(request).await?.into_inner();
        one(intent)
    }

    /// What approvers decided in the last 30 days, and how fast.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn approvers(&mut self) -> Result<Vec<ApproverRecordView>, CallError> {
        let answer = self.inner.list_approvers(proto::ListApproversRequest {}).await?.into_inner();
        let proto::ListApproversResponse { approvers } = answer;
        Ok(approvers.into_iter().map(Into::into).collect())
    }

    /// Denies an intent for a preset reason, with a remark that may be empty. The key is as for [`Self::approve`].
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn deny(
        &mut self,
        id: String,
        reason: String,
        text: String,
        key: Option<String>,
    ) -> Result<IntentView, CallError> {
        let idempotency_key = key.unwrap_or_default();
        let request = proto::DenyIntentRequest { id, reason, text, idempotency_key };
        let proto::DenyIntentResponse { intent } =
            self.inner.deny_intent(request).await?.into_inner();
        one(intent)
    }

    /// How many grants are open by `agent`, `delegator` or `target`: names and counts, the most first.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn open_counts(&mut self, by: String) -> Result<Vec<(String, u64)>, CallError> {
        let answer = self.inner.count_open_grants(proto::CountOpenGrantsRequest { by }).await?;
        let proto::CountOpenGrantsResponse { counts } = answer.into_inner();
        Ok(counts.into_iter().map(|proto::OpenCount { name, grants }| (name, grants)).collect())
    }

    /// Ends every intent that counts against one agent, delegator or target; their ids.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn revoke_held(
        &mut self,
        by: String,
        name: String,
        reason: String,
    ) -> Result<Vec<String>, CallError> {
        let request = proto::RevokeOpenGrantsRequest { by, name, reason };
        let answer = self.inner.revoke_open_grants(request).await?;
        let proto::RevokeOpenGrantsResponse { intents } = answer.into_inner();
        Ok(intents)
    }

    /// Ends an intent and its tokens. The key is as for [`Self::approve`].
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn revoke(
        &mut self,
        id: String,
        reason: String,
        key: Option<String>,
    ) -> Result<IntentView, CallError> {
        let idempotency_key = key.unwrap_or_default();
        let request = proto::RevokeIntentRequest { id, reason, idempotency_key };
        let proto::RevokeIntentResponse { intent } =
            self.inner.revoke_intent(request).await?.into_inner();
        one(intent)
    }

    /// One refusal of a request.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn refusal(&mut self, id: String) -> Result<RefusalView, CallError> {
        let request = proto::FindRefusalsRequest { id, ..proto::FindRefusalsRequest::default() };
        let answer = self.inner.find_refusals(request).await?.into_inner();
        let proto::FindRefusalsResponse { refusals } = answer;
        Ok(refusals.into_iter().next().ok_or(CallError::Malformed("refusals"))?.into())
    }

    /// Refusals of requests, newest first.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn refusals(
        &mut self,
        agent: Option<String>,
        code: Option<String>,
        since: Option<Timestamp>,
        limit: Option<u32>,
    ) -> Result<Vec<RefusalView>, CallError> {
        let request = proto::FindRefusalsRequest {
            id: String::new(),
            agent: agent.unwrap_or_default(),
            code: code.unwrap_or_default(),
            since: since.map(timestamp),
            limit: limit.unwrap_or_default(),
        };
        let answer = self.inner.find_refusals(request).await?.into_inner();
        let proto::FindRefusalsResponse { refusals } = answer;
        Ok(refusals.into_iter().map(Into::into).collect())
    }

    /// The families of agents that had too many refusals.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn standings(&mut self) -> Result<Vec<StandingView>, CallError> {
        let answer = self.inner.list_standings(proto::ListStandingsRequest {}).await?;
        let proto::ListStandingsResponse { standings } = answer.into_inner();
        Ok(standings.into_iter().map(Into::into).collect())
    }

    /// Lets the family of an agent ask again. Gives the family, and whether it was held.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn release(
        &mut self,
        agent: String,
        reason: String,
    ) -> Result<(String, bool), CallError> {
        let request = proto::ReleaseFamilyRequest { agent, reason };
        let answer = self.inner.release_family(request).await?.into_inner();
        let proto::ReleaseFamilyResponse { family, was_held } = answer;
        Ok((family, was_held))
    }

    /// What these reports say about what was recorded since then; all of them when none is named.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn reports(
        &mut self,
        reports: Vec<String>,
        since: Option<Timestamp>,
    ) -> Result<Vec<ReportView>, CallError> {
        let request = proto::MakeReportRequest { reports, since: since.map(timestamp) };
        let answer = self.inner.make_report(request).await?.into_inner();
        let proto::MakeReportResponse { findings } = answer;
        findings.into_iter().map(TryInto::try_into).collect()
    }

    /// Says what was found about a break-glass grant that is over.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn review_break_glass(
        &mut self,
        id: String,
        finding: String,
    ) -> Result<IntentView, CallError> {
        let request = proto::ReviewBreakGlassRequest { id, finding };
        let answer = self.inner.review_break_glass(request).await?.into_inner();
        let proto::ReviewBreakGlassResponse { intent } = answer;
        one(intent)
    }

    /// What is kept of an intent's tokens, the oldest first.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn tokens(&mut self, intent: String) -> Result<Vec<TokenView>, CallError> {
        let answer = self.inner.list_tokens(proto::ListTokensRequest { intent }).await?;
        let proto::ListTokensResponse { tokens } = answer.into_inner();
        Ok(tokens.into_iter().map(Into::into).collect())
    }

    /// What is kept of one token.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn token(&mut self, id: String) -> Result<TokenView, CallError> {
        let answer = self.inner.get_token(proto::GetTokenRequest { id }).await?.into_inner();
        let proto::GetTokenResponse { token } = answer;
        Ok(token.ok_or(CallError::Malformed("token"))?.into())
    }

    /// Ends a token and all that derives from it. Gives the ids of those that this ended.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn revoke_token(
        &mut self,
        id: String,
        reason: String,
    ) -> Result<Vec<String>, CallError> {
        let request = proto::RevokeTokenRequest { id, reason };
        let proto::RevokeTokenResponse { revoked } =
            self.inner.revoke_token(request).await?.into_inner();
        Ok(revoked)
    }

    /// Sets a posture signal; gives all that are set then.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn set_posture(
        &mut self,
        scope: &PostureScope,
        posture: Posture,
        reason: String,
        expires_at: Option<Timestamp>,
    ) -> Result<Vec<PostureSignal>, CallError> {
        let request = proto::SetPostureRequest {
            scope: Some(messages::posture_scope(scope)),
            posture: posture.to_string(),
            reason,
            expires_at: expires_at.map(timestamp),
        };
        let proto::SetPostureResponse { signals_json } =
            self.inner.set_posture(request).await?.into_inner();
        serde_json::from_str(&signals_json).map_err(|_error| CallError::Malformed("signals_json"))
    }

    /// The posture signals that are set.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn postures(&mut self) -> Result<Vec<PostureSignal>, CallError> {
        let answer = self.inner.list_postures(proto::ListPosturesRequest {}).await?.into_inner();
        let proto::ListPosturesResponse { signals_json } = answer;
        serde_json::from_str(&signals_json).map_err(|_error| CallError::Malformed("signals_json"))
    }

    /// What a process attests as, and what that earns it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn explain(&mut self, pid: i32) -> Result<ExplanationView, CallError> {
        let request = proto::ExplainProcessRequest { pid };
        self.inner.explain_process(request).await?.into_inner().try_into()
    }

    /// Who was refused an identity lately, the last first.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn denials(&mut self) -> Result<Vec<RefusedCallerView>, CallError> {
        let answer = self.inner.list_denials(proto::ListDenialsRequest {}).await?.into_inner();
        let proto::ListDenialsResponse { denials } = answer;
        denials.into_iter().map(TryInto::try_into).collect()
    }

    /// The identities that were shared since then.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn shared_identities(
        &mut self,
        since: Option<Timestamp>,
    ) -> Result<Vec<SharedIdentityView>, CallError> {
        let request = proto::ListSharedIdentitiesRequest { since: since.map(timestamp) };
        let answer = self.inner.list_shared_identities(request).await?.into_inner();
        let proto::ListSharedIdentitiesResponse { identities } = answer;
        Ok(identities.into_iter().map(Into::into).collect())
    }

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
}

fn one(intent: Option<proto::Intent>) -> Result<IntentView, CallError> {
    intent.ok_or(CallError::Malformed("intent"))?.try_into()
}
