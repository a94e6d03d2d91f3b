//! What the token service says about itself: RFC 8414 metadata, the OpenID discovery document, and its keys.
//!
//! The documents name only what is there. Deliberately absent: an authorization endpoint; no browser ever comes here.

use marque_jose::Algorithm;
use serde_json::{Value, json};

use crate::{GRANT_TYPE_TOKEN_EXCHANGE, INTENT_DETAIL_TYPE, IssuerUrl, TokenService};

/// Where things are, below the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// Introspection.
    Introspection,
    /// The keys of access tokens.
    Jwks,
}

impl Endpoint {
    /// The path below the issuer.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Token => "/oauth2/token",
            Self::Introspection => "/oauth2/introspect",
            Self::Jwks => "/oauth2/jwks",
        }
    }

    /// The whole URL.
    pub fn url(self, issuer: &IssuerUrl) -> String {
        issuer.join(self.path())
    }
}

/// The name of JWT-SVID client authentication in metadata, as deployed servers spell it.
const AUTH_METHOD_JWT_SVID: &str = "spiffe_jwt";

impl TokenService {
    /// The authorization server metadata (RFC 8414 §2). `response_types_supported` is required even of a server without
    /// an authorization endpoint and may not be empty, hence `none`.
    pub fn metadata(&self) -> Value {
        let issuer = &self.config.issuer;
        let algorithms: Vec<&str> =
            Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
        json!({
            "issuer": issuer.as_str(),
            "token_endpoint": Endpoint::Token.url(issuer),
            "jwks_uri": Endpoint::Jwks.url(issuer),
            "grant_types_supported": [GRANT_TYPE_TOKEN_EXCHANGE],
            "response_types_supported": ["none"],
            "token_endpoint_auth_methods_supported": [AUTH_METHOD_JWT_SVID],
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint": Endpoint::Introspection.url(issuer),
            "introspection_endpoint_auth_methods_supported": [AUTH_METHOD_JWT_SVID],
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "authorization_details_types_supported": [INTENT_DETAIL_TYPE],
        })
    }

    /// The OpenID discovery document, in the form that cloud providers accept of workload identity providers: there is
    /// no authorization endpoint, and what is signed is what [`TokenService::jwks`] verifies.
    pub fn openid_configuration(&self) -> Value {
        let issuer = &self.config.issuer;
        json!({
            "issuer": issuer.as_str(),
            "jwks_uri": Endpoint::Jwks.url(issuer),
            "authorization_endpoint": "",
            "token_endpoint": Endpoint::Token.url(issuer),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [Algorithm::Es256.as_str()],
        })
    }

    /// The keys that access tokens verify with.
    pub fn jwks(&self) -> Value {
        self.keys.to_value()
    }
}
