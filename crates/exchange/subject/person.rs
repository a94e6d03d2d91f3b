//! A person as the subject: an ID token of a configured issuer.
//!
//! A person's token alone never suffices: the client, which its own SVID authenticates, is always the actor.

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::Delegator;
use marque_jose::CompactToken;
use serde_json::{Map, Value};

use crate::{
    MayAct, OAuthError, OAuthErrorCode, TokenService, authentication::Authentication,
    oidc::IdTokenError, service::unavailable,
};

/// A person whose ID token was verified.
#[derive(Clone, PartialEq)]
pub struct Person {
    /// The name that the issuer has here.
    pub issuer: String,
    /// Who it is, in the issuer's words.
    pub sub: String,
    /// In which groups the issuer says that they are.
    pub groups: BTreeSet<String>,
    /// Everything that the ID token says.
    pub claims: Map<String, Value>,
    /// How they logged in.
    pub(crate) authentication: Authentication,
    /// When the ID token ends.
    pub expires_at: Timestamp,
    /// Whom the person lets act for them; `None` where the ID token says nothing of it.
    pub may_act: Option<MayAct>,
}

impl Person {
    /// The value of `sub` in our tokens.
    pub fn principal(&self) -> String {
        format!("{}:{}", self.issuer, self.sub)
    }

    /// Whom a playbook's rule about delegators is asked about.
    pub(crate) fn delegator(&self) -> Delegator {
        Delegator { principal: self.principal(), groups: self.groups.clone() }
    }
}

impl TokenService {
    /// The person whom an ID token is about.
    ///
    /// # Errors
    /// `temporarily_unavailable` where the issuer's keys are too old to believe; `invalid_request` for everything else
    /// (RFC 8693 §2.2.2).
    pub(super) fn person(&self, token: &CompactToken) -> Result<Person, OAuthError> {
        self.persons.verify(token.expose_token(), self.clock.now()).map_err(|error| match error {
            IdTokenError::StaleKeys(stale) => unavailable(stale),
            other => OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not an acceptable ID token",
            )
            .with_source(other),
        })
    }
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What an ID token says of a person is nobody else's.
        f.debug_struct("Person").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
