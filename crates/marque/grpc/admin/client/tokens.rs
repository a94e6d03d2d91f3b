//! Issued tokens.

use marque_audit::completeness::KeptToken;

use super::super::view::{TokenView, kept_token};
use super::{AdminClient, CallError, proto};

impl AdminClient {
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

    /// What is kept of tokens, by their ids, from the one behind `after` on: one page, empty behind the last.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn tokens_after(&mut self, after: String) -> Result<Vec<KeptToken>, CallError> {
        let answer = self.inner.page_tokens(proto::PageTokensRequest { after }).await?;
        let proto::PageTokensResponse { tokens } = answer.into_inner();
        tokens.into_iter().map(kept_token).collect()
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
}
