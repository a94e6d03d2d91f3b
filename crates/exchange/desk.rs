//! Where inline requests for an intent go: the desk that also answers `POST /v1/intents`.
//!
//! Deliberately absent: how a request is decided, kept and recorded.

use std::{error::Error, fmt};

use futures::future::BoxFuture;
use marque_intent::{
    ApprovalPlan, Delegator, Denial, DenialCode, IdempotencyKey, Intent, IntentId, IntentRequest,
    PlaybookId,
};
use marque_spiffe::SpiffeId;

use crate::{AuthenticatedClient, OAuthError, OAuthErrorCode, service::unavailable};

/// The desk of one trust domain.
pub trait IntentDesk: fmt::Debug + Send + Sync {
    /// Takes an agent's request, or records the refusal of one that could not be read. Gives the intent, approved or
    /// pending.
    fn ask<'a>(
        &'a self,
        agent: &'a AuthenticatedClient,
        request: Result<IntentRequest, Denial>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'a, Result<Intent, AskError>>;

    /// Takes back an intent that the same request has just made and that nobody will collect.
    fn withdraw<'a>(
        &'a self,
        agent: &'a AuthenticatedClient,
        intent: &'a IntentId,
    ) -> BoxFuture<'a, ()>;

    /// Whether a token may be issued for an approved intent now, with everything that is known now: policies decide at
    /// every use again (M 79). `delegator` is on whose behalf; the agent's own if none.
    fn may_use<'a>(
        &'a self,
        agent: &'a AuthenticatedClient,
        intent: &'a Intent,
        delegator: Option<&'a Delegator>,
    ) -> BoxFuture<'a, Result<(), Denial>>;

    /// Whether one agent may hand a token on to another, whatever the playbook permits.
    ///
    /// # Errors
    /// Whoever of the two takes no part in delegation.
    fn may_hand_on(&self, from: &SpiffeId, to: &SpiffeId) -> Result<(), Denial>;

    /// Who approves what a playbook grants to this agent.
    fn approval(&self, agent: &SpiffeId, playbook: &PlaybookId) -> PlaybookApproval;

    /// Whether `name` is a group or a user whose approval counts by this plan.
    fn may_approve(&self, plan: &ApprovalPlan, name: &str) -> bool;
}

/// Who approves what a playbook grants to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaybookApproval {
    /// The agent may not ask for this playbook, or there is none.
    NotForThisAgent,
    /// Nobody: it names no approver.
    ByNobody,
    /// Those of this plan.
    By(ApprovalPlan),
}

/// Why the desk made no intent.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Refused, and on record.
    #[error("the request was refused")]
    Refused(#[source] Denial),
    /// It could not be kept.
    #[error("intents cannot be kept right now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl AskError {
    /// What the client is told. What is wrong with the request itself is an invalid detail (RFC 9396 §5); everything else is
    /// somebody's or some policy's no.
    pub(crate) fn into_error(self) -> OAuthError {
        match self {
            Self::Refused(denial) => refused(denial),
            Self::Unavailable(source) => {
                unavailable(Unkept(source)).with_denial(DenialCode::AuditUnavailable)
            }
        }
    }
}

/// An intent could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the intent desk is not available")]
struct Unkept(#[source] Box<dyn Error + Send + Sync>);

fn refused(denial: Denial) -> OAuthError {
    let named = |code: &OAuthErrorCode| code.as_str() == denial.code().oauth_error();
    let code = OAuthErrorCode::ALL.into_iter().find(named).unwrap_or(OAuthErrorCode::AccessDenied);
    let description = match code {
        OAuthErrorCode::InvalidRequest => "the idempotency key came with another request before",
        OAuthErrorCode::InvalidAuthorizationDetails => {
            "the authorization detail is no request that the playbook accepts"
        }
        OAuthErrorCode::InsufficientAuthorizationDetails => {
            "the authorization detail lacks what the playbook wants"
        }
        OAuthErrorCode::TemporarilyUnavailable => "the intent cannot be decided right now",
        _ => "the intent was refused",
    };
    OAuthError::new(code, description).with_refusal(&denial).with_source(denial)
}
