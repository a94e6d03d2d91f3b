//! `authorization_details` of a token request (RFC 9396): which approved intent the client wants to use.
//!
//! One object of type `marque_intent` and nothing else. Deliberately absent for now: the inline form, which asks for a
//! playbook in the same breath.

use marque_intent::IntentId;
use marque_jose::json::{Limits, parse};
use serde_json::Value;

use crate::{OAuthError, OAuthErrorCode};

/// The type of the one authorization detail that a request may have.
pub const INTENT_DETAIL_TYPE: &str = "marque_intent";
/// The largest `authorization_details`, in bytes.
pub const MAX_DETAILS_BYTES: usize = 8 * 1024;
/// The deepest `authorization_details`.
pub const MAX_DETAILS_DEPTH: usize = 8;

/// Reads the parameter's text.
pub(crate) fn parse_intent_reference(text: &str) -> Result<IntentId, OAuthError> {
    let limits = Limits { max_bytes: MAX_DETAILS_BYTES, max_depth: MAX_DETAILS_DEPTH };
    let value = parse(text.as_bytes(), &limits).map_err(|source| {
        refused("authorization_details is not a plain JSON array").with_source(source)
    })?;
    let Value::Array(details) = value else {
        return Err(refused("authorization_details is not a JSON array"));
    };
    let [Value::Object(members)] = details.as_slice() else {
        return Err(refused("authorization_details holds exactly one object"));
    };
    if members.get("type").and_then(Value::as_str) != Some(INTENT_DETAIL_TYPE) {
        return Err(refused("the only known authorization detail is of type marque_intent"));
    }
    if members.contains_key("playbook") {
        return Err(refused(
            "name an approved intent by its intent_id; the inline playbook form is not accepted here",
        ));
    }
    if members.keys().any(|name| name != "type" && name != "intent_id") {
        return Err(refused("an authorization detail has an unknown member"));
    }
    let id = members
        .get("intent_id")
        .and_then(Value::as_str)
        .ok_or_else(|| refused("intent_id is missing"))?;
    id.parse().map_err(|source| refused("intent_id is not the id of an intent").with_source(source))
}

fn refused(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidAuthorizationDetails, description)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "int_00000000000000000000000000";

    #[test]
    fn the_reference_form_names_the_intent() {
        let text = format!(" [ {{\"type\":\"marque_intent\",\n\"intent_id\":\"{ID}\"}} ]");
        assert_eq!(parse_intent_reference(&text).unwrap().as_str(), ID);
    }

    #[test]
    fn every_other_shape_is_refused() {
        let deep = format!("{}{}", "[".repeat(50), "]".repeat(50));
        let long = format!(
            "[{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\"}}{}]",
            " ".repeat(MAX_DETAILS_BYTES)
        );
        let detail = format!("{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\"}}");
        for text in [
            "",
            "null",
            "{}",
            "[]",
            "[null]",
            "[[]]",
            &deep,
            &long,
            &detail,
            &format!("[{detail},{detail}]"),
            &format!("[{detail}] x"),
            &format!("[{{\"type\":\"other\",\"intent_id\":\"{ID}\"}}]"),
            &format!("[{{\"type\":[\"marque_intent\"],\"intent_id\":\"{ID}\"}}]"),
            &format!("[{{\"intent_id\":\"{ID}\"}}]"),
            "[{\"type\":\"marque_intent\"}]",
            "[{\"type\":\"marque_intent\",\"intent_id\":7}]",
            "[{\"type\":\"marque_intent\",\"intent_id\":\"int_*\"}]",
            &format!("[{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\",\"actions\":[\"*\"]}}]"),
            &format!(
                "[{{\"type\":\"marque_intent\",\"intent_id\":\"{ID}\",\"intent_id\":\"{ID}\"}}]"
            ),
            "[{\"type\":\"marque_intent\",\"playbook\":\"p\",\"parameters\":{}}]",
        ] {
            let error = parse_intent_reference(text).unwrap_err();
            assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails, "{text}");
        }
    }

    #[test]
    fn the_inline_form_is_told_what_to_do_instead() {
        let error = parse_intent_reference("[{\"type\":\"marque_intent\",\"playbook\":\"p\"}]")
            .unwrap_err();
        assert!(error.description().contains("intent_id"));
    }
}
