//! The decision: what of a grant one token may carry, or why none. Pure, time handed in.
//!
//! A token never carries more than request ∩ grant, and an intent that is unknown and one that is somebody else's are
//! refused alike. Deliberately absent: tokens' signatures, storage and how an intent came to be approved.

mod derivable;
mod granted;
mod room;

use jiff::Timestamp;
use marque_intent::{
    Delegator, Delegators, Delivery, Denial, DenialCode, Digest, Grant, Intent, KillState, Rights,
    StopPoint, TokenFacts, Use,
};

pub(crate) use derivable::Derivable;

use crate::{
    Asked, AskedRights, AuthenticatedClient, Carried, OAuthError, OAuthErrorCode, TokenId,
    TokenServiceConfig, ceilings::Ceilings, chaining::redeem::Within, issuing::Issuing,
    service::server_error,
};
use granted::{Asking, ordered_audiences, ordered_scope};

/// What is told about an intent that does not exist, or is another agent's: the same, so that ids cannot be probed.
pub(crate) const STRANGER: DenialCode = DenialCode::GrantNotBoundToSession;

/// Keeps the digests of rights from being taken for others.
const RIGHTS_DIGEST: &str = "marque/rights/1";

/// Everything that the decision about a use looks at.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) client: &'a AuthenticatedClient,
    /// On whose behalf; `None` where the agent acts for itself.
    pub(crate) delegator: Option<&'a Delegator>,
    /// When the subject token ends.
    pub(crate) subject_expires_at: Timestamp,
    pub(crate) intent: Option<&'a Intent>,
    pub(crate) kills: &'a KillState,
    pub(crate) config: &'a TokenServiceConfig,
    pub(crate) token_id: &'a TokenId,
    pub(crate) issuing: &'a Issuing<'a>,
    /// The grant of another domain that it comes of.
    pub(crate) within: Option<&'a Within>,
    /// Whether it may be used now by what it is bound to beside its clocks, and until when.
    pub(crate) admitted: Result<Option<Timestamp>, Denial>,
    pub(crate) now: Timestamp,
}

/// What the token will carry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) grant_digest: Digest,
    pub(crate) rights: Rights,
    /// What of them was asked for in words of our own, which the answer repeats.
    pub(crate) asked_rights: Option<AskedRights>,
    /// In the order of the grant.
    pub(crate) audiences: Vec<String>,
    /// In the order of the grant.
    pub(crate) scope: String,
    /// Whole seconds.
    pub(crate) issued_at: Timestamp,
    /// Whole seconds, after `issued_at`.
    pub(crate) expires_at: Timestamp,
    /// Whether one of the audiences takes bound tokens only.
    pub(crate) binding_required: bool,
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
        if let Some(code) = self.kills.stops_agent(self.client.id(), StopPoint::Issue) {
            return Err(Refusal::denied(Denial::new(code, "the kill switch stops the agent")));
        }
        let intent = self.own_intent()?;
        let grant = intent.grant();
        if let Some(code) = self.kills.stops_grant(grant, StopPoint::Issue) {
            return Err(Refusal::denied(Denial::new(code, "the kill switch stops the grant")));
        }
        if grant.delivery != Delivery::Token {
            let detail =
                format!("the grant is delivered as `{}`, never as a token", grant.delivery);
            return Err(Refusal::denied(Denial::new(DenialCode::ExceedsPlaybookCeiling, detail)));
        }
        Delegators::check(grant.delegators.as_ref(), self.delegator).map_err(Refusal::denied)?;
        if grant.single_use_tokens && matches!(self.issuing, Issuing::Transaction { .. }) {
            return Err(Refusal::no_transaction_of_a_single_use());
        }
        let rights = Rights::of(grant);
        let client = self.client.id();
        let ceilings = Ceilings::new(self.config, client, client, self.issuing).within(self.within);
        let exceeded = DenialCode::ExceedsPlaybookCeiling;
        // Before the state of the intent: whoever waits for an approver should not learn only then what was wrong.
        let granted =
            Asking { asked: self.asked, parent: &rights, ceilings, exceeded }.granted()?;
        let lifetime = ceilings.max_token_lifetime(&granted.audiences);
        let binding_required = ceilings.want_binding(&granted.audiences);
        let ends = [
            intent.token_deadline(self.now),
            self.client.svid_expires_at(),
            self.subject_expires_at,
            self.now.saturating_add(lifetime).unwrap_or(self.now),
            self.admitted.clone().ok().flatten().unwrap_or(Timestamp::MAX),
        ];
        let times = Times::until(ends, self.now);
        // The intent's own rules, tried here so that a refusal costs no write; storage applies them again.
        let wanted = Use {
            agent: client,
            grant_digest: grant.digest(),
            token_id: self.token_id.as_str(),
            token_expires_at: times.expires_at,
            // Nothing is written of it yet.
            facts: TokenFacts::default(),
            epoch: self.kills.epoch,
        };
        intent.redeem(&wanted, self.now).map_err(Refusal::denied)?;
        self.admitted.clone().map_err(Refusal::denied)?;
        times.some_is_left(self.now)?;
        let rights = granted.rights(times.issued_at, times.expires_at, false)?;
        if let Some(within) = self.within {
            within.covers(&rights)?;
        }
        let asked_rights = self.asked.rights.clone();
        Ok(Decision { asked_rights, ..Decision::of(grant, rights, times, binding_required) })
    }

    fn own_intent(&self) -> Result<&Intent, Refusal> {
        let Some(intent) = self.intent else {
            return Err(Refusal::denied(Denial::new(STRANGER, "there is no such intent")));
        };
        if intent.agent() != self.client.id()
            || intent.grant().trust_domain != self.config.trust_domain
        {
            let detail = format!(
                "the intent is of `{}` in `{}`",
                intent.agent(),
                intent.grant().trust_domain
            );
            return Err(Refusal::denied(Denial::new(STRANGER, detail)));
        }
        Ok(intent)
    }
}

