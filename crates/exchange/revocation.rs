//! Revocation (RFC 7009): a token's holder, or whoever held what it derives from, ends it and all that derives from it. An
//! agent that stops waiting ends its deferral the same way.
//!
//! Unknown and ended tokens are answered like those that were revoked just now. Deliberately absent: resource servers, which
//! may not revoke, and operators, who come through another door.

use crate::{
    AuthenticatedClient, DeferralCode, Endpoint, OAuthError, OAuthErrorCode, Presented,
    RevocationOutcome, RevocationRequest, Revoker, TokenRevocation, TokenService,
    own_token::Recognised, service::unavailable,
};

impl TokenService {
    /// Revokes one token, or withdraws what waits under one deferral code or `auth_req_id`. When it returns, that is
    /// durable.
    ///
    /// # Errors
    /// `invalid_client`; `unauthorized_client` where the token is another client's; `unsupported_token_type` for an SVID and
    /// for everything that we sign beside access tokens; `temporarily_unavailable` when nothing could be written.
    pub async fn revoke(
        &self,
        request: RevocationRequest,
        _presented: Presented,
    ) -> Result<(), OAuthError> {
        let client = self.authenticate(&request.client, Endpoint::Revocation).await?;
        let token = match self.recognise(request.token.expose_token()) {
            Recognised::AccessToken(token) => token,
            Recognised::OtherOfOurs => return Err(unsupported()),
            Recognised::Foreign => {
                return self.revoke_foreign(&client, request.token.expose_token()).await;
            }
        };
        let order = TokenRevocation {
            token: token.claims.jti,
            intent: token.claims.intent.id,
            by: Revoker::Client(client.id().clone()),
            now: self.clock.now(),
        };
        match self.life.revoke_token(order).await.map_err(unavailable)? {
            RevocationOutcome::Revoked(_) | RevocationOutcome::Unknown => Ok(()),
            RevocationOutcome::NotOwner => Err(OAuthError::new(
                OAuthErrorCode::UnauthorizedClient,
                "the token is not the client's to revoke",
            )),
        }
    }

    /// A code is told from a token by its form, whatever the hint says; one that is another client's is answered like one
    /// that never was. An SVID ends with its own time, or with its authority; saying that it was revoked would be untrue.
    /// Everything else is unknown here, and as good as revoked (§2.2).
    async fn revoke_foreign(
        &self,
        client: &AuthenticatedClient,
        token: &str,
    ) -> Result<(), OAuthError> {
        if let Some(code) = DeferralCode::shown(token) {
            // Nothing to cancel is as good as cancelled.
            return self.cancel_deferral(client, &code).await.map(|_| ());
        }
        match self.authenticator.verify_subject(token) {
            Ok(_) => Err(unsupported()),
            Err(_) => Ok(()),
        }
    }
}

const fn unsupported() -> OAuthError {
    OAuthError::new(
        OAuthErrorCode::UnsupportedTokenType,
        "only access tokens of this service can be revoked here",
    )
}

#[cfg(test)]
mod tests;
