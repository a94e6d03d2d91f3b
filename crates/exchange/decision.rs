//! The decision: what of a grant one token may carry, or why none. Pure, time handed in.
//!
//! A token never carries more than request ∩ grant, and an intent that is unknown and one that is somebody else's are
//! refused alike. Deliberately absent: tokens' signatures, storage and how an intent came to be approved.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, Digest, Grant, Intent, KillState, Scope, Use};
use marque_spiffe::TrustDomain;

use crate::{AuthenticatedClient, OAuthError, OAuthErrorCode, TokenId, request::ExchangeRequest};

/// What is told about an intent that does not exist, or is another agent's: the same, so that ids cannot be probed.
pub(crate) const STRANGER: DenialCode = DenialCode::GrantNotBoundToSession;

/// Everything that the decision looks at.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) request: &'a ExchangeRequest,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) subject: &'a AuthenticatedClient,
    pub(crate) intent: Option<&'a Intent>,
    pub(crate) kills: &'a KillState,
    pub(crate) trust_domain: &'a TrustDomain,
    pub(crate) max_lifetime: Duration,
    pub(crate) token_id: &'a TokenId,
    pub(crate) now: Timestamp,
}

/// What the token will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) grant_digest: Digest,
    pub(crate) audiences: Vec<String>,
    pub(crate) scope: String,
    /// Whole seconds.
    pub(crate) issued_at: Timestamp,
    /// Whole seconds, after `issued_at`.
    pub(crate) expires_at: Timestamp,
}

/// Why there is no token: what the client is told, and what operators and the log learn.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: OAuthErrorCode,
    description: &'static str,
    pub(crate) denial: Denial,
}

impl Question<'_> {
    /// Decides.
    pub(crate) fn decide(&self) -> Result<Decision, Refusal> {
        if let Some(code) = self.kills.stops_agent(self.client.id()) {
            return Err(Refusal::denied(Denial::new(code, "the kill switch stops the agent")));
        }
        let intent = self.own_intent()?;
        let grant = intent.grant();
        if let Some(code) = self.kills.stops_grant(grant) {
            return Err(Refusal::denied(Denial::new(code, "the kill switch stops the grant")));
        }
        let issued_at = floor(self.now);
        let expires_at = self.expires_at(intent);
        // The intent's own rules, tried here so that a refusal costs no write; storage applies them again.
        let wanted = Use {
            agent: self.client.id(),
            grant_digest: grant.digest(),
            token_id: self.token_id.as_str(),
            token_expires_at: expires_at,
            epoch: self.kills.epoch,
        };
        intent.redeem(&wanted, self.now).map_err(Refusal::denied)?;
        if expires_at <= self.now {
            return Err(Refusal::denied(Denial::new(
                DenialCode::GrantExpired,
                "no whole second is left for a token",
            )));
        }
        Ok(Decision {
            grant_digest: *grant.digest(),
            audiences: self.audiences(grant)?,
            scope: self.scope(grant)?,
            issued_at,
            expires_at,
        })
    }

    fn own_intent(&self) -> Result<&Intent, Refusal> {
        let Some(intent) = self.intent else {
            return Err(Refusal::denied(Denial::new(STRANGER, "there is no such intent")));
        };
        if intent.agent() != self.client.id() || intent.grant().trust_domain != *self.trust_domain {
            let detail = format!(
                "the intent is of `{}` in `{}`",
                intent.agent(),
                intent.grant().trust_domain
            );
            return Err(Refusal::denied(Denial::new(STRANGER, detail)));
        }
        Ok(intent)
    }

    /// The minimum of what the grant, the service and both SVIDs allow, cut to whole seconds: a token never outlives
    /// what it derives from.
    fn expires_at(&self, intent: &Intent) -> Timestamp {
        let capped = self.now.saturating_add(self.max_lifetime).unwrap_or(self.now);
        let end = intent
            .token_deadline(self.now)
            .min(capped)
            .min(self.client.svid_expires_at())
            .min(self.subject.svid_expires_at());
        floor(end)
    }

    /// The audiences that were asked for, else all of the grant. A resource of the grant that is no audience cannot
    /// narrow a token, so it is accepted only where nothing is left out.
    fn audiences(&self, grant: &Grant) -> Result<Vec<String>, Refusal> {
        let granted: BTreeSet<&String> = grant.audiences.iter().collect();
        let (targets, others): (Vec<&String>, Vec<&String>) =
            self.request.resources.iter().partition(|resource| granted.contains(resource));
        let asked: BTreeSet<&String> = self.request.audiences.iter().chain(targets).collect();
        let resources: BTreeSet<&String> = grant.resources.iter().collect();
        let others: BTreeSet<&String> = others.into_iter().collect();
        if !asked.is_subset(&granted) || !(others.is_empty() || others == resources) {
            return Err(Refusal {
                code: OAuthErrorCode::InvalidTarget,
                description: "the target is not what the grant is for",
                denial: Denial::new(
                    DenialCode::AudienceNotAllowed,
                    "a target is outside of the grant",
                ),
            });
        }
        Ok(grant
            .audiences
            .iter()
            .filter(|audience| asked.is_empty() || asked.contains(audience))
            .cloned()
            .collect())
    }

    fn scope(&self, grant: &Grant) -> Result<String, Refusal> {
        let Some(asked) = &self.request.scopes else { return Ok(grant.scope()) };
        let granted: BTreeSet<&Scope> = grant.scopes.iter().collect();
        if asked.iter().any(|scope| !granted.contains(scope)) {
            return Err(Refusal {
                code: OAuthErrorCode::InvalidScope,
                description: "the scope is wider than the grant",
                denial: Denial::new(
                    DenialCode::ExceedsPlaybookCeiling,
                    "a scope is outside of the grant",
                ),
            });
        }
        Ok(asked.iter().map(Scope::as_str).collect::<Vec<_>>().join(" "))
    }
}

impl Refusal {
    /// The intent does not permit a token.
    pub(crate) const fn denied(denial: Denial) -> Self {
        let description = "the intent does not permit a token";
        Self { code: OAuthErrorCode::AccessDenied, description, denial }
    }

    /// What the client is told; the source is for operators.
    pub(crate) fn into_error(self) -> OAuthError {
        let Self { code, description, denial } = self;
        OAuthError::new(code, description).with_denial(denial.code()).with_source(denial)
    }
}

fn floor(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

#[cfg(test)]
mod tests;
