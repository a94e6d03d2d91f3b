//! The kinds of tokens that an exchange takes and gives, by their URNs (RFC 8693 §3).

use crate::{
    Offers, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_JAG, TOKEN_TYPE_ID_TOKEN, TOKEN_TYPE_JWT,
    TOKEN_TYPE_TXN_TOKEN,
};

/// What the client says that its subject token is. What it *is* decides; where the two do not fit, it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubjectTokenType {
    /// Any JWT.
    Jwt,
    /// A token of this service.
    AccessToken,
    /// A person's ID token.
    IdToken,
    /// A transaction token.
    TransactionToken,
}

impl SubjectTokenType {
    pub(super) fn of(urn: &str) -> Option<Self> {
        match urn {
            TOKEN_TYPE_JWT => Some(Self::Jwt),
            TOKEN_TYPE_ACCESS_TOKEN => Some(Self::AccessToken),
            TOKEN_TYPE_ID_TOKEN => Some(Self::IdToken),
            TOKEN_TYPE_TXN_TOKEN => Some(Self::TransactionToken),
            _ => None,
        }
    }
}

/// What the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestedToken {
    /// An access token, which is also what is meant where nothing is said.
    AccessToken,
    /// A transaction token.
    TransactionToken,
    /// A JWT that is an authorization grant elsewhere.
    Jwt,
    /// An identity assertion authorization grant.
    IdJag,
}

impl RequestedToken {
    pub(super) fn of(urn: Option<&str>) -> Option<Self> {
        match urn {
            None | Some(TOKEN_TYPE_ACCESS_TOKEN) => Some(Self::AccessToken),
            Some(TOKEN_TYPE_TXN_TOKEN) => Some(Self::TransactionToken),
            Some(TOKEN_TYPE_JWT) => Some(Self::Jwt),
            Some(TOKEN_TYPE_ID_JAG) => Some(Self::IdJag),
            Some(_) => None,
        }
    }

    /// Whether it is given here.
    pub(crate) const fn is_offered(self, offers: &Offers) -> bool {
        match self {
            Self::AccessToken => true,
            Self::TransactionToken => offers.transaction_tokens,
            Self::Jwt => offers.identity_chaining,
            Self::IdJag => offers.id_jag,
        }
    }
}
