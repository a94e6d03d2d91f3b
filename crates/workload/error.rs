use std::error::Error;

use marque_spiffe::{JwtSvidError, TrustDomain};

/// Why a caller does not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// No entry that may be served matches the caller, or none with the SPIFFE ID it named. A stop
    /// by the kill switch reads alike.
    #[error("no identity issued")]
    NotEntitled,
    /// The caller's identity would be one more than its template may give; it has no other.
    #[error("no identity issued: its template has given as many as it may")]
    TemplateFull,
    /// No identity of the caller may have a JWT-SVID for these audiences.
    #[error("no identity of the caller may have a JWT-SVID for this audience")]
    AudienceNotAllowed,
    /// The issuer does not answer; trying again later may help.
    #[error("issuer is unavailable")]
    Unavailable,
    /// The audiences of a request are not acceptable.
    #[error(transparent)]
    InvalidAudience(#[from] InvalidAudience),
    /// A JWT-SVID does not verify.
    #[error("JWT-SVID is not valid")]
    InvalidToken(#[source] JwtSvidError),
    /// A JWT-SVID names a trust domain for which there is no bundle.
    #[error("no bundle for trust domain `{0}`")]
    UnknownTrustDomain(TrustDomain),
    /// An SVID could not be minted, and there is no valid one to serve instead.
    #[error("SVID could not be minted")]
    Mint(#[source] Box<dyn Error + Send + Sync>),
    /// The issuer minted something else than the entry says.
    #[error("issuer minted an SVID that does not belong to the entry")]
    WrongSvid,
}

/// Why the audiences of a request are not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAudience {
    /// There is none (JW-7).
    #[error("at least one audience is needed")]
    Missing,
    /// There are more than [`crate::MAX_AUDIENCES`].
    #[error("more than {} audiences", crate::MAX_AUDIENCES)]
    TooMany,
    /// One is the empty text.
    #[error("an audience is empty")]
    Empty,
    /// One is longer than [`crate::MAX_AUDIENCE_BYTES`].
    #[error("an audience is longer than {} bytes", crate::MAX_AUDIENCE_BYTES)]
    TooLong,
    /// One has a control character, a quotation mark or a backslash.
    #[error("an audience has a control character, a quotation mark or a backslash")]
    Characters,
}

impl WorkloadError {
    /// A failure to mint, for implementations of [`crate::Issuer`].
    pub fn mint(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Mint(Box::new(source))
    }
}
