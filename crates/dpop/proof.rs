//! One proof: that whoever sends this request holds a key (RFC 9449 §4).

use std::time::Duration;

use jiff::Timestamp;
use marque_jose::{
    ClaimsError, JwsError, NumericDate, SelfSignedJws, Thumbprint, base64url, present, sha256,
};
use serde::Deserialize;

use crate::{HttpUri, HttpUriError};

/// The header that carries a proof.
pub const HEADER: &str = "DPoP";
/// The header that carries the nonce for the next one (RFC 9449 §8).
pub const NONCE_HEADER: &str = "DPoP-Nonce";
/// The longest `jti`, in bytes.
pub const MAX_JTI_BYTES: usize = 128;
/// The longest `nonce`, in bytes.
pub const MAX_NONCE_BYTES: usize = 256;
/// How old a proof may be by its `iat`.
pub const MAX_PROOF_AGE: Duration = Duration::from_secs(60);
/// How far ahead of our clock its `iat` may be.
pub const MAX_PROOF_AHEAD: Duration = Duration::from_secs(10);

/// The `typ` of a proof, matched exactly.
const TYPE: &str = "dpop+jwt";

/// The value of a `DPoP` header, well formed, verified by nobody.
#[derive(Debug)]
pub struct UnverifiedProof(SelfSignedJws);

/// The request that a proof has to be made for.
#[derive(Debug, Clone, Copy)]
pub struct ProofRequest<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The URI that was asked for, without query and fragment.
    pub uri: &'a HttpUri,
    /// The access token that came with it; a resource server has one, the token endpoint has none.
    pub access_token: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// A proof whose key signed it for this request, a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    key: Thumbprint,
    jti: String,
    issued_at: Timestamp,
    nonce: Option<String>,
}

/// Why a proof was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Not one compact JWS with its own public key: also a comma-separated list, a private or symmetric key.
    #[error("proof is not a JWS with its own public key")]
    Jws(#[source] JwsError),
    /// `typ` is not `dpop+jwt`.
    #[error("proof is not of type {TYPE}")]
    Type,
    /// Its key did not sign it.
    #[error("proof does not verify with its key")]
    Signature(#[source] JwsError),
    /// A claim is missing or has the wrong type.
    #[error("proof claims are refused")]
    Claims(#[source] ClaimsError),
    /// `jti` is empty or longer than [`MAX_JTI_BYTES`], or `nonce` is longer than [`MAX_NONCE_BYTES`].
    #[error("proof has an empty jti, or a jti or nonce that is too long")]
    Length,
    /// `htm` is another method.
    #[error("proof is for another method")]
    Method,
    /// `htu` is no plain HTTP URI.
    #[error("proof has no plain URI")]
    MalformedUri(#[source] HttpUriError),
    /// `htu` is another URI.
    #[error("proof is for another URI")]
    Uri,
    /// `iat` is more than [`MAX_PROOF_AGE`] ago, or `exp` has passed.
    #[error("proof is too old")]
    TooOld,
    /// `iat` is more than [`MAX_PROOF_AHEAD`] ahead, or `nbf` has not come.
    #[error("proof is from the future")]
    Future,
    /// `ath` is missing where a token came, or is not that of the token.
    #[error("proof is not for this access token")]
    AccessToken,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    ath: Option<String>,
    #[serde(default, deserialize_with = "present")]
    nonce: Option<String>,
}

impl UnverifiedProof {
    /// Reads the value of the one `DPoP` header.
    ///
    /// # Errors
    /// [`ProofError::Jws`] or [`ProofError::Type`].
    pub fn parse(value: &str) -> Result<Self, ProofError> {
        let jws = SelfSignedJws::parse(value).map_err(ProofError::Jws)?;
        if jws.header().typ() == Some(TYPE) { Ok(Self(jws)) } else { Err(ProofError::Type) }
    }

    /// Verifies that the proof's own key signed it, for this request and a moment ago (RFC 9449 §4.3). Its nonce and
    /// whether it was shown before are still the caller's to check.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verify(self, request: &ProofRequest<'_>) -> Result<Proof, ProofError> {
        let (jws, key) = self.0.verify().map_err(ProofError::Signature)?;
        let claims: Claims = jws.into_claims().map_err(ProofError::Claims)?;
        let too_long = |text: &String| text.len() > MAX_NONCE_BYTES;
        if claims.jti.is_empty()
            || claims.jti.len() > MAX_JTI_BYTES
            || claims.nonce.as_ref().is_some_and(too_long)
        {
            return Err(ProofError::Length);
        }
        if claims.htm != request.method {
            return Err(ProofError::Method);
        }
        if claims.htu.parse::<HttpUri>().map_err(ProofError::MalformedUri)? != *request.uri {
            return Err(ProofError::Uri);
        }
        claims.check_time(request.now)?;
        if let Some(token) = request.access_token {
            let expected = base64url::encode(sha256(token.as_bytes()));
            if claims.ath.as_deref() != Some(expected.as_str()) {
                return Err(ProofError::AccessToken);
            }
        }
        let Claims { jti, iat, nonce, .. } = claims;
        Ok(Proof { key: key.jkt(), jti, issued_at: iat.timestamp(), nonce })
    }
}

impl Claims {
    fn check_time(&self, now: Timestamp) -> Result<(), ProofError> {
        let age = now.duration_since(self.iat.timestamp());
        if age > jiff::SignedDuration::try_from(MAX_PROOF_AGE).unwrap_or_default()
            || self.exp.is_some_and(|exp| exp.timestamp() <= now)
        {
            return Err(ProofError::TooOld);
        }
        let ahead = jiff::SignedDuration::try_from(MAX_PROOF_AHEAD).unwrap_or_default();
        let earliest = self.nbf.into_iter().chain([self.iat]).map(NumericDate::timestamp).max();
        if earliest.is_some_and(|earliest| earliest.duration_since(now) > ahead) {
            return Err(ProofError::Future);
        }
        Ok(())
    }
}

impl Proof {
    /// The thumbprint of the key that was proven (`jkt`).
    #[must_use]
    pub const fn key(&self) -> &Thumbprint {
        &self.key
    }

    /// Its name, unique among the proofs of its key.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The nonce that it was made with. Whether it is one of ours was not looked at.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// The last instant at which it would be accepted again: for so long it has to be remembered.
    #[must_use]
    pub fn accepted_until(&self) -> Timestamp {
        self.issued_at.saturating_add(MAX_PROOF_AGE).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests;
