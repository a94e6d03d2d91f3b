//! What an operator is shown of an issued token.

use jiff::Timestamp;
use marque_audit::completeness::KeptToken;
use serde::Serialize;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;

/// What is kept of a token; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// The `jti`.
    pub id: String,
    /// Its intent.
    pub intent: String,
    /// What it is.
    pub kind: String,
    /// Who holds it.
    pub holder: String,
    /// The agents that it came through, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<String>,
    /// The token that it derives from; empty if it does not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// On whose behalf it is; empty for one of before this was kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// Who it may be shown to.
    pub audiences: Vec<String>,
    /// The key that it is bound to; empty for a bearer token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bound_to: String,
    /// Whether it may be used only once.
    pub single_use: bool,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When its only use was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The number of its status list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_list: Option<u64>,
    /// Its place there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_idx: Option<u64>,
    /// Why it may not be used any more; empty while it may.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ended_code: String,
}

impl From<proto::Token> for TokenView {
    fn from(message: proto::Token) -> Self {
        let proto::Token {
            id,
            intent,
            kind,
            holder,
            through,
            parent,
            root,
            audiences,
            bound_to,
            single_use,
            issued_at,
            expires_at,
            used_at,
            revoked_at,
            status_list,
            status_idx,
            ended_code,
        } = message;
        Self {
            id,
            intent,
            kind,
            holder,
            through,
            parent,
            root,
            audiences,
            bound_to,
            single_use,
            issued_at: issued_at.and_then(from_timestamp),
            expires_at: expires_at.and_then(from_timestamp),
            used_at: used_at.and_then(from_timestamp),
            revoked_at: revoked_at.and_then(from_timestamp),
            status_list,
            status_idx,
            ended_code,
        }
    }
}

/// A token as it is held against the log.
pub(in crate::grpc::admin) fn kept_token(
    message: proto::KeptToken,
) -> Result<KeptToken, CallError> {
    let proto::KeptToken { id, intent, derived, used, revoked, expires_at } = message;
    let expires_at = expires_at.and_then(from_timestamp);
    let expires_at = expires_at.ok_or(CallError::Malformed("expires_at"))?;
    Ok(KeptToken { id, intent, derived, used, revoked, expires_at })
}
