//! What the token endpoint answers with success (RFC 8693 §2.2.1).

use std::time::Duration;

use marque_jose::CompactToken;
use serde_json::{Value, json};

use crate::{
    Confirmation, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_JAG, TOKEN_TYPE_JWT, TOKEN_TYPE_TXN_TOKEN,
};

/// What was issued: `issued_token_type`, and with it `token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IssuedToken {
    /// An access token that whoever has it may use.
    Bearer,
    /// An access token that is bound to the key of DPoP proofs (RFC 9449 §5).
    Dpop,
    /// A transaction token.
    TransactionToken,
    /// A JWT that is an authorization grant elsewhere (identity chaining).
    Jwt,
    /// An identity assertion authorization grant.
    IdJag,
}

impl IssuedToken {
    /// An access token with this binding. One that is bound to a certificate is a bearer token to whoever does not look
    /// (RFC 8705 §3).
    pub const fn access_token(confirmation: Option<&Confirmation>) -> Self {
        match confirmation {
            Some(Confirmation::Jkt(_)) => Self::Dpop,
            Some(Confirmation::X5t(_)) | None => Self::Bearer,
        }
    }

    /// The value of `issued_token_type`.
    pub const fn issued_token_type(self) -> &'static str {
        match self {
            Self::Bearer | Self::Dpop => TOKEN_TYPE_ACCESS_TOKEN,
            Self::TransactionToken => TOKEN_TYPE_TXN_TOKEN,
            Self::Jwt => TOKEN_TYPE_JWT,
            Self::IdJag => TOKEN_TYPE_ID_JAG,
        }
    }

    /// The value of `token_type`; `N_A` for what is no access token (RFC 8693 §2.2.1).
    pub const fn token_type(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
            Self::TransactionToken | Self::Jwt | Self::IdJag => "N_A",
        }
    }
}

/// A successful answer of the token endpoint (RFC 8693 §2.2.1).
#[derive(Debug)]
pub struct TokenResponse {
    issued: IssuedToken,
    access_token: CompactToken,
    expires_in: Duration,
    scope: String,
    authorization_details: Vec<Value>,
}

impl TokenResponse {
    /// An answer; `expires_in` counts whole seconds.
    pub const fn new(
        issued: IssuedToken,
        access_token: CompactToken,
        expires_in: Duration,
        scope: String,
        authorization_details: Vec<Value>,
    ) -> Self {
        Self { issued, access_token, expires_in, scope, authorization_details }
    }

    /// The token.
    pub const fn access_token(&self) -> &CompactToken {
        &self.access_token
    }

    /// The body of the answer. It holds the token: it is for the wire and for nothing else.
    pub fn expose_json(&self) -> Value {
        json!({
            "access_token": self.access_token.expose_token(),
            "issued_token_type": self.issued.issued_token_type(),
            "token_type": self.issued.token_type(),
            "expires_in": self.expires_in.as_secs(),
            "scope": self.scope,
            "authorization_details": self.authorization_details,
        })
    }
}
