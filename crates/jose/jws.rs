//! Compact JWS (RFC 7515): what was parsed, and what was verified.
//!
//! The order is fixed: size and dots before splitting, canonical base64url, strict JSON, the header, and only then a
//! key. A header may not say where its key is, nor change how the token is read; where a token is to carry its own key, it
//! is read as a [`SelfSignedJws`] and as nothing else.

mod header;
mod self_signed;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::json::{Limits, StrictJsonError, parse_object};
use crate::{Algorithm, JwkError, PublicKey, UnknownAlgorithm, base64url, key_id::KeyIdError};

pub use header::{Header, MAX_HEADER_MEMBERS};
pub use self_signed::{MAX_PROOF_BYTES, SelfSignedJws};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a JWS was refused.
#[derive(Debug, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN_BYTES`], or than what the reader allowed.
    #[error("token is longer than is allowed")]
    TooLong,
    /// Not three parts: JSON serialisation, JWE and detached content end here too.
    #[error("token does not have exactly three parts")]
    Parts,
    /// A part is not canonical base64url: padding, white space, a trailing newline.
    #[error("token {0} is not canonical base64url")]
    Encoding(&'static str),
    /// The header is not a strict JSON object.
    #[error("token header is not a strict JSON object")]
    HeaderJson(#[source] StrictJsonError),
    /// More than [`MAX_HEADER_MEMBERS`].
    #[error("token header has more than {MAX_HEADER_MEMBERS} members")]
    HeaderMembers,
    /// A member that carries or points to a key, or changes how the token is read: `crit`, `b64`, `jku`, `jwk`, `x5u`,
    /// `x5c`, and those of JWE, `enc` and `zip`.
    #[error("token header has the member `{0}`")]
    ForbiddenMember(&'static str),
    /// A token that is to carry its key has no `jwk`.
    #[error("token header has no key")]
    NoKey,
    /// The `jwk` is not a public key that is supported.
    #[error("key in the token header is refused")]
    Key(#[source] JwkError),
    /// `alg`, `kid` or `typ` is not a string.
    #[error("token header member `{0}` is not a string")]
    MemberType(&'static str),
    /// There is no `alg`.
    #[error("token header has no algorithm")]
    NoAlgorithm,
    /// `alg` is not in the list of [`Algorithm`].
    #[error("token algorithm is refused")]
    Algorithm(#[source] UnknownAlgorithm),
    /// `kid` is not a [`crate::KeyId`].
    #[error("token key id is refused")]
    KeyId(#[source] KeyIdError),
    /// The payload is not a strict JSON object.
    #[error("token claims are not a strict JSON object")]
    ClaimsJson(#[source] StrictJsonError),
    /// The algorithm is none of those that the caller allows.
    #[error("token algorithm `{0}` is not allowed here")]
    AlgorithmNotAllowed(Algorithm),
    /// The algorithm belongs to another type of key.
    #[error("token algorithm `{0}` does not fit the key")]
    AlgorithmMismatch(Algorithm),
    /// The signature is not the key's.
    #[error("token signature does not verify")]
    Signature,
}

/// The claims do not have the shape that was asked for. The reason shows no more than the beginning of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("token claims have the wrong type: {0}")]
pub struct ClaimsError(String);

/// A compact JWS of any payload which nobody has verified.
pub struct UnverifiedCompact {
    header: Header,
    signing_input: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// The payload of a compact JWS whose signature was verified.
pub struct VerifiedCompact {
    header: Header,
    payload: Vec<u8>,
}

/// A compact JWS of claims which nobody has verified.
pub struct UnverifiedJws {
    compact: UnverifiedCompact,
    claims: Map<String, Value>,
}

/// The claims of a JWS whose signature was verified. Dates and audience are still the caller's to check.
pub struct VerifiedJws {
    header: Header,
    claims: Map<String, Value>,
}

impl UnverifiedCompact {
    /// Reads a compact JWS without looking into its payload.
    ///
    /// # Errors
    /// See [`JwsError`].
    pub fn parse(token: &str) -> Result<Self, JwsError> {
        Self::parse_within(token, MAX_TOKEN_BYTES)
    }

    fn parse_within(token: &str, max_bytes: usize) -> Result<Self, JwsError> {
        let header = |header: &[u8]| Ok((Header::parse(header)?, ()));
        Self::parse_by(token, max_bytes, header).map(|(compact, ())| compact)
    }

    /// Reads a compact JWS whose header is read by `read_header`, which may take something out of it.
    fn parse_by<T>(
        token: &str,
        max_bytes: usize,
        read_header: impl FnOnce(&[u8]) -> Result<(Header, T), JwsError>,
    ) -> Result<(Self, T), JwsError> {
        if token.len() > max_bytes {
            return Err(JwsError::TooLong);
        }
        // Counted first: splitting at ten thousand dots is work for the attacker's benefit (CVE-2025-22868).
        if token.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(JwsError::Parts);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::Parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Parts)?;
        let header = base64url::decode(header).map_err(|_position| JwsError::Encoding("header"))?;
        let (header, taken) = read_header(&header)?;
        let payload =
            base64url::decode(payload).map_err(|_position| JwsError::Encoding("payload"))?;
        let signature =
            base64url::decode(signature).map_err(|_position| JwsError::Encoding("signature"))?;
        let signing_input = signing_input.to_owned();
        Ok((Self { header, signing_input, payload, signature }, taken))
    }

    /// The header, which nobody has verified.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Verifies the signature: the algorithm must be allowed by the caller and fit the key.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAllowed`], [`JwsError::AlgorithmMismatch`] or [`JwsError::Signature`].
    pub fn verify(
        self,
        key: &PublicKey,
        allowed: &[Algorithm],
    ) -> Result<VerifiedCompact, JwsError> {
        let algorithm = self.header.alg();
        if !allowed.contains(&algorithm) {
            return Err(JwsError::AlgorithmNotAllowed(algorithm));
        }
        if !key.algorithms().contains(&algorithm) {
            return Err(JwsError::AlgorithmMismatch(algorithm));
        }
        if !key.verifies(algorithm, self.signing_input.as_bytes(), &self.signature) {
            return Err(JwsError::Signature);
        }
        Ok(VerifiedCompact { header: self.header, payload: self.payload })
    }
}

impl VerifiedCompact {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The payload's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl UnverifiedJws {
    /// Reads a compact JWS whose payload is one JSON object.
    ///
    /// # Errors
    /// See [`JwsError`].
    pub fn parse(token: &str) -> Result<Self, JwsError> {
        Self::parse_within(token, MAX_TOKEN_BYTES)
    }

    /// Reads a compact JWS that is no credential and may be longer: a document such as a status list.
    ///
    /// # Errors
    /// See [`JwsError`]; `max_bytes` is the longest that is looked at.
    pub fn parse_within(token: &str, max_bytes: usize) -> Result<Self, JwsError> {
        Self::of(UnverifiedCompact::parse_within(token, max_bytes)?, max_bytes)
    }

    fn of(compact: UnverifiedCompact, max_bytes: usize) -> Result<Self, JwsError> {
        let limits = Limits { max_bytes, ..Limits::TOKEN };
        let claims = parse_object(&compact.payload, &limits).map_err(JwsError::ClaimsJson)?;
        Ok(Self { compact, claims })
    }

    /// The header, which nobody has verified.
    #[must_use]
    pub const fn header(&self) -> &Header {
        self.compact.header()
    }

    /// The claims as the sender wrote them: good for finding the key set to verify with, and for nothing else.
    #[must_use]
    pub const fn dangerous_unverified_claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims as the sender wrote them, as a type: good for refusing early, and for nothing else.
    ///
    /// # Errors
    /// A claim is missing or has another type.
    pub fn dangerous_unverified_claims_as<T: DeserializeOwned>(&self) -> Result<T, ClaimsError> {
        typed(self.claims.clone())
    }

    /// Verifies the signature: the algorithm must be allowed by the caller and fit the key.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAllowed`], [`JwsError::AlgorithmMismatch`] or [`JwsError::Signature`].
    pub fn verify(self, key: &PublicKey, allowed: &[Algorithm]) -> Result<VerifiedJws, JwsError> {
        let VerifiedCompact { header, payload: _ } = self.compact.verify(key, allowed)?;
        Ok(VerifiedJws { header, claims: self.claims })
    }
}

impl VerifiedJws {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims as a type. Use [`crate::NumericDate`] for dates and [`crate::present`] for optional claims, so that a
    /// mistyped claim is an error.
    ///
    /// # Errors
    /// A claim is missing or has another type.
    pub fn into_claims<T: DeserializeOwned>(self) -> Result<T, ClaimsError> {
        typed(self.claims)
    }
}

fn typed<T: DeserializeOwned>(claims: Map<String, Value>) -> Result<T, ClaimsError> {
    serde_json::from_value(Value::Object(claims))
        .map_err(|error| ClaimsError(crate::beginning(&error.to_string(), 160)))
}

impl fmt::Debug for UnverifiedCompact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedCompact").field("header", &self.header).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifiedCompact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCompact").field("header", &self.header).finish_non_exhaustive()
    }
}

impl fmt::Debug for UnverifiedJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJws").field("header", self.header()).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifiedJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedJws").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
