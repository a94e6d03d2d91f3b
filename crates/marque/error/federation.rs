//! Why a relationship with another trust domain was not changed.

use std::error::Error;

use tonic::{Code, Status};

use super::{chain, coded};
use crate::federation::FederationError;

/// What an operator is told of it.
pub(super) fn refused(error: &FederationError) -> Status {
    let code = match error {
        FederationError::Unknown(_) => Code::NotFound,
        FederationError::Exists(_) => Code::AlreadyExists,
        FederationError::Invalid(_)
        | FederationError::Own(_)
        | FederationError::Bundle(_)
        | FederationError::EmptyBundle(_)
        | FederationError::NoSequence(_) => Code::InvalidArgument,
        FederationError::FromFolder(_)
        | FederationError::Boundary(_)
        | FederationError::Sequence(_)
        | FederationError::NoEndpoint(_)
        | FederationError::NotFetched(_) => Code::FailedPrecondition,
        FederationError::TooMany | FederationError::TooLarge(_) => Code::ResourceExhausted,
        FederationError::Changed => Code::Aborted,
        FederationError::Store(_) => {
            tracing::error!(error = error as &dyn Error, "the store is not available");
            Code::Unavailable
        }
    };
    coded(code, chain(error), error.code())
}
