//! Workload Proof Tokens: the `Workload-Proof-Token` header beside a WIT-SVID (draft-ietf-wimse-wpt-01).
//!
//! The proof is for one URL, which is ours by configuration and never by what the request says of itself, and for one
//! WIT-SVID. Deliberately absent: proofs over other tokens. No request here carries an access token or a transaction token
//! in a header, so a proof that says so (`ath`, `tth`, `oth`) belongs to another request.

use jiff::{SignedDuration, Timestamp};
use marque_jose::{Audiences, NumericDate, UnverifiedJws, base64url, present, sha256};
use marque_spiffe::WitSvid;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::proof::{ProofError, ShownProof, Window, check_jti, verified, well_formed};

/// A Workload Proof Token that nobody has verified: a compact JWS of the right type with the claims of one.
#[derive(Debug)]
pub struct UnverifiedWorkloadProof {
    jws: UnverifiedJws,
    claims: Claims,
}

/// The claims, any of which with a wrong type refuses the proof. Others mean nothing here.
#[derive(Debug, Deserialize)]
struct Claims {
    aud: Audiences,
    exp: NumericDate,
    jti: String,
    wth: String,
    #[serde(default, deserialize_with = "present")]
    iat: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    ath: Option<String>,
    #[serde(default, deserialize_with = "present")]
    tth: Option<String>,
    #[serde(default, deserialize_with = "present")]
    oth: Option<Map<String, Value>>,
}

impl UnverifiedWorkloadProof {
    /// The `typ` of every proof.
    pub const TYPE: &str = "wpt+jwt";
    /// How far in the future a proof may end, in seconds.
    pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_secs(300);

    /// Reads a proof and checks whatever needs no key.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn parse(token: &str) -> Result<Self, ProofError> {
        let (jws, claims): (_, Claims) = well_formed(token, Self::TYPE)?;
        check_jti(&claims.jti)?;
        let others = claims.oth.as_ref().is_some_and(|others| !others.is_empty());
        if claims.ath.is_some() || claims.tth.is_some() || others {
            return Err(ProofError::OtherTokens);
        }
        Ok(Self { jws, claims })
    }

    /// Verifies that the holder of the WIT-SVID's key made it, for `target` and for this WIT-SVID, whose compact form is
    /// `token`.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verify(
        self,
        wit: &WitSvid,
        token: &str,
        target: &str,
        now: Timestamp,
        leeway: SignedDuration,
    ) -> Result<ShownProof, ProofError> {
        let Self { jws, claims } = self;
        verified(jws, wit)?;
        if claims.wth != base64url::encode(sha256(token.as_bytes())) {
            return Err(ProofError::OtherWit);
        }
        if claims.aud.sole() != Some(target) {
            return Err(ProofError::Audience);
        }
        let ends = claims.exp.timestamp();
        if ends > now + Self::MAX_LIFETIME + leeway {
            return Err(ProofError::LivesTooLong);
        }
        let mut window = Window { not_before: Timestamp::UNIX_EPOCH, until: ends };
        window.narrow(claims.nbf, None);
        window.narrow(claims.iat, None);
        let until = window.check(now, leeway)?;
        Ok(ShownProof { jti: claims.jti, until })
    }
}
