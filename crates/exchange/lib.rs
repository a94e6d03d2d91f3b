//! The token service: request, decision, token; introspection and metadata.
//!
//! A form body becomes a [`TokenRequest`]; [`TokenService::token`] authenticates the client by its JWT-SVID, decides
//! against one approved intent, has [`TokenStore::redeem`] spend a use in one transaction, signs an RFC 9068 access
//! token and answers. [`is_live`] is the only place that says whether a token is still good. Deliberately absent: HTTP,
//! storage engines, keys at rest, and how an intent came to be approved.

mod act;
mod asked;
mod authentication;
mod binding;
mod ceilings;
mod chaining;
mod ciba;
mod claims;
mod client;
mod config;
mod decision;
mod deferral;
mod desk;
mod details;
mod dpop;
mod ending;
mod error;
mod exchange;
#[cfg(test)]
mod fixture;
mod form;
mod gate;
mod introspection;
mod issuer_url;
mod issuing;
mod kill_state;
mod life;
mod live;
mod login;
mod metadata;
#[cfg(test)]
mod negative;
mod offers;
mod oidc;
mod own_token;
mod presented;
mod replay;
mod request;
mod response;
mod revocation;
mod service;
mod status;
mod store;
mod subject;
mod token;
mod txn;

pub use act::{Act, MAX_ACT_BYTES, MAX_ACT_DEPTH, MayAct, Principal};
pub use asked::{Asked, AskedRights};
pub use authentication::{MAX_AUTHENTICATION_METHODS, MAX_AUTHENTICATION_NAME_BYTES};
pub use ceilings::ClientCeiling;
pub use chaining::{
    AUTHORIZATION_GRANT_TYPE, AuthorizationServer, GRANT_PROFILE_ID_JAG, GRANT_TYPE_JWT_BEARER,
    GrantProfile, ID_JAG_TYPE,
};
pub use ciba::{BackchannelRequest, BackchannelResponse};
pub use client::{
    AuthenticatedClient, ClientAuthenticator, ClientMethod, ClientRules, EnvironmentLookup,
    MAX_JTI_BYTES, PeerCertificate, ProofError, ShownProof, UnverifiedAttestationProof,
    UnverifiedWorkloadProof,
};
pub use config::{ResourceServer, TokenServiceConfig};
pub use deferral::{
    Cancellation, DEFERRAL_CODE_LEN, DEFERRAL_RETENTION, Deferral, DeferralCode, DeferralKind,
    DeferralState, DeferralStore, GRANT_TYPE_CIBA, GRANT_TYPE_DEFERRED,
    MAX_KEPT_DEFERRALS_PER_AGENT, MAX_OPEN_DEFERRALS_PER_AGENT, OpenedDeferral, POLL_INTERVAL,
    Pace, Polled, SLOW_DOWN_STEP, TOKEN_TYPE_DEFERRAL_CODE,
};
pub use desk::{AskError, IntentDesk, PlaybookApproval};
pub use details::{INTENT_DETAIL_TYPE, MAX_DETAILS_BYTES, MAX_DETAILS_DEPTH, RIGHTS_DETAIL_TYPE};
pub use dpop::{NoncePolicy, NonceSecret};
pub use ending::{Ended, revoke, use_up};
pub use error::{Challenge, Deferred, OAuthError, OAuthErrorCode};
pub use form::{MAX_FORM_BYTES, MAX_FORM_FIELDS, MAX_FORM_NAME_BYTES, MAX_FORM_VALUE_BYTES};
pub use gate::UseGate;
pub use introspection::{
    AnswerForm, INTROSPECTION_MEDIA_TYPE, INTROSPECTION_TOKEN_TYPE, Introspection,
};
pub use issuer_url::{IssuerUrl, IssuerUrlError, MAX_ISSUER_URL_BYTES};
pub use issuing::MAX_GRANT_LIFETIME;
pub use kill_state::KILL_STATE_LIFETIME;
pub use life::{
    PRUNED_AT_ONCE, RevocationOutcome, Revoker, SuspectQuery, Suspects, TOKENS_KEPT_FOR,
    TokenLifeStore, TokenRevocation, TokenUse,
};
pub use live::{is_live, is_not_stopped};
pub use login::{LoggedIn, LoginRefusal, LoginRules, LoginVerifier};
pub use marque_jose::{Confirmation, Thumbprint, ThumbprintError};
pub use metadata::{Endpoint, INTENTS_API_PATH, METADATA_PATH, RESOURCE_METADATA_PATH};
pub use offers::Offers;
pub use oidc::{
    MAX_PERSON_BYTES, MAX_PERSON_GROUPS, NoOidcKeys, OidcIssuer, OidcKeys, StaleOidcKeys,
};
pub use presented::{OneHeader, Presented};
pub use replay::{Freshness, ProofKind, ReplayKey, ReplayStore, SingleUse};
pub use request::{
    ASSERTION_TYPE_JWT_SPIFFE, GRANT_TYPE_TOKEN_EXCHANGE, IntrospectionRequest, MAX_TARGET_BYTES,
    RevocationRequest, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_JAG, TOKEN_TYPE_ID_TOKEN,
    TOKEN_TYPE_JWT, TOKEN_TYPE_TXN_TOKEN, TokenRequest,
};
pub use response::{IssuedToken, TokenResponse};
pub use service::{TokenService, TokenServiceParts};
pub use status::{
    Listed, STATUS_LIST_LIFETIME, STATUS_LIST_PLACES, STATUS_LIST_REBUILT_EVERY, STATUS_LIST_TTL,
    SignedStatusList, StatusKey, StatusPlace,
};
pub use store::{
    Carried, Derivation, Derived, KILLS_HEARD_WITHIN, MAX_DERIVED_TOKENS, MAX_KEPT_DERIVED_TOKENS,
    RedeemError, Redeemed, Redemption, TokenStore, TokenStoreError, in_transaction,
};
pub use subject::Person;
pub use token::{ACCESS_TOKEN_TYPE, TokenId, TokenIdError, TokenKind, TokenRecord};
pub use txn::{
    MAX_CONTEXT_BYTES, MAX_CONTEXT_DEPTH, MAX_TRANSACTION_LIFETIME, TRANSACTION_TOKEN_TYPE,
    TransactionId, TransactionIdError,
};
