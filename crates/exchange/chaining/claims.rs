//! The claims of an authorization grant that is issued here.

use marque_jose::NumericDate;
use marque_spiffe::Environment;
use serde::Serialize;
use serde_json::Value;

use crate::{Act, Principal, TokenId, authentication::Authentication};

/// The claims (RFC 7523 §3, draft-ietf-oauth-identity-assertion-authz-grant-03).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GrantClaims {
    pub(crate) iss: String,
    pub(crate) sub: Principal,
    /// One, always.
    pub(crate) aud: String,
    /// How the client is called there.
    pub(crate) client_id: String,
    pub(crate) jti: TokenId,
    pub(crate) iat: NumericDate,
    pub(crate) exp: NumericDate,
    pub(crate) scope: String,
    #[serde(skip_serializing_if = "Resources::is_none")]
    pub(crate) resource: Resources,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<Act>,
    /// How the person logged in for whom it is.
    #[serde(flatten)]
    pub(crate) authentication: Authentication,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) authorization_details: Vec<Value>,
    /// Of which environment the grant is: ours, and read by others of us.
    pub(crate) environment: Environment,
}

/// `resource`: a string where it is one, an array where there are several (RFC 8707 §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Resources {
    None,
    One(String),
    Several(Vec<String>),
}

impl Resources {
    pub(crate) fn of(resources: &[String]) -> Self {
        match resources {
            [] => Self::None,
            [one] => Self::One(one.clone()),
            several => Self::Several(several.to_vec()),
        }
    }

    const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}
