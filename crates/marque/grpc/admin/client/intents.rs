//! Intents, the words on them, and how alert deciding is.

use std::time::Duration;

use jiff::Timestamp;
use marque_intent::{Narrowing, Posture, PostureScope, PostureSignal, State};

use super::super::super::time::duration;
use super::super::messages;
use super::super::view::{ApproverRecordView, IntentView};
use super::{AdminClient, CallError, proto, timestamp};

impl AdminClient {
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
}

fn one(intent: Option<proto::Intent>) -> Result<IntentView, CallError> {
    intent.ok_or(CallError::Malformed("intent"))?.try_into()
}
