//! The token service: request, decision, token; introspection and metadata.
//!
//! A form body becomes a [`TokenRequest`]; [`TokenService::token`] authenticates the client by its JWT-SVID, decides
//! against one approved intent, has [`TokenStore::redeem`] spend a use in one transaction, signs an RFC 9068 access
//! token and answers. [`is_live`] is the only place that says whether a token is still good. Deliberately absent: HTTP,
//! storage engines, keys at rest, and how an intent came to be approved.

mod client;
mod config;
mod confirmation;
mod decision;
mod details;
mod error;
#[cfg(test)]
mod fixture;
mod form;
mod introspection;
mod issuer_url;
mod metadata;
mod offers;
mod presented;
mod request;
mod response;
mod service;
mod store;
mod token;

pub use client::{
    AuthenticatedClient, ClientAuthenticator, ClientRules, EnvironmentLookup, PeerCertificate,
};
pub use config::{ResourceServer, TokenServiceConfig};
pub use confirmation::{Confirmation, Thumbprint, ThumbprintError};
pub use details::{INTENT_DETAIL_TYPE, MAX_DETAILS_BYTES, MAX_DETAILS_DEPTH};
pub use error::{Challenge, OAuthError, OAuthErrorCode};
pub use form::{MAX_FORM_BYTES, MAX_FORM_FIELDS};
pub use issuer_url::{IssuerUrl, IssuerUrlError, MAX_ISSUER_URL_BYTES};
pub use metadata::Endpoint;
pub use offers::Offers;
pub use presented::{OneHeader, Presented};
pub use request::{
    ASSERTION_TYPE_JWT_SPIFFE, GRANT_TYPE_TOKEN_EXCHANGE, IntrospectionRequest, MAX_TARGET_BYTES,
    TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_JAG, TOKEN_TYPE_JWT, TOKEN_TYPE_TXN_TOKEN, TokenRequest,
};
pub use response::{IssuedToken, TokenResponse};
pub use service::{TokenService, TokenServiceParts};
pub use store::{RedeemError, Redeemed, Redemption, TokenStore, TokenStoreError};
pub use token::{ACCESS_TOKEN_TYPE, TokenId, TokenIdError, TokenKind, TokenRecord, is_live};
