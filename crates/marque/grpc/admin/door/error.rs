//! Why an operator's wish is not done.

use marque_authority::{OrderRefusal, SignedAuthorityError, UpstreamError};
use marque_intent::{ChangeError, Denial, DenialCode, IntentId, IntentStoreError};
use marque_registry::RegistryError;

use crate::approvers::DecisionError;
use crate::federation::FederationError;
use crate::issuer::kill::KillError;

/// Why an operator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What was asked for.
        what: &'static str,
        /// The id that was given.
        id: String,
    },
    /// The intent's rules refuse it.
    #[error("refused")]
    Refused(#[source] Denial),
    /// The registration's rules refuse it.
    #[error("the entry is refused")]
    Entry(#[source] RegistryError),
    /// The rules of federation refuse it.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// The receiver of a stream did not take an event.
    #[error("{0}")]
    EventNotTaken(String),
    /// The kill switch's rules refuse it.
    #[error(transparent)]
    Kill(KillError),
    /// The life of the key that it is about refuses it.
    #[error(transparent)]
    Authority(OrderRefusal),
    /// A certificate that somebody else signed cannot be an authority's.
    #[error("the certificate is refused")]
    SignedAuthority(#[source] SignedAuthorityError),
    /// Whoever signs certificates signed none.
    #[error(transparent)]
    Upstream(UpstreamError),
    /// A webhook's receiver did not take a message.
    #[error("{0}")]
    NotTaken(String),
    /// Nothing was done, because it could not be recorded.
    #[error("the store is not available, nothing was done")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<KillError> for AdminError {
    fn from(error: KillError) -> Self {
        match error {
            KillError::Store(source) => Self::Unavailable(source),
            KillError::NotStanding(id) => Self::NotFound { what: "kill", id },
            error => Self::Kill(error),
        }
    }
}

impl AdminError {
    /// Why storage did not change the intent `id`.
    #[must_use]
    pub fn of_change(id: &IntentId, error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::NotFound { what: "intent", id: id.to_string() },
            ChangeError::Refused(denial) => Self::Refused(denial),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl AdminError {
    /// Why nothing was decided about the intent `id`.
    #[must_use]
    pub fn of_decision(id: &IntentId, error: DecisionError) -> Self {
        match error {
            DecisionError::NotFound => Self::NotFound { what: "intent", id: id.to_string() },
            DecisionError::Denied(denial) => Self::Refused(denial),
            DecisionError::MfaNeeded => {
                let detail = "a login with more than one factor is needed";
                Self::Refused(Denial::new(DenialCode::ApproverNotEligible, detail))
            }
            DecisionError::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<IntentStoreError> for AdminError {
    fn from(error: IntentStoreError) -> Self {
        error.into_denial().map_or_else(Self::Unavailable, Self::Refused)
    }
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        Self::Entry(error)
    }
}
