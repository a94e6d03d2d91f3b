//! What the two proofs by a WIT-SVID's key have in common: the type, the signature, the times and the name.

use jiff::{SignedDuration, Timestamp};
use marque_jose::{ClaimsError, JwsError, NumericDate, UnverifiedJws};
use marque_spiffe::WitSvid;
use serde::de::DeserializeOwned;

/// The longest `jti` of a proof, in bytes.
pub const MAX_JTI_BYTES: usize = 256;

/// Why a proof of possession was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Not a compact JWS of an allowed algorithm, or its signature is not by the WIT-SVID's key.
    #[error("the proof is not an acceptable compact JWS")]
    Jws(#[source] JwsError),
    /// `typ` is missing or that of something else.
    #[error("the proof has the wrong type")]
    Type,
    /// A claim is missing or has the wrong type.
    #[error("the proof lacks a claim or has a mistyped one")]
    Claims(#[source] ClaimsError),
    /// `jti` is empty or longer than [`MAX_JTI_BYTES`].
    #[error("the proof's jti is empty or too long")]
    Jti,
    /// `aud` is not the one party or URL that it has to be.
    #[error("the proof is for somebody else")]
    Audience,
    /// `wth` is not the hash of the WIT-SVID beside it.
    #[error("the proof is for another WIT-SVID")]
    OtherWit,
    /// `ath`, `tth` or `oth`: it was made for a request with other tokens.
    #[error("the proof is for a request with other tokens")]
    OtherTokens,
    /// It is valid for longer than a proof may be.
    #[error("the proof ends too far in the future")]
    LivesTooLong,
    /// Its time has not come.
    #[error("the proof is from the future")]
    NotYetValid,
    /// Its time is over.
    #[error("the proof is too old")]
    Expired,
}

/// A proof that was verified, which counts once: whoever accepts it remembers its name until it would be refused anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownProof {
    /// The name that its maker gave it.
    pub jti: String,
    /// The last instant at which it would be accepted.
    pub until: Timestamp,
}

/// When a proof is valid, both ends included.
pub(super) struct Window {
    pub(super) not_before: Timestamp,
    pub(super) until: Timestamp,
}

impl Window {
    pub(super) fn narrow(&mut self, not_before: Option<NumericDate>, until: Option<NumericDate>) {
        if let Some(not_before) = not_before {
            self.not_before = self.not_before.max(not_before.timestamp());
        }
        if let Some(until) = until {
            self.until = self.until.min(until.timestamp());
        }
    }

    /// The last instant at which the proof would be accepted, if this is one.
    pub(super) fn check(
        &self,
        now: Timestamp,
        leeway: SignedDuration,
    ) -> Result<Timestamp, ProofError> {
        if self.not_before > now + leeway {
            return Err(ProofError::NotYetValid);
        }
        let until = later(self.until, leeway);
        if until < now { Err(ProofError::Expired) } else { Ok(until) }
    }
}

/// The instant so much later, or the last that there is: dates in a proof are its maker's.
pub(super) fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A compact JWS of this type, with and without `application/` (RFC 7515 §4.1.9), and its claims, all unverified.
pub(super) fn well_formed<T: DeserializeOwned>(
    token: &str,
    typ: &str,
) -> Result<(UnverifiedJws, T), ProofError> {
    let jws = UnverifiedJws::parse(token).map_err(ProofError::Jws)?;
    let found = jws.header().typ().ok_or(ProofError::Type)?;
    if found.strip_prefix("application/").unwrap_or(found) != typ {
        return Err(ProofError::Type);
    }
    let claims = jws.dangerous_unverified_claims_as().map_err(ProofError::Claims)?;
    Ok((jws, claims))
}

/// Verifies the signature by the one key and the one algorithm that the WIT-SVID names.
pub(super) fn verified(jws: UnverifiedJws, wit: &WitSvid) -> Result<(), ProofError> {
    jws.verify(wit.holder_key(), &[wit.holder_algorithm()]).map(drop).map_err(ProofError::Jws)
}

pub(super) fn check_jti(jti: &str) -> Result<(), ProofError> {
    if jti.is_empty() || jti.len() > MAX_JTI_BYTES { Err(ProofError::Jti) } else { Ok(()) }
}
