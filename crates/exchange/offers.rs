//! What a token service offers: the switches that decide what is accepted and what its metadata names.

/// Which parts of the token service are in use. Token exchange by JWT-SVID, introspection and revocation always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offers {
    /// Tokens bound to the key of a DPoP proof (RFC 9449).
    pub dpop: bool,
    /// Client authentication by X.509-SVID, and tokens bound to it (RFC 8705).
    pub mutual_tls: bool,
    /// Client authentication by WIT-SVID with a proof of possession.
    pub wit_client_authentication: bool,
    /// The deferred token response.
    pub deferred: bool,
    /// The polling form of OpenID CIBA.
    pub ciba: bool,
    /// Introspection answers as JWT (RFC 9701).
    pub jwt_introspection: bool,
    /// Token status lists.
    pub token_status_list: bool,
    /// Transaction tokens.
    pub transaction_tokens: bool,
    /// Identity chaining across domains.
    pub identity_chaining: bool,
    /// Identity assertion authorization grants (ID-JAG).
    pub id_jag: bool,
}

impl Offers {
    /// Everything.
    pub const ALL: Self = Self {
        dpop: true,
        mutual_tls: true,
        wit_client_authentication: true,
        deferred: true,
        ciba: true,
        jwt_introspection: true,
        token_status_list: true,
        transaction_tokens: true,
        identity_chaining: true,
        id_jag: true,
    };
}
