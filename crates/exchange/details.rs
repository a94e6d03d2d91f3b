//! `authorization_details` of a request (RFC 9396): which intent the client wants to use, or which playbook it asks for in
//! the same breath.
//!
//! One object of type `marque_intent` and nothing else. What an inline request may say is the intent's own matter: its
//! members go to the same reader as the body of `POST /v1/intents`. Deliberately absent: deciding about either.

use marque_intent::{Denial, IntentId, IntentRequest, MAX_REQUEST_BYTES, MAX_REQUEST_DEPTH};
use marque_jose::json::{Limits, parse};
use serde_json::{Map, Value};

use crate::{OAuthError, OAuthErrorCode};

/// The type of the one authorization detail that a request may have.
pub const INTENT_DETAIL_TYPE: &str = "marque_intent";
/// The largest `authorization_details`, in bytes.
pub const MAX_DETAILS_BYTES: usize = MAX_REQUEST_BYTES;
/// The deepest `authorization_details`: an array of what `POST /v1/intents` takes.
pub const MAX_DETAILS_DEPTH: usize = MAX_REQUEST_DEPTH + 1;

/// Which intent a request is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum IntentReference {
    /// One that exists.
    Approved(IntentId),
    /// One that is asked for now.
    Inline(InlineRequest),
    /// The one of the subject token.
    Absent,
}

/// A request for a playbook inside of a request for a token. Nothing of it was judged yet: a refusal goes on record, and
/// for that the client must be known first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InlineRequest(Map<String, Value>);

impl InlineRequest {
    /// Reads it as `POST /v1/intents` reads its body.
    pub(crate) fn read(&self) -> Result<IntentRequest, Denial> {
        IntentRequest::from_object(self.0.clone())
    }

    /// The members as they came, without the type.
    pub(crate) const fn members(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// Reads the parameter's text.
pub(crate) fn parse_intent_reference(text: &str) -> Result<IntentReference, OAuthError> {
    let limits = Limits { max_bytes: MAX_DETAILS_BYTES, max_depth: MAX_DETAILS_DEPTH };
    let value = parse(text.as_bytes(), &limits).map_err(|source| {
        refused("authorization_details is not a plain JSON array").with_source(source)
    })?;
    let Value::Array(details) = value else {
        return Err(refused("authorization_details is not a JSON array"));
    };
    let Ok([Value::Object(mut members)]) = <[Value; 1]>::try_from(details) else {
        return Err(refused("authorization_details holds exactly one object"));
    };
    if members.remove("type") != Some(Value::from(INTENT_DETAIL_TYPE)) {
        return Err(refused("the only known authorization detail is of type marque_intent"));
    }
    match members.get("intent_id") {
        // Not both: what an existing intent permits was decided, and nothing beside its id says more about it.
        Some(id) if members.len() == 1 => {
            let id = id.as_str().ok_or_else(|| refused("intent_id is not a text"))?;
            id.parse().map(IntentReference::Approved).map_err(|source| {
                refused("intent_id is not the id of an intent").with_source(source)
            })
        }
        Some(_) => Err(refused("an intent_id stands alone beside the type")),
        None if members.is_empty() => Err(refused("there is neither an intent_id nor a playbook")),
        None => Ok(IntentReference::Inline(InlineRequest(members))),
    }
}

fn refused(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidAuthorizationDetails, description)
}

#[cfg(test)]
mod tests;
