//! `authorization_details` of a request (RFC 9396): which intent the client wants to use, or which playbook it asks for in
//! the same breath; and beside it details that ask for less than was granted.
//!
//! At most one object of type `marque_intent`, at most one of type `marque_rights`, and any of the types that were granted.
//! What an inline request may say is the intent's own matter: its members go to the same reader as the body of
//! `POST /v1/intents`. Deliberately absent: deciding about any of them, and types that are known by name alone.

use marque_intent::{
    AuthorizationDetail, Denial, IntentId, IntentRequest, MAX_DETAILS, MAX_REQUEST_BYTES,
    MAX_REQUEST_DEPTH, looks_like_secret,
};
use marque_jose::json::{Limits, parse};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{AskedRights, OAuthError, OAuthErrorCode};

/// The type of the authorization detail that names an intent, or asks for a playbook.
pub const INTENT_DETAIL_TYPE: &str = "marque_intent";
/// The type of the authorization detail that asks for less of what no other parameter speaks of: tools, classes of data,
/// constraints, limits, purpose and depth.
pub const RIGHTS_DETAIL_TYPE: &str = "marque_rights";
/// Types that begin so are never a playbook's.
const OUR_TYPES: &str = "marque_";
/// The largest `authorization_details`, in bytes.
pub const MAX_DETAILS_BYTES: usize = MAX_REQUEST_BYTES;
/// The deepest `authorization_details`: an array of what `POST /v1/intents` takes.
pub const MAX_DETAILS_DEPTH: usize = MAX_REQUEST_DEPTH + 1;
/// The largest detail of type `marque_rights`, in bytes of JSON: the token carries what it says.
pub(crate) const MAX_RIGHTS_DETAIL_BYTES: usize = 4 * 1024;
/// The most patterns in one: each is compiled, whoever sent it.
pub(crate) const MAX_RIGHTS_PATTERNS: usize = 8;

/// What the details of a request say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RequestDetails {
    pub(crate) intent: IntentReference,
    /// Those of granted types; `None` where there is none.
    pub(crate) narrower: Option<Vec<AuthorizationDetail>>,
    pub(crate) rights: Option<AskedRights>,
}

/// Which intent a request is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum IntentReference {
    /// One that exists.
    Approved(IntentId),
    /// One that is asked for now.
    Inline(InlineRequest),
    /// The one of the subject token.
    #[default]
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

impl RequestDetails {
    /// Reads the parameter's text.
    pub(crate) fn parse(text: &str) -> Result<Self, OAuthError> {
        let limits = Limits { max_bytes: MAX_DETAILS_BYTES, max_depth: MAX_DETAILS_DEPTH };
        let value = parse(text.as_bytes(), &limits).map_err(|source| {
            refused("authorization_details is not a plain JSON array").with_source(source)
        })?;
        let Value::Array(details) = value else {
            return Err(refused("authorization_details is not a JSON array"));
        };
        if details.is_empty() {
            return Err(refused("authorization_details is empty"));
        }
        let mut read = Self::default();
        for detail in details {
            let Value::Object(members) = detail else {
                return Err(refused("an authorization detail is not a JSON object"));
            };
            read.take(members)?;
        }
        Ok(read)
    }

    fn take(&mut self, mut members: Map<String, Value>) -> Result<(), OAuthError> {
        match members.get("type").and_then(Value::as_str) {
            Some(INTENT_DETAIL_TYPE) if self.intent == IntentReference::Absent => {
                members.remove("type");
                self.intent = IntentReference::read(members)?;
            }
            Some(RIGHTS_DETAIL_TYPE) if self.rights.is_none() => {
                members.remove("type");
                self.rights = Some(rights(members)?);
            }
            Some(INTENT_DETAIL_TYPE | RIGHTS_DETAIL_TYPE) => {
                return Err(refused("there is at most one detail of each of our types"));
            }
            Some(kind) if kind.starts_with(OUR_TYPES) => {
                return Err(refused("there is no detail of this type"));
            }
            Some(_) => {
                let narrower = self.narrower.get_or_insert_default();
                if narrower.len() >= MAX_DETAILS {
                    return Err(refused("there are too many authorization details"));
                }
                narrower.push(typed(members)?);
            }
            None => return Err(refused("an authorization detail has no type")),
        }
        Ok(())
    }
}

impl IntentReference {
    fn read(members: Map<String, Value>) -> Result<Self, OAuthError> {
        match members.get("intent_id") {
            // Not both: what an existing intent permits was decided, and nothing beside its id says more about it.
            Some(id) if members.len() == 1 => {
                let id = id.as_str().ok_or_else(|| refused("intent_id is not a text"))?;
                id.parse().map(Self::Approved).map_err(|source| {
                    refused("intent_id is not the id of an intent").with_source(source)
                })
            }
            Some(_) => Err(refused("an intent_id stands alone beside the type")),
            None if members.is_empty() => {
                Err(refused("there is neither an intent_id nor a playbook"))
            }
            None => Ok(Self::Inline(InlineRequest(members))),
        }
    }
}

/// Whatever is new in it goes into a token: nothing that looks like a secret does.
fn rights(members: Map<String, Value>) -> Result<AskedRights, OAuthError> {
    if members.values().any(holds_secret) {
        return Err(refused("a detail holds what looks like a secret"));
    }
    let length = serde_json::to_vec(&members).map_or(usize::MAX, |json| json.len());
    if length > MAX_RIGHTS_DETAIL_BYTES {
        return Err(refused("a detail of type marque_rights is too long"));
    }
    if members.values().map(patterns).sum::<usize>() > MAX_RIGHTS_PATTERNS {
        return Err(refused("a detail of type marque_rights has too many patterns"));
    }
    let rights: AskedRights = typed(members)?;
    if rights.is_empty() {
        return Err(refused("a detail of type marque_rights says what is wanted less of"));
    }
    Ok(rights)
}

/// A detail with the members of its type and no others. A `null` says nothing that could be held against a parent.
fn typed<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, OAuthError> {
    if members.values().any(holds_null) {
        return Err(refused("a member of an authorization detail is null"));
    }
    serde_json::from_value(Value::Object(members)).map_err(|source| {
        refused("an authorization detail has members that its type has not").with_source(source)
    })
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(holds_null),
        Value::Object(members) => members.values().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn holds_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => looks_like_secret(text),
        Value::Array(values) => values.iter().any(holds_secret),
        Value::Object(members) => {
            members.iter().any(|(name, value)| looks_like_secret(name) || holds_secret(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// How many members are called `pattern`, at any depth.
fn patterns(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(patterns).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| usize::from(name == "pattern") + patterns(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn refused(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidAuthorizationDetails, description)
}

#[cfg(test)]
mod tests;
