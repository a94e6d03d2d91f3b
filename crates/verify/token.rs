//! A token that was verified, and what it permits.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use marque_jose::{CompactToken, Confirmation};
use serde_json::{Map, Value};

use crate::challenge::{Challenger, Refused};
use crate::claims::{Actor, Claims, Envelope, Intent};
use crate::details::{Detail, Need};
use crate::refusal::{Lack, Refusal};

/// A token of the configured issuer for this server, in the hands of whoever may hold it. Only a
/// [`Verifier`](crate::Verifier) makes one.
#[derive(Clone)]
pub struct VerifiedToken(Arc<Inner>);

struct Inner {
    token: CompactToken,
    claims: Claims,
    all: Map<String, Value>,
    challenger: Arc<Challenger>,
}

impl VerifiedToken {
    pub(crate) fn new(
        token: CompactToken,
        claims: Claims,
        all: Map<String, Value>,
        challenger: Arc<Challenger>,
    ) -> Self {
        Self(Arc::new(Inner { token, claims, all, challenger }))
    }

    /// `sub`: on whose authority everything happens, unchanged through every delegation. It need not be who is calling;
    /// see [`VerifiedToken::client_id`].
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.claims.sub.0
    }

    /// `client_id`: the agent that holds the token, by its SPIFFE ID.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.0.claims.client_id.0
    }

    /// `jti`: the token's id, good for logs.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.claims.jti.0
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.claims.iss.0
    }

    /// `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.0.claims.iat.timestamp()
    }

    /// `exp`: work that the token permits ends before this.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.claims.exp.timestamp()
    }

    /// The key that the token is bound to; its holder has proven that key with this request.
    #[must_use]
    pub fn confirmation(&self) -> Option<Confirmation> {
        self.0.claims.cnf
    }

    /// `act`: the current actor, where there is another one than the subject.
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.0.claims.act.as_ref()
    }

    /// `intent`: the approved intent that it stands on.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        self.0.claims.intent.as_ref()
    }

    /// The identity envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.0.claims.envelope
    }

    /// The scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scope = self.0.claims.scope.as_deref().unwrap_or_default();
        scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// `authorization_details`.
    #[must_use]
    pub fn details(&self) -> &[Detail] {
        self.0.claims.authorization_details.as_deref().unwrap_or_default()
    }

    /// Any claim by its name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.all.get(name)
    }

    /// The token itself: to be exchanged for another one at its issuer, and never to be passed on.
    #[must_use]
    pub fn token(&self) -> &CompactToken {
        &self.0.token
    }

    /// Demands a scope.
    ///
    /// # Errors
    /// 403 `insufficient_scope`, with the scope in the challenge.
    pub fn require_scope(&self, scope: &str) -> Result<(), Refused> {
        if self.scopes().any(|own| own == scope) {
            return Ok(());
        }
        Err(self.refused(Lack::Scope, &[scope]))
    }

    /// Demands that one entry of `authorization_details` covers what the request does.
    ///
    /// # Errors
    /// 403 `insufficient_authorization_details`.
    pub fn require(&self, need: &Need<'_>) -> Result<(), Refused> {
        if self.details().iter().any(|detail| detail.covers(need)) {
            return Ok(());
        }
        Err(self.refused(Lack::Details, &[]))
    }

    /// Demands that the tool is among `allowed_tools`.
    ///
    /// # Errors
    /// 403 `insufficient_authorization_details`, also where the token names no tools at all.
    pub fn require_tool(&self, tool: &str) -> Result<(), Refused> {
        let allowed = self.envelope().allowed_tools.as_deref().unwrap_or_default();
        if allowed.iter().any(|own| own == tool) {
            return Ok(());
        }
        Err(self.refused(Lack::Tool, &[]))
    }

    fn refused(&self, lack: Lack, scopes: &[&str]) -> Refused {
        self.0.challenger.refused(Refusal::Rights(lack), None, scopes)
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("id", &self.id())
            .field("client_id", &self.client_id())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}
