//! A JWS that carries the public key of its own signature: a proof that its sender holds that key, and nothing more.

use std::fmt;

use serde_json::{Map, Value};

use super::{Header, JwsError, UnverifiedCompact, UnverifiedJws, VerifiedJws};
use crate::{Jwk, JwkError, KeyError, PublicKey, Thumbprint};

/// The longest that is looked at, in bytes. An RSA key and its signature of 4096 bits take less than half of it.
pub const MAX_PROOF_BYTES: usize = 4 * 1024;

/// Members of a JWK that carry or point to a certificate. Whose key it is would be another claim than that of holding it.
const CERTIFICATES: [&str; 4] = ["x5c", "x5t", "x5t#S256", "x5u"];

/// A compact JWS with a public `jwk` in its header (RFC 7515 section 4.1.3), which nobody has verified.
///
/// That it verifies shows that whoever made it holds the key. Whether the key means anything is for the reader to know.
pub struct SelfSignedJws {
    jws: UnverifiedJws,
    key: Jwk,
}

impl SelfSignedJws {
    /// Reads a compact JWS whose payload is one JSON object and whose header carries the key.
    ///
    /// # Errors
    /// See [`JwsError`]: beside what refuses every JWS, that the key is missing, private, symmetric, of a type that is not
    /// supported, or comes with a certificate.
    pub fn parse(token: &str) -> Result<Self, JwsError> {
        let (compact, jwk) =
            UnverifiedCompact::parse_by(token, MAX_PROOF_BYTES, Header::parse_with_key)?;
        let members = jwk.as_object().ok_or(JwsError::Key(JwkError::Key(KeyError::NotAnObject)))?;
        if let Some(name) = CERTIFICATES.into_iter().find(|name| members.contains_key(*name)) {
            return Err(JwsError::ForbiddenMember(name));
        }
        let key = Jwk::parse(&jwk).map_err(JwsError::Key)?;
        Ok(Self { jws: UnverifiedJws::of(compact, MAX_PROOF_BYTES)?, key })
    }

    /// The header, which nobody has verified.
    #[must_use]
    pub const fn header(&self) -> &Header {
        self.jws.header()
    }

    /// The claims as the sender wrote them.
    #[must_use]
    pub const fn dangerous_unverified_claims(&self) -> &Map<String, Value> {
        self.jws.dangerous_unverified_claims()
    }

    /// Verifies the signature with the key that the token carries. Gives that key beside the claims.
    ///
    /// # Errors
    /// [`JwsError::AlgorithmNotAllowed`] when the algorithm is not one of the key's, or [`JwsError::Signature`].
    pub fn verify(self) -> Result<(VerifiedJws, PublicKey), JwsError> {
        let Self { jws, key } = self;
        let verified = jws.verify(&key.key, key.algorithms())?;
        Ok((verified, key.key))
    }
}

impl PublicKey {
    /// The SHA-256 JWK thumbprint as a confirmation names it.
    #[must_use]
    pub fn jkt(&self) -> Thumbprint {
        Thumbprint::new(self.thumbprint())
    }
}

impl fmt::Debug for SelfSignedJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfSignedJws").field("header", self.header()).finish_non_exhaustive()
    }
}