/// When a token begins and ends.
#[derive(Debug, Clone, Copy)]
struct Times {
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Times {
    /// The minimum of all ends, cut to whole seconds: a token never outlives what it derives from.
    fn until(ends: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Self {
        let end = ends.into_iter().fold(Timestamp::MAX, Timestamp::min);
        Self { issued_at: floor(now), expires_at: floor(end) }
    }

    fn some_is_left(self, now: Timestamp) -> Result<(), Refusal> {
        if self.expires_at > now {
            return Ok(());
        }
        let detail = "no whole second is left for a token";
        Err(Refusal::denied(Denial::new(DenialCode::GrantExpired, detail)))
    }
}

impl Decision {
    /// What the log tells of the token that carries this.
    pub(crate) fn carried(&self) -> Result<Carried, OAuthError> {
        let rights = Digest::of_document(RIGHTS_DIGEST, &self.rights).map_err(server_error)?;
        Ok(Carried { scope: self.scope.clone(), rights: Some(rights) })
    }

    fn of(grant: &Grant, rights: Rights, times: Times, binding_required: bool) -> Self {
        Self {
            grant_digest: *grant.digest(),
            audiences: ordered_audiences(&rights, grant),
            scope: ordered_scope(&rights, grant),
            rights,
            asked_rights: None,
            issued_at: times.issued_at,
            expires_at: times.expires_at,
            binding_required,
        }
    }
}

impl Refusal {
    /// The intent does not permit a token.
    pub(crate) const fn denied(denial: Denial) -> Self {
        let description = "the intent does not permit a token";
        Self { code: OAuthErrorCode::AccessDenied, description, denial }
    }

    /// A refusal by another code.
    pub(crate) const fn new(
        code: OAuthErrorCode,
        description: &'static str,
        denial: Denial,
    ) -> Self {
        Self { code, description, denial }
    }

    /// The subject token cannot be exchanged, for whatever reason (RFC 8693 §2.2.2).
    pub(crate) const fn unacceptable(denial: Denial) -> Self {
        let description = "the subject token is not an acceptable token of this service";
        Self { code: OAuthErrorCode::InvalidRequest, description, denial }
    }

    /// The token would have to be bound to a key that was not proven.
    pub(crate) const fn unbound(denial: Denial) -> Self {
        let description = "the token is bound to a key, and that key was not proven";
        Self { code: OAuthErrorCode::InvalidRequest, description, denial }
    }

    /// Whether an approver's word is all that is missing.
    pub(crate) fn waits(&self) -> bool {
        self.denial.code() == DenialCode::ApprovalPending
    }

    /// What the client is told; the source is for operators.
    pub(crate) fn into_error(self) -> OAuthError {
        let Self { code, description, denial } = self;
        OAuthError::new(code, description).with_refusal(&denial).with_source(denial)
    }
}

fn floor(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

#[cfg(test)]
mod tests;
