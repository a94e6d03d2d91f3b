//! Access tokens: their ids, what is kept of them, their claims, and the one answer to "is it still good?".
//!
//! Deliberately absent: the token itself. It is signed once, handed out and never stored.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use marque_intent::{
    AuthorizationDetail, Denial, DenialCode, Digest, Intent, IntentId, KillState,
    MAX_CLOCK_STEP_BACK, PlaybookId, State,
};
use marque_jose::{Audiences, NumericDate};
use marque_spiffe::{Random, RandomError, SpiffeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Confirmation, details::INTENT_DETAIL_TYPE};

/// The `typ` of an access token (RFC 9068 §2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

const ID_PREFIX: &str = "tok_";
const ID_DIGITS: usize = 32;

/// The id of an access token, its `jti`: `tok_` and 32 hexadecimal digits of 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// The text is not the id of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token id is `tok_` and 32 lowercase hexadecimal digits")]
pub struct TokenIdError;

impl TokenId {
    /// Draws a new id.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = [0; ID_DIGITS / 2];
        random.fill(&mut bytes)?;
        Ok(Self(format!("{ID_PREFIX}{:032x}", u128::from_be_bytes(bytes))))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let digits = text.strip_prefix(ID_PREFIX).ok_or(TokenIdError)?;
        let fits = digits.len() == ID_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(TokenIdError) }
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<Self, TokenIdError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// An access token (RFC 9068).
    #[default]
    AccessToken,
    /// A transaction token.
    TransactionToken,
    /// An authorization grant for the authorization server of another domain.
    AuthorizationGrant,
}

/// What is kept of an issued token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// The `jti`.
    pub id: TokenId,
    /// The intent of which a use was redeemed for it.
    pub intent: IntentId,
    /// What it is.
    #[serde(default)]
    pub kind: TokenKind,
    /// The client that it was issued to.
    pub client: SpiffeId,
    /// The agents that it came through, the newest first: of the token that it derives from the client, and so on. Empty
    /// for a token that an agent got for its own SVID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<SpiffeId>,
    /// The token that it derives from. With its parent's end it ends, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TokenId>,
    /// The key that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// Whether it may be used only once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_use: bool,
    /// When its only use was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// Who it may be shown to.
    pub audiences: Vec<String>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
    /// The kill switch's epoch that the token service saw when it decided.
    pub epoch: u64,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// Whether a token may still be used. This is the only place that answers it: the exchange, introspection and whatever
/// else asks must agree (CVE-2026-8922).
///
/// A token ends with its own time, with its revocation, with every end of its intent but the last use, and at once with
/// a kill that stops its grant. On a clock that stepped back behind its issue it is not live either.
///
/// # Errors
/// Why it may not; where its intent has ended, by [`Intent::ended_code`].
pub fn is_live(
    token: &TokenRecord,
    intent: &Intent,
    kills: &KillState,
    now: Timestamp,
) -> Result<(), Denial> {
    if token.intent != *intent.id() || token.client != intent.grant().agent {
        return Err(Denial::new(
            DenialCode::GrantNotBoundToSession,
            "the token is not of this intent and agent",
        ));
    }
    if let Some(code) = kills.stops_grant(intent.grant()) {
        return Err(Denial::new(code, "the kill switch stops the grant"));
    }
    if token.revoked_at.is_some() {
        return Err(Denial::new(DenialCode::GrantRevoked, "the token was revoked"));
    }
    if token.issued_at.checked_sub(MAX_CLOCK_STEP_BACK).is_ok_and(|earliest| now < earliest) {
        return Err(Denial::new(DenialCode::ClockUnsafe, "the clock is behind the token's issue"));
    }
    if now >= token.expires_at || now >= intent.grant().not_after {
        return Err(Denial::new(DenialCode::GrantExpired, "the token or its grant has expired"));
    }
    let ended = match (intent.state(), intent.ended_code(now)) {
        // A consumed intent gives no further token; the last one that it gave is good until it ends.
        (State::Approved, None) | (State::Consumed, _) => return Ok(()),
        (_, Some(code)) => code,
        (_, None) => DenialCode::ApprovalPending,
    };
    Err(Denial::new(ended, "the intent has ended or was never approved"))
}

/// The claims of an access token (RFC 9068 §2.2, RFC 9396 §9.1, and ours).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccessTokenClaims {
    pub(crate) iss: String,
    pub(crate) sub: SpiffeId,
    pub(crate) aud: Audiences,
    pub(crate) client_id: SpiffeId,
    pub(crate) iat: NumericDate,
    pub(crate) exp: NumericDate,
    pub(crate) jti: TokenId,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
    pub(crate) authorization_details: Vec<Value>,
    pub(crate) intent: IntentClaim,
}

/// The claim `intent`: which grant, by digest, and under which playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntentClaim {
    pub(crate) id: IntentId,
    pub(crate) digest: Digest,
    pub(crate) playbook: PlaybookId,
    pub(crate) version: u64,
}

/// The details that a token carries: the intent first, then the playbook's own with every value filled in.
pub(crate) fn granted_details(
    intent: &IntentId,
    details: &[AuthorizationDetail],
) -> Result<Vec<Value>, serde_json::Error> {
    let reference = serde_json::json!({"type": INTENT_DETAIL_TYPE, "intent_id": intent.as_str()});
    std::iter::once(Ok(reference)).chain(details.iter().map(serde_json::to_value)).collect()
}

#[cfg(test)]
mod tests;
