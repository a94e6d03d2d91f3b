//! The proof of possession beside a client attestation: the `OAuth-Client-Attestation-PoP` header
//! (draft-ietf-oauth-attestation-based-client-auth-10, section 5.1).
//!
//! The attestation is a WIT-SVID (draft-ietf-oauth-spiffe-client-auth-02), so it has the type of one and not
//! `oauth-client-attestation+jwt`. Deliberately absent: a DPoP proof in its place, and memory of what was shown.

use jiff::{SignedDuration, Timestamp};
use marque_jose::{Audiences, NumericDate, UnverifiedJws, present};
use marque_spiffe::WitSvid;
use serde::Deserialize;

use super::proof::{ProofError, ShownProof, Window, check_jti, later, verified, well_formed};

/// A proof of possession that nobody has verified: a compact JWS of the right type with the claims of one.
#[derive(Debug)]
pub struct UnverifiedAttestationProof {
    jws: UnverifiedJws,
    claims: Claims,
}

/// The claims, any of which with a wrong type refuses the proof. Others mean nothing here.
#[derive(Debug, Deserialize)]
struct Claims {
    aud: Audiences,
    jti: String,
    iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    challenge: Option<String>,
}

impl UnverifiedAttestationProof {
    /// The `typ` of every proof.
    pub const TYPE: &str = "oauth-client-attestation-pop+jwt";
    /// How old a proof may be, in seconds.
    pub const MAX_AGE: SignedDuration = SignedDuration::from_secs(60);

    /// Reads a proof and checks whatever needs no key.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn parse(token: &str) -> Result<Self, ProofError> {
        let (jws, claims): (_, Claims) = well_formed(token, Self::TYPE)?;
        check_jti(&claims.jti)?;
        Ok(Self { jws, claims })
    }

    /// The challenge that the client says it was given.
    #[must_use]
    pub fn challenge(&self) -> Option<&str> {
        self.claims.challenge.as_deref()
    }

    /// Verifies that the holder of the WIT-SVID's key made it just now, for `issuer` and for nobody else.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verify(
        self,
        wit: &WitSvid,
        issuer: &str,
        now: Timestamp,
        leeway: SignedDuration,
    ) -> Result<ShownProof, ProofError> {
        let Self { jws, claims } = self;
        verified(jws, wit)?;
        if claims.aud.sole() != Some(issuer) {
            return Err(ProofError::Audience);
        }
        let issued_at = claims.iat.timestamp();
        let mut window = Window { not_before: issued_at, until: later(issued_at, Self::MAX_AGE) };
        window.narrow(claims.nbf, claims.exp);
        let until = window.check(now, leeway)?;
        Ok(ShownProof { jti: claims.jti, until })
    }
}
