//! Why a request is refused, and what its sender is told: RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1.
//!
//! A refusal has a stable name for logs and metrics. The client is told a class of it in a constant text; nothing that
//! came with the request is ever echoed.

use http::StatusCode;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It showed no token.
    #[error("the request has no token")]
    NoToken,
    /// It is malformed.
    #[error("the request is malformed: {0}")]
    Request(#[from] RequestFault),
    /// Its token is not good here.
    #[error("the token is refused: {0}")]
    Token(#[from] TokenFault),
    /// The proof beside it is not good.
    #[error("the proof is refused: {0}")]
    Proof(#[from] ProofFault),
    /// The token is good, and for less than this.
    #[error("the token does not suffice: {0}")]
    Rights(#[from] Lack),
    /// Whether the token is good cannot be known just now.
    #[error("the token cannot be judged: {0}")]
    Unavailable(#[from] Outage),
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// More than one `Authorization` header.
    #[error("more than one authorization header")]
    TwoAuthorizations,
    /// `Authorization` is not `Bearer` or `DPoP`, one space and a token.
    #[error("the authorization header is not a scheme, one space and a token")]
    Authorization,
    /// A token in the query string.
    #[error("a token in the query string")]
    TokenInQuery,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a strict compact JWS of an allowed algorithm.
    #[error("it is no strict compact JWS")]
    Malformed,
    /// `typ` is not that of an access token.
    #[error("its type is not that of an access token")]
    Type,
    /// It names no key, or one that the issuer does not have.
    #[error("its key is unknown")]
    Key,
    /// The signature is not the key's, or by an algorithm that the key is not for.
    #[error("its signature does not verify")]
    Signature,
    /// A claim that must be there is not, or one has the wrong type.
    #[error("a claim is missing or mistyped")]
    Claims,
    /// Of another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// For another audience.
    #[error("it is for another audience")]
    Audience,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet, or issued in the future.
    #[error("it is not valid yet")]
    NotYet,
    /// It lives longer than this server accepts.
    #[error("it lives too long")]
    Lifetime,
    /// It is bound to a key in a way that is not known here.
    #[error("it is bound in an unknown way")]
    Confirmation,
    /// A bound token came without its proof: by the wrong scheme, or over a connection without a certificate.
    #[error("it is bound, and came without its proof")]
    Downgrade,
    /// It is bound to another certificate than that of the connection.
    #[error("it is bound to another certificate")]
    Certificate,
    /// It is bound to no key, and this server takes only bound ones, or it came as if it were.
    #[error("it is not bound to a key")]
    NotBound,
    /// It was revoked or suspended.
    #[error("it was revoked")]
    Revoked,
    /// It does not say where its status is, and this server demands that.
    #[error("it has no status")]
    NoStatus,
    /// Its place in the status list is not there, or the list is not its issuer's.
    #[error("its status is not to be had")]
    Status,
    /// It was used before, and may be used once.
    #[error("it was used before")]
    Used,
}

/// What is wrong with a DPoP proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// It is missing, came more than once, or is no proof that its own key signed.
    #[error("there is not exactly one that is well formed")]
    Malformed,
    /// It is by another key than the token is bound to.
    #[error("it is by another key")]
    Key,
    /// It is for another request: method or URL.
    #[error("it is for another request")]
    Request,
    /// It is for another token, or for none.
    #[error("it is for another token")]
    Token,
    /// It is too old or from the future.
    #[error("it is of another time")]
    Time,
    /// It has no nonce of this server, or one that is no longer good. The answer brings one.
    #[error("it has no nonce that is good")]
    Nonce,
    /// It was used before.
    #[error("it was used before")]
    Used,
}

/// What a token does not suffice for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// A scope.
    #[error("a scope is missing")]
    Scope,
    /// No entry of `authorization_details` covers the action.
    #[error("no authorization details cover it")]
    Details,
    /// The tool is not among those that are allowed.
    #[error("the tool is not allowed")]
    Tool,
}

/// Why something could not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The issuer's document could not be fetched, lately or just now.
    #[error("the issuer could not be reached")]
    Unreachable,
    /// The issuer's document is not what it should be.
    #[error("the issuer's document is refused")]
    Document,
    /// The memory of proofs and single-use tokens is full or does not answer.
    #[error("uses cannot be remembered")]
    Memory,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Token(_) | Self::Proof(_) => StatusCode::UNAUTHORIZED,
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Rights(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The OAuth error code, where there is one.
    #[must_use]
    pub const fn error(&self) -> Option<&'static str> {
        match self {
            Self::NoToken | Self::Unavailable(_) => None,
            Self::Request(_) => Some("invalid_request"),
            Self::Token(_) => Some("invalid_token"),
            Self::Proof(ProofFault::Nonce) => Some("use_dpop_nonce"),
            Self::Proof(_) => Some("invalid_dpop_proof"),
            Self::Rights(Lack::Scope) => Some("insufficient_scope"),
            Self::Rights(Lack::Details | Lack::Tool) => Some("insufficient_authorization_details"),
        }
    }

    /// What the client is told beside the code.
    pub(crate) const fn description(&self) -> &'static str {
        match self {
            Self::NoToken | Self::Unavailable(_) => "",
            Self::Request(RequestFault::TokenInQuery) => "a token has no place in a query string",
            Self::Request(_) => "exactly one authorization header of a scheme, a space and a token",
            Self::Token(TokenFault::Expired) => "the token has expired",
            Self::Token(TokenFault::Downgrade | TokenFault::NotBound | TokenFault::Certificate) => {
                "the token and the proof of its key do not fit"
            }
            Self::Token(_) => "the token is not good here",
            Self::Proof(ProofFault::Nonce) => "the DPoP proof needs the nonce of this answer",
            Self::Proof(_) => "the DPoP proof is not good for this request and token",
            Self::Rights(_) => "the token does not permit this",
        }
    }

    /// A stable name, for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Request(RequestFault::TwoAuthorizations) => "two_authorization_headers",
            Self::Request(RequestFault::Authorization) => "malformed_authorization_header",
            Self::Request(RequestFault::TokenInQuery) => "token_in_query",
            Self::Token(fault) => fault.name(),
            Self::Proof(ProofFault::Malformed) => "proof_malformed",
            Self::Proof(ProofFault::Key) => "proof_of_another_key",
            Self::Proof(ProofFault::Request) => "proof_of_another_request",
            Self::Proof(ProofFault::Token) => "proof_of_another_token",
            Self::Proof(ProofFault::Time) => "proof_of_another_time",
            Self::Proof(ProofFault::Nonce) => "proof_without_nonce",
            Self::Proof(ProofFault::Used) => "proof_replayed",
            Self::Rights(Lack::Scope) => "scope_missing",
            Self::Rights(Lack::Details) => "details_missing",
            Self::Rights(Lack::Tool) => "tool_missing",
            Self::Unavailable(Outage::Unreachable) => "issuer_unreachable",
            Self::Unavailable(Outage::Document) => "issuer_document_refused",
            Self::Unavailable(Outage::Memory) => "uses_cannot_be_remembered",
        }
    }
}

impl TokenFault {
    const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Type => "token_of_another_type",
            Self::Key => "token_of_an_unknown_key",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Issuer => "token_of_another_issuer",
            Self::Audience => "token_for_another_audience",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::Lifetime => "token_lives_too_long",
            Self::Confirmation => "token_bound_in_an_unknown_way",
            Self::Downgrade => "token_without_its_proof",
            Self::Certificate => "token_of_another_certificate",
            Self::NotBound => "token_not_bound",
            Self::Revoked => "token_revoked",
            Self::NoStatus => "token_without_status",
            Self::Status => "token_status",
            Self::Used => "token_replayed",
        }
    }
}
