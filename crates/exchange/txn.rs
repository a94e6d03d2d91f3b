//! Transaction tokens (draft-ietf-oauth-transaction-tokens-09): who does what for whom inside of the trust domain, for the
//! length of one transaction.
//!
//! A transaction token is no access token and authenticates nobody: it has a `typ` and an audience of its own. One that
//! replaces another keeps `txn`, `sub`, `aud`, `tctx` and `rctx`, and extends the call chain. Deliberately absent: subjects
//! that a workload signed itself or did not sign at all; its bare word about somebody else is not taken.

use std::{fmt, str::FromStr, time::Duration};

use marque_intent::{Envelope, RightsClaims};
use marque_jose::{
    Audiences, NumericDate,
    json::{Limits, parse_object},
    present,
};
use marque_spiffe::{Random, RandomError, SpiffeId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Act, Confirmation, MayAct, OAuthError, OAuthErrorCode, Principal, TokenId,
    authentication::Authentication,
    claims::{AccessTokenClaims, IntentClaim},
    form::Form,
};

/// The `typ` of a transaction token.
pub const TRANSACTION_TOKEN_TYPE: &str = "txntoken+jwt";
/// How long a transaction token lives at most.
pub const MAX_TRANSACTION_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The largest `request_context` and the largest `request_details`, in bytes.
pub const MAX_CONTEXT_BYTES: usize = 4 * 1024;
/// The deepest of either.
pub const MAX_CONTEXT_DEPTH: usize = 6;

const ID_PREFIX: &str = "txn_";
const ID_DIGITS: usize = 32;

/// The id of a transaction, `txn`: `txn_` and 32 hexadecimal digits of 128 random bits. It stays the same when a token is
/// replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionId(String);

/// The text is not the id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transaction id is `txn_` and 32 lowercase hexadecimal digits")]
pub struct TransactionIdError;

impl TransactionId {
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

impl FromStr for TransactionId {
    type Err = TransactionIdError;

    fn from_str(text: &str) -> Result<Self, TransactionIdError> {
        let digits = text.strip_prefix(ID_PREFIX).ok_or(TransactionIdError)?;
        let fits = digits.len() == ID_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(TransactionIdError) }
    }
}

impl TryFrom<String> for TransactionId {
    type Error = TransactionIdError;

    fn try_from(text: String) -> Result<Self, TransactionIdError> {
        text.parse()
    }
}

impl From<TransactionId> for String {
    fn from(id: TransactionId) -> Self {
        id.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client says about its transaction. Whether it is true is not known here: it is passed on as the client's word.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TransactionContext {
    /// `request_context`, which becomes `rctx`.
    pub(crate) request: Option<Map<String, Value>>,
    /// `request_details`, which become `tctx`.
    pub(crate) details: Option<Map<String, Value>>,
}

impl TransactionContext {
    /// Reads the two parameters.
    pub(crate) fn read(form: &Form<'_>) -> Result<Self, OAuthError> {
        Ok(Self {
            request: object(form, "request_context")?,
            details: object(form, "request_details")?,
        })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.request.is_none() && self.details.is_none()
    }
}

impl fmt::Debug for TransactionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Personal data may be in it.
        f.debug_struct("TransactionContext").finish_non_exhaustive()
    }
}

fn object(form: &Form<'_>, name: &'static str) -> Result<Option<Map<String, Value>>, OAuthError> {
    let limits = Limits { max_bytes: MAX_CONTEXT_BYTES, max_depth: MAX_CONTEXT_DEPTH };
    let read = |text: &str| {
        parse_object(text.as_bytes(), &limits).map_err(|source| {
            OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "request_context and request_details are small plain JSON objects",
            )
            .with_source(source)
        })
    };
    form.value(name).map(read).transpose()
}

/// The claims of a transaction token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TransactionClaims {
    pub(crate) iss: String,
    pub(crate) sub: Principal,
    pub(crate) aud: Audiences,
    pub(crate) iat: NumericDate,
    pub(crate) exp: NumericDate,
    pub(crate) jti: TokenId,
    pub(crate) txn: TransactionId,
    pub(crate) scope: String,
    /// The workload that requested it.
    pub(crate) req_wl: SpiffeId,
    /// The call chain.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) act: Option<Act>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) may_act: Option<MayAct>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) tctx: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) rctx: Option<Map<String, Value>>,
    /// There where the token that it comes of is bound.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) cnf: Option<Confirmation>,
    pub(crate) authorization_details: Vec<Value>,
    pub(crate) intent: IntentClaim,
    #[serde(default, skip_serializing_if = "RightsClaims::is_empty")]
    pub(crate) rights: RightsClaims,
    #[serde(flatten)]
    pub(crate) envelope: Envelope,
}

/// What a token that replaces another one keeps of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transaction {
    pub(crate) id: TransactionId,
    pub(crate) context: TransactionContext,
}

impl TransactionClaims {
    /// As the claims that every token of ours has when it is exchanged, and what makes it a transaction's.
    pub(crate) fn into_parts(self) -> (AccessTokenClaims, Transaction) {
        let Self {
            iss,
            sub,
            aud,
            iat,
            exp,
            jti,
            txn,
            scope,
            req_wl,
            act,
            may_act,
            tctx,
            rctx,
            cnf,
            authorization_details,
            intent,
            rights,
            envelope,
        } = self;
        let claims = AccessTokenClaims {
            iss,
            sub,
            aud,
            client_id: req_wl,
            authentication: Authentication::UNSAID,
            iat,
            exp,
            jti,
            scope,
            act,
            may_act,
            cnf,
            authorization_details,
            intent,
            rights,
            envelope,
            status: None,
            single_use: false,
            aws_tags: None,
            sub_sha256: None,
        };
        let context = TransactionContext { request: rctx, details: tctx };
        (claims, Transaction { id: txn, context })
    }
}

#[cfg(test)]
mod tests;
