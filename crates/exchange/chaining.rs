//! Authorization grants from one domain to another: identity chaining (draft-ietf-oauth-identity-chaining-17) and identity
//! assertions (ID-JAG, draft-ietf-oauth-identity-assertion-authz-grant-03).
//!
//! Which domains there are is configured, and so are their keys: nothing in a request chooses either. A grant is for one
//! authorization server and one client, ends within minutes and is redeemed once. Deliberately absent: refresh tokens, SAML,
//! and grants that come of a token instead of an approved intent.

pub(crate) mod claims;
pub(crate) mod redeem;
pub(crate) mod verify;

use std::collections::{BTreeMap, BTreeSet};

use marque_intent::Scope;
use marque_spiffe::SpiffeId;

use crate::{IssuedToken, Offers, TOKEN_TYPE_ID_JAG, TOKEN_TYPE_JWT};

/// The grant type by which a grant of another domain is redeemed (RFC 7523 §2.1).
pub const GRANT_TYPE_JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The profile of ID-JAGs in `authorization_grant_profiles_supported`.
pub const GRANT_PROFILE_ID_JAG: &str = "urn:ietf:params:oauth:grant-profile:id-jag";
/// The `typ` of a grant for identity chaining (draft-ietf-oauth-rfc7523bis).
pub const AUTHORIZATION_GRANT_TYPE: &str = "authorization-grant+jwt";
/// The `typ` of an ID-JAG.
pub const ID_JAG_TYPE: &str = "oauth-id-jag+jwt";

/// The form of an authorization grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantProfile {
    /// A JWT authorization grant of identity chaining.
    Jwt,
    /// An identity assertion authorization grant.
    IdJag,
}

/// An authorization server of another domain of the same environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationServer {
    /// What it is called here; `sub` of tokens for its grants begins with it.
    pub name: String,
    /// Its issuer identifier, compared byte by byte.
    pub issuer: String,
    /// The grants that agents get for it.
    pub to: BTreeSet<GrantProfile>,
    /// The only scopes of grants for it; `None` bounds nothing.
    pub scopes: Option<BTreeSet<Scope>>,
    /// How agents are called there; who is not listed has its SPIFFE ID.
    pub clients: BTreeMap<SpiffeId, String>,
    /// The grants of its that are redeemed here.
    pub from: BTreeSet<GrantProfile>,
}

impl GrantProfile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Jwt, Self::IdJag];

    /// Whether it is issued and redeemed where this is offered.
    pub const fn is_offered(self, offers: &Offers) -> bool {
        match self {
            Self::Jwt => offers.identity_chaining,
            Self::IdJag => offers.id_jag,
        }
    }

    /// The token type that asks for it.
    pub const fn token_type(self) -> &'static str {
        match self {
            Self::Jwt => TOKEN_TYPE_JWT,
            Self::IdJag => TOKEN_TYPE_ID_JAG,
        }
    }

    /// The `typ` of its JWT.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Jwt => AUTHORIZATION_GRANT_TYPE,
            Self::IdJag => ID_JAG_TYPE,
        }
    }

    /// What is answered with it.
    pub(crate) const fn issued(self) -> IssuedToken {
        match self {
            Self::Jwt => IssuedToken::Jwt,
            Self::IdJag => IssuedToken::IdJag,
        }
    }
}

impl AuthorizationServer {
    /// How the agent is called there.
    pub(crate) fn client_id<'a>(&'a self, agent: &'a SpiffeId) -> &'a str {
        self.clients.get(agent).map_or(agent.as_str(), String::as_str)
    }
}

#[cfg(test)]
mod tests;
