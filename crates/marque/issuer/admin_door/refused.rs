//! What operators are told where a room refuses.

use marque_exchange::{TokenId, TokenStoreError};

use super::super::RegistrarError;
use crate::grpc::admin::AdminError;
use crate::ssf::SignalError;
use crate::webhooks::WebhookError;

pub(super) fn of_signal(error: SignalError, name: &str) -> AdminError {
    match error {
        SignalError::NotFound => AdminError::NotFound { what: "stream", id: name.to_owned() },
        SignalError::NotTaken(_) => AdminError::EventNotTaken(error.to_string()),
        error @ SignalError::Unavailable(_) => AdminError::Unavailable(Box::new(error)),
    }
}

pub(super) fn of_webhook(error: WebhookError, name: &str) -> AdminError {
    match error {
        WebhookError::NotFound => AdminError::NotFound { what: "webhook", id: name.to_owned() },
        WebhookError::NotTaken(_) => AdminError::NotTaken(error.to_string()),
        error @ WebhookError::Unavailable(_) => AdminError::Unavailable(Box::new(error)),
    }
}

pub(super) fn no_token(id: &TokenId) -> AdminError {
    AdminError::NotFound { what: "token", id: id.to_string() }
}

pub(super) fn unavailable(error: TokenStoreError) -> AdminError {
    AdminError::Unavailable(Box::new(error))
}

pub(super) fn of_registrar(error: RegistrarError, id: &str) -> AdminError {
    match error {
        RegistrarError::Refused(error) => AdminError::Entry(error),
        RegistrarError::NotFound => AdminError::NotFound { what: "entry", id: id.to_owned() },
        error @ (RegistrarError::Unfitting(_)
        | RegistrarError::Store(_)
        | RegistrarError::Log(_)
        | RegistrarError::Random(_)) => AdminError::Unavailable(Box::new(error)),
    }
}
