//! Issued tokens: their ids, and what is kept of them.
//!
//! Deliberately absent: the token itself, which is signed once, handed out and never stored; and whether it is still good,
//! which is [`crate::is_live`]'s to say.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use marque_intent::{IntentId, TokenFacts};
use marque_spiffe::{Random, RandomError, SpiffeId, dated_id};
use serde::{Deserialize, Serialize};

use crate::{Carried, Confirmation, Principal, StatusPlace};

/// The `typ` of an access token (RFC 9068 §2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

const ID_PREFIX: &str = "tok_";
const ID_DIGITS: usize = 32;

/// The id of an access token, its `jti`: `tok_` and 32 hexadecimal digits, 20 of them random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// The text is not the id of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token id is `tok_` and 32 lowercase hexadecimal digits")]
pub struct TokenIdError;

impl TokenId {
    /// Draws a new id; see [`dated_id`].
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(random: &dyn Random, now: Timestamp) -> Result<Self, RandomError> {
        Ok(Self(format!("{ID_PREFIX}{:032x}", dated_id(random, now)?)))
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

impl TokenKind {
    /// The name, as the record and the log have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::TransactionToken => "transaction_token",
            Self::AuthorizationGrant => "authorization_grant",
        }
    }

    /// Whether a token of this kind may derive from `parent` for these audiences: of its own kind for no others; a
    /// transaction token, whose audience is the trust domain, of an access token as well; anything else of nothing.
    pub fn may_be_for(self, audiences: &[String], parent: &TokenRecord) -> bool {
        match (self, parent.kind) {
            (Self::AccessToken, Self::AccessToken)
            | (Self::TransactionToken, Self::TransactionToken) => {
                audiences.iter().all(|one| parent.audiences.contains(one))
            }
            (Self::TransactionToken, Self::AccessToken) => true,
            (Self::AuthorizationGrant, _)
            | (_, Self::AuthorizationGrant)
            | (Self::AccessToken, Self::TransactionToken) => false,
        }
    }
}

/// The member of `cnf` that it is (RFC 9449 §6, RFC 8705 §3.1).
const fn confirmation_name(confirmation: Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Jkt(_) => "jkt",
        Confirmation::X5t(_) => "x5t#S256",
    }
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
    /// The tokens above that one, the nearest first. Records of before this was kept have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<TokenId>,
    /// The keys that those and its parent are bound to, the nearest first: whoever holds one of them brought it about.
    /// Records of before this was kept have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys_above: Vec<Confirmation>,
    /// On whose behalf it is: its claim `sub`, which never changes along a chain. Records of before this was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Principal>,
    /// The groups that the person at its root was in when the first of its chain was issued: policies decide by them again
    /// for what derives from it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub root_groups: BTreeSet<String>,
    /// The key that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// Whether it may be used only once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_use: bool,
    /// When its only use was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// Its place in the status lists, which storage gives it with its first write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_index: Option<StatusPlace>,
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

impl TokenRecord {
    /// What the log tells of it when it is issued.
    pub fn facts<'a>(&'a self, carried: &'a Carried) -> TokenFacts<'a> {
        let person = self.root.as_ref().filter(|root| matches!(root, Principal::Person(_)));
        TokenFacts {
            kind: self.kind.as_str(),
            audiences: &self.audiences,
            delegator: person.map(Principal::as_str),
            scope: &carried.scope,
            rights: carried.rights.as_ref(),
            confirmation: self.confirmation.map(confirmation_name),
            requested_by: None,
        }
    }

    /// What tokens that derive from it have above their parent.
    pub fn line(&self) -> Vec<TokenId> {
        self.parent.iter().chain(&self.ancestors).cloned().collect()
    }

    /// The key that it is bound to and those of the tokens above it, the nearest first; each once.
    pub fn keys(&self) -> Vec<Confirmation> {
        let mut keys: Vec<Confirmation> = Vec::new();
        for key in self.confirmation.iter().chain(&self.keys_above) {
            if !keys.contains(key) {
                keys.push(*key);
            }
        }
        keys
    }

    /// Its holder and those before it, the newest first.
    pub fn holders(&self) -> impl Iterator<Item = &SpiffeId> {
        std::iter::once(&self.client).chain(&self.through)
    }

    /// The agent that redeemed the use from which it comes.
    pub fn first_holder(&self) -> &SpiffeId {
        self.through.last().unwrap_or(&self.client)
    }

    /// When it ended before its time: it was revoked, or its only use was made.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.revoked_at.or(self.used_at)
    }
}

#[cfg(test)]
mod tests;
