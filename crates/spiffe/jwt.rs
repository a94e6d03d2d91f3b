//! JWT-SVIDs: parse, then verify by the bundle of the subject's own trust domain (JWT-SVID specification).
//!
//! Leeway is zero, except that an `iat` up to 60 seconds ahead is taken for clock skew. Absent: minting and replay
//! caches.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use marque_jose::{
    Audiences, ClaimsError, JwsError, KeyId, NumericDate, UnverifiedJws, VerifiedJws, present,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Bundle, SpiffeId, SpiffeIdError, TrustDomain};

/// A JWT-SVID which nobody has verified: compact JWS, the right header (JW-1 to JW-5) and a subject that is a SPIFFE ID.
pub struct UnverifiedJwtSvid {
    jws: UnverifiedJws,
    key_id: KeyId,
    id: SpiffeId,
}

/// A verified JWT-SVID.
#[derive(Clone)]
pub struct JwtSvid {
    id: SpiffeId,
    audiences: Audiences,
    expires_at: Timestamp,
    issued_at: Option<Timestamp>,
    claims: Map<String, Value>,
}

/// Why a JWT-SVID was refused.
#[derive(Debug, thiserror::Error)]
pub enum JwtSvidError {
    /// Not a compact JWS of an allowed algorithm, or its signature does not verify (JW-1, JW-3).
    #[error("JWT-SVID is not an acceptable compact JWS")]
    Jws(#[source] JwsError),
    /// A header member beside `alg`, `kid` and `typ` (JW-2).
    #[error("JWT-SVID has a header member beside `alg`, `kid` and `typ`")]
    HeaderMember,
    /// There is no `kid` (JW-4).
    #[error("JWT-SVID has no key id")]
    NoKeyId,
    /// `typ` is neither `JWT` nor `JOSE` (JW-5).
    #[error("JWT-SVID has a type other than `JWT` and `JOSE`")]
    Type,
    /// `sub` is missing or not a string (JW-6).
    #[error("JWT-SVID has no subject")]
    NoSubject,
    /// `sub` is not a SPIFFE ID (JW-6).
    #[error("JWT-SVID subject is not a SPIFFE ID")]
    Subject(#[source] SpiffeIdError),
    /// `sub` is the ID of a trust domain, which is not a workload's.
    #[error("JWT-SVID subject has no path")]
    SubjectWithoutPath,
    /// The bundle is of another trust domain than the subject.
    #[error("bundle is not of the trust domain `{0}` of the JWT-SVID")]
    OtherTrustDomain(TrustDomain),
    /// No key for JWT-SVIDs has this name in the bundle (JW-9).
    #[error("bundle has no JWT-SVID key `{0}`")]
    UnknownKey(KeyId),
    /// `exp` is missing (JW-8).
    #[error("JWT-SVID has no expiry")]
    NoExpiry,
    /// `aud` is missing or an empty array (JW-7).
    #[error("JWT-SVID has no audience")]
    NoAudience,
    /// `exp`, `nbf`, `iat`, `aud`, `iss` or `jti` has the wrong type.
    #[error("JWT-SVID has a mistyped claim")]
    Claims(#[source] ClaimsError),
    /// `exp` is not in the future (JW-8).
    #[error("JWT-SVID expired at {0}")]
    Expired(Timestamp),
    /// `nbf` is in the future.
    #[error("JWT-SVID is not valid before {0}")]
    NotYetValid(Timestamp),
    /// `iat` is more than 60 seconds in the future.
    #[error("JWT-SVID claims to be issued in the future, at {0}")]
    IssuedInTheFuture(Timestamp),
    /// The expected audience is not among those of the token, or not the only one where it has to be (JW-7).
    #[error("JWT-SVID is not for this audience")]
    Audience,
}

/// How far ahead of our clock `iat` may be.
const ISSUED_AT_SKEW: Duration = Duration::from_secs(60);

impl UnverifiedJwtSvid {
    /// Reads a JWT-SVID and checks whatever needs no key (JW-1 to JW-6).
    ///
    /// # Errors
    /// See [`JwtSvidError`].
    pub fn parse(token: &str) -> Result<Self, JwtSvidError> {
        let jws = UnverifiedJws::parse(token).map_err(JwtSvidError::Jws)?;
        let header = jws.header();
        if header.other_members().len() > 0 {
            return Err(JwtSvidError::HeaderMember);
        }
        let key_id = header.kid().ok_or(JwtSvidError::NoKeyId)?.clone();
        if !matches!(header.typ(), None | Some("JWT" | "JOSE")) {
            return Err(JwtSvidError::Type);
        }
        let subject = jws.dangerous_unverified_claims().get("sub");
        let subject = subject.and_then(Value::as_str).ok_or(JwtSvidError::NoSubject)?;
        let id: SpiffeId = subject.parse().map_err(JwtSvidError::Subject)?;
        if !id.has_path() {
            return Err(JwtSvidError::SubjectWithoutPath);
        }
        Ok(Self { jws, key_id, id })
    }

    /// The trust domain whose bundle is to verify it.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        self.id.trust_domain()
    }

    /// The subject, which nobody has verified.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The name of the key, which is untrusted.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Verifies the token: by a JWT-SVID key of the subject's own trust domain, in time, and for `audience` among
    /// others.
    ///
    /// # Errors
    /// See [`JwtSvidError`].
    pub fn verify(
        self,
        bundle: &Bundle,
        audience: &str,
        now: Timestamp,
    ) -> Result<JwtSvid, JwtSvidError> {
        self.verify_for(bundle, now, |audiences| audiences.contains(audience))
    }

    /// Like [`UnverifiedJwtSvid::verify`], and `audience` must be the only one: a token for several parties can be
    /// replayed by each of them.
    ///
    /// # Errors
    /// See [`JwtSvidError`].
    pub fn verify_sole_audience(
        self,
        bundle: &Bundle,
        audience: &str,
        now: Timestamp,
    ) -> Result<JwtSvid, JwtSvidError> {
        self.verify_for(bundle, now, |audiences| audiences.sole() == Some(audience))
    }

    fn verify_for(
        self,
        bundle: &Bundle,
        now: Timestamp,
        is_for_us: impl FnOnce(&Audiences) -> bool,
    ) -> Result<JwtSvid, JwtSvidError> {
        if bundle.trust_domain() != self.trust_domain() {
            return Err(JwtSvidError::OtherTrustDomain(self.trust_domain().clone()));
        }
        let Some((key, algorithms)) = bundle.jwt_authority(&self.key_id) else {
            return Err(JwtSvidError::UnknownKey(self.key_id));
        };
        let verified = self.jws.verify(key, algorithms).map_err(JwtSvidError::Jws)?;
        let svid = JwtSvid::read(self.id, verified, now)?;
        if is_for_us(&svid.audiences) { Ok(svid) } else { Err(JwtSvidError::Audience) }
    }
}

impl JwtSvid {
    /// The SPIFFE ID.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Every audience of the token.
    #[must_use]
    pub const fn audiences(&self) -> &Audiences {
        &self.audiences
    }

    /// `exp`: from then on the token is refused.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// `iat`, if the token has one.
    #[must_use]
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }

    /// Every claim.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    fn read(id: SpiffeId, verified: VerifiedJws, now: Timestamp) -> Result<Self, JwtSvidError> {
        let claims = verified.claims().clone();
        match claims.get("aud") {
            None => return Err(JwtSvidError::NoAudience),
            Some(Value::Array(values)) if values.is_empty() => {
                return Err(JwtSvidError::NoAudience);
            }
            Some(_) => {}
        }
        if !claims.contains_key("exp") {
            return Err(JwtSvidError::NoExpiry);
        }
        let typed: Claims = verified.into_claims().map_err(JwtSvidError::Claims)?;
        let expires_at = typed.exp.timestamp();
        if expires_at <= now {
            return Err(JwtSvidError::Expired(expires_at));
        }
        if let Some(start) = typed.nbf.map(NumericDate::timestamp).filter(|start| *start > now) {
            return Err(JwtSvidError::NotYetValid(start));
        }
        let issued_at = typed.iat.map(NumericDate::timestamp);
        if let Some(at) = issued_at
            .filter(|at| at.duration_since(now).unsigned_abs() > ISSUED_AT_SKEW && *at > now)
        {
            return Err(JwtSvidError::IssuedInTheFuture(at));
        }
        Ok(Self { id, audiences: typed.aud, expires_at, issued_at, claims })
    }
}

/// The registered claims: any of them with a wrong type refuses the token.
#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
    exp: NumericDate,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<NumericDate>,
    #[serde(default, deserialize_with = "present", rename = "iss")]
    _iss: Option<String>,
    #[serde(default, deserialize_with = "present", rename = "jti")]
    _jti: Option<String>,
}

impl fmt::Debug for UnverifiedJwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwtSvid")
            .field("id", &self.id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
