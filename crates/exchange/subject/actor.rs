//! Who acts: an agent, by its own SVID. Without an actor token it is the client.
//!
//! Deliberately absent: actors that are persons or hold access tokens, and an actor whose SVID another client merely has: a
//! JWT-SVID shows no key, so one that is not the client's own says nothing about who is asking.

use jiff::Timestamp;
use marque_spiffe::SpiffeId;

use crate::{
    AuthenticatedClient, OAuthError, OAuthErrorCode, Thumbprint, TokenService,
    client::ClientCredentials, request::ExchangeRequest,
};

/// Who will hold the token.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) id: SpiffeId,
    /// When its SVID ends.
    pub(crate) expires_at: Timestamp,
    /// The key of its WIT-SVID, where it is another agent than the client.
    pub(crate) key: Option<Thumbprint>,
}

impl TokenService {
    /// The actor of an exchange, verified.
    pub(crate) fn actor(
        &self,
        credentials: &ClientCredentials,
        request: &ExchangeRequest,
        client: &AuthenticatedClient,
    ) -> Result<Actor, OAuthError> {
        let own = |expires_at| Actor { id: client.id().clone(), expires_at, key: None };
        let Some(token) = &request.actor_token else {
            return Ok(own(client.svid_expires_at()));
        };
        // Commonly the client's own SVID plays both parts; it was verified a moment ago, and more strictly.
        let assertion = credentials.assertion().map(marque_jose::CompactToken::expose_token);
        if assertion == Some(token.expose_token()) {
            return Ok(own(client.svid_expires_at()));
        }
        let (actor, key) = self.authenticator.verify_actor(token.expose_token())?;
        if actor.id() == client.id() {
            return Ok(own(actor.svid_expires_at()));
        }
        if key.is_none() {
            return Err(OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "another actor than the client shows a WIT-SVID, to whose key the token is bound",
            ));
        }
        Ok(Actor { id: actor.id().clone(), expires_at: actor.svid_expires_at(), key })
    }
}
