//! Where the endpoints of the token service are, and what the metadata calls them.
//!
//! Routes and documents take both from here, so that neither can name what the other does not have. Deliberately absent:
//! routes.

use marque_status_list::KILL_STATE_PATH;

use crate::{IssuerUrl, Offers};

/// An endpoint of the token service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// Introspection.
    Introspection,
    /// Backchannel authentication (CIBA).
    BackchannelAuthentication,
    /// Revocation.
    Revocation,
    /// Challenges for the proofs beside client attestations (draft-ietf-oauth-attestation-based-client-auth-10).
    AttestationChallenge,
    /// Where the token status lists are.
    StatusLists,
    /// The epoch of the kill switch, signed.
    KillState,
    /// The keys of access tokens.
    Jwks,
}

impl Endpoint {
    /// Every endpoint that there may be.
    pub const ALL: [Self; 8] = [
        Self::Token,
        Self::Introspection,
        Self::BackchannelAuthentication,
        Self::Revocation,
        Self::AttestationChallenge,
        Self::StatusLists,
        Self::KillState,
        Self::Jwks,
    ];

    /// The path below the issuer.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Token => "/oauth2/token",
            Self::Introspection => "/oauth2/introspect",
            Self::BackchannelAuthentication => "/oauth2/bc-authorize",
            Self::Revocation => "/oauth2/revoke",
            Self::AttestationChallenge => "/oauth2/challenge",
            Self::StatusLists => "/oauth2/status",
            Self::KillState => KILL_STATE_PATH,
            Self::Jwks => "/oauth2/jwks",
        }
    }

    /// The member of the RFC 8414 document that names it.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Token => "token_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::BackchannelAuthentication => "backchannel_authentication_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::AttestationChallenge => "challenge_endpoint",
            Self::StatusLists => "status_list_aggregation_endpoint",
            Self::KillState => "kill_state_endpoint",
            Self::Jwks => "jwks_uri",
        }
    }

    /// Whether it is served where this is offered.
    pub const fn is_offered(self, offers: &Offers) -> bool {
        match self {
            Self::Token | Self::Introspection | Self::Revocation | Self::Jwks => true,
            Self::BackchannelAuthentication => offers.ciba,
            Self::AttestationChallenge => offers.wit_client_authentication,
            Self::StatusLists | Self::KillState => offers.token_status_list,
        }
    }

    /// Those that are served where this is offered.
    pub fn offered(offers: &Offers) -> impl Iterator<Item = Self> + use<> {
        let offers = *offers;
        Self::ALL.into_iter().filter(move |endpoint| endpoint.is_offered(&offers))
    }

    /// Whether the metadata says how its callers authenticate. At the backchannel it is as at the token endpoint (CIBA Core
    /// 7.1), and no member is registered for it.
    pub(super) const fn authenticates(self) -> bool {
        match self {
            Self::Token | Self::Introspection | Self::Revocation => true,
            Self::BackchannelAuthentication
            | Self::AttestationChallenge
            | Self::StatusLists
            | Self::KillState
            | Self::Jwks => false,
        }
    }

    /// The whole URL.
    pub fn url(self, issuer: &IssuerUrl) -> String {
        issuer.join(self.path())
    }
}
