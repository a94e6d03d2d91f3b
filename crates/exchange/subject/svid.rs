//! The client's own JWT-SVID as the subject.

use marque_jose::CompactToken;

use crate::{
    AuthenticatedClient, OAuthError, OAuthErrorCode, TokenService, client::ClientCredentials,
    request::ExchangeRequest,
};

impl TokenService {
    /// The subject is the client itself: an SVID exchanging itself, in place of whose scope the grant stands.
    pub(crate) fn own_svid(
        &self,
        credentials: &ClientCredentials,
        request: &ExchangeRequest,
        client: &AuthenticatedClient,
    ) -> Result<AuthenticatedClient, OAuthError> {
        // Commonly one SVID plays both parts; it was verified a moment ago, and more strictly.
        let assertion = credentials.assertion().map(CompactToken::expose_token);
        if assertion == Some(request.subject_token.expose_token()) {
            return Ok(client.clone());
        }
        let subject = self.authenticator.verify_subject(request.subject_token.expose_token())?;
        if subject.id() != client.id() {
            return Err(OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not the client's own SVID",
            ));
        }
        Ok(subject)
    }
}
