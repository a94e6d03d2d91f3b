//! Refusals and the standings that come of them.

use jiff::Timestamp;

use super::super::pace::{RefusalView, StandingView};
use super::{AdminClient, CallError, proto, timestamp};

impl AdminClient {
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
}
