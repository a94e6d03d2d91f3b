//! WIT-SVIDs: parse, then verify by the bundle of the subject's own trust domain (WIT-SVID specification, Incubating).
//!
//! A WIT-SVID is a public statement, "this key is the workload's", and no proof of who sent it. Whoever accepts one must
//! see the holder's key used, on a message that is fresh and meant for them (WI-10): that proof is not made here, and
//! nothing in this crate or above it takes a [`WitSvid`] for an authenticated caller. Absent: minting, the proofs of
//! possession of WIMSE, replay caches (one WIT-SVID may be with several instances, WI-7), and ES512.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use marque_jose::{
    Algorithm, ClaimsError, Jwk, JwkError, JwsError, KeyId, NumericDate, PublicKey, UnverifiedJws,
    VerifiedJws, present,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Bundle, SpiffeId, SpiffeIdError, TrustDomain};

/// A WIT-SVID which nobody has verified: compact JWS, the right header (WI-1 to WI-3) and a subject that is a SPIFFE ID.
pub struct UnverifiedWitSvid {
    jws: UnverifiedJws,
    key_id: KeyId,
    id: SpiffeId,
}

/// A WIT-SVID that its trust domain stands behind. **It authenticates nobody**: everyone who ever saw it can send it.
/// Only a fresh proof by [`WitSvid::holder_key`] says that its sender is [`WitSvid::subject`] (WI-10), for example a
/// WIMSE workload proof token or an HTTP message signature.
#[must_use = "a WIT-SVID says nothing about its sender before possession of its key is proven"]
#[derive(Clone)]
pub struct WitSvid {
    subject: SpiffeId,
    holder: Holder,
    expires_at: Timestamp,
    not_before: Option<Timestamp>,
    issued_at: Option<Timestamp>,
    claims: Map<String, Value>,
}

/// The holder's key with the one algorithm that the token allows for it.
#[derive(Clone)]
struct Holder {
    key: PublicKey,
    algorithm: Algorithm,
}

/// Why a WIT-SVID was refused.
#[derive(Debug, thiserror::Error)]
pub enum WitSvidError {
    /// Not a compact JWS of an allowed algorithm, or its signature does not verify (WI-3).
    #[error("WIT-SVID is not an acceptable compact JWS")]
    Jws(#[source] JwsError),
    /// A header member beside `alg`, `kid` and `typ` (WI-3).
    #[error("WIT-SVID has a header member beside `alg`, `kid` and `typ`")]
    HeaderMember,
    /// There is no `kid` (WI-1).
    #[error("WIT-SVID has no key id")]
    NoKeyId,
    /// `typ` is missing or not `wit+jwt` (WI-2).
    #[error("WIT-SVID has not the type `wit+jwt`")]
    Type,
    /// `sub` is missing or not a string (WI-4).
    #[error("WIT-SVID has no subject")]
    NoSubject,
    /// `sub` is not a SPIFFE ID (WI-4).
    #[error("WIT-SVID subject is not a SPIFFE ID")]
    Subject(#[source] SpiffeIdError),
    /// `sub` is the ID of a trust domain, which is not a workload's.
    #[error("WIT-SVID subject has no path")]
    SubjectWithoutPath,
    /// The bundle is of another trust domain than the subject.
    #[error("bundle is not of the trust domain `{0}` of the WIT-SVID")]
    OtherTrustDomain(TrustDomain),
    /// No key for WIT-SVIDs has this name in the bundle (WI-1, WI-11).
    #[error("bundle has no WIT-SVID key `{0}`")]
    UnknownKey(KeyId),
    /// `aud` is there, whatever it holds (WI-9).
    #[error("WIT-SVID has an audience")]
    HasAudience,
    /// `exp` is missing (WI-6).
    #[error("WIT-SVID has no expiry")]
    NoExpiry,
    /// `cnf` is missing, is not an object, or has no `jwk` (WI-5).
    #[error("WIT-SVID has no holder's key")]
    NoHolderKey,
    /// `cnf` has another key beside `jwk`: it is to be one key (RFC 7800 section 3.1).
    #[error("WIT-SVID has several holder's keys")]
    SeveralHolderKeys,
    /// `cnf.jwk` is not an acceptable public key; a private part is refused here as well (WI-5).
    #[error("holder's key of the WIT-SVID is refused")]
    HolderKey(#[source] JwkError),
    /// `cnf.jwk` has no `alg` (WI-5).
    #[error("holder's key of the WIT-SVID names no algorithm")]
    NoHolderAlgorithm,
    /// `exp`, `nbf`, `iat`, `iss` or `jti` has the wrong type.
    #[error("WIT-SVID has a mistyped claim")]
    Claims(#[source] ClaimsError),
    /// `exp` has passed by more than [`WitSvid::LEEWAY`] (WI-6).
    #[error("WIT-SVID expired at {0}")]
    Expired(Timestamp),
    /// `nbf` is in the future (WI-6).
    #[error("WIT-SVID is not valid before {0}")]
    NotYetValid(Timestamp),
}

impl UnverifiedWitSvid {
    /// The `typ` of every WIT-SVID (WI-2).
    pub const TYPE: &str = "wit+jwt";

    /// Reads a WIT-SVID and checks whatever needs no key (WI-1 to WI-4).
    ///
    /// # Errors
    /// See [`WitSvidError`].
    pub fn parse(token: &str) -> Result<Self, WitSvidError> {
        let jws = UnverifiedJws::parse(token).map_err(WitSvidError::Jws)?;
        let header = jws.header();
        if header.other_members().len() > 0 {
            return Err(WitSvidError::HeaderMember);
        }
        let key_id = header.kid().ok_or(WitSvidError::NoKeyId)?.clone();
        if header.typ() != Some(Self::TYPE) {
            return Err(WitSvidError::Type);
        }
        let subject = jws.dangerous_unverified_claims().get("sub");
        let subject = subject.and_then(Value::as_str).ok_or(WitSvidError::NoSubject)?;
        let id: SpiffeId = subject.parse().map_err(WitSvidError::Subject)?;
        if !id.has_path() {
            return Err(WitSvidError::SubjectWithoutPath);
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

    /// Verifies the token: by a WIT-SVID key of the subject's own trust domain, in time, with one holder's key and
    /// without audience. What comes out still is no authenticated caller, see [`WitSvid`].
    ///
    /// # Errors
    /// See [`WitSvidError`].
    pub fn verify(self, bundle: &Bundle, now: Timestamp) -> Result<WitSvid, WitSvidError> {
        if bundle.trust_domain() != self.trust_domain() {
            return Err(WitSvidError::OtherTrustDomain(self.trust_domain().clone()));
        }
        let Some((key, algorithms)) = bundle.wit_authority(&self.key_id) else {
            return Err(WitSvidError::UnknownKey(self.key_id));
        };
        let verified = self.jws.verify(key, algorithms).map_err(WitSvidError::Jws)?;
        WitSvid::read(self.id, verified, now)
    }
}

impl WitSvid {
    /// How long after its end a token is still taken, because clocks differ (WI-6 allows up to about two minutes). There
    /// is none for `nbf`: issuers date it back.
    pub const LEEWAY: Duration = Duration::from_secs(5);

    /// The workload that [`WitSvid::holder_key`] belongs to. Whether it sent this token is another question.
    #[must_use]
    pub const fn subject(&self) -> &SpiffeId {
        &self.subject
    }

    /// The key by which the sender proves that it is the subject.
    #[must_use]
    pub const fn holder_key(&self) -> &PublicKey {
        &self.holder.key
    }

    /// The only algorithm that a proof by the holder's key may name.
    #[must_use]
    pub const fn holder_algorithm(&self) -> Algorithm {
        self.holder.algorithm
    }

    /// `exp`.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// `nbf`, if the token has one.
    #[must_use]
    pub const fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// `iat`, if the token has one: for the record, never a bound (WI-6).
    #[must_use]
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }

    /// Every claim.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    fn read(
        subject: SpiffeId,
        verified: VerifiedJws,
        now: Timestamp,
    ) -> Result<Self, WitSvidError> {
        let claims = verified.claims().clone();
        if claims.contains_key("aud") {
            return Err(WitSvidError::HasAudience);
        }
        if !claims.contains_key("exp") {
            return Err(WitSvidError::NoExpiry);
        }
        let typed: Claims = verified.into_claims().map_err(WitSvidError::Claims)?;
        let expires_at = typed.exp.timestamp();
        let past = now.duration_since(expires_at);
        if !past.is_negative() && past.unsigned_abs() >= Self::LEEWAY {
            return Err(WitSvidError::Expired(expires_at));
        }
        let not_before = typed.nbf.map(NumericDate::timestamp);
        if let Some(start) = not_before.filter(|start| *start > now) {
            return Err(WitSvidError::NotYetValid(start));
        }
        let holder = Holder::read(&claims)?;
        let issued_at = typed.iat.map(NumericDate::timestamp);
        Ok(Self { subject, holder, expires_at, not_before, issued_at, claims })
    }
}

impl Holder {
    /// Reads the `cnf` claim (RFC 7800). Members that are not understood are ignored (section 3.1).
    fn read(claims: &Map<String, Value>) -> Result<Self, WitSvidError> {
        let confirmation =
            claims.get("cnf").and_then(Value::as_object).ok_or(WitSvidError::NoHolderKey)?;
        let jwk = confirmation.get("jwk").ok_or(WitSvidError::NoHolderKey)?;
        if ["jwe", "jku"].into_iter().any(|other| confirmation.contains_key(other)) {
            return Err(WitSvidError::SeveralHolderKeys);
        }
        let Jwk { key, kid: _, key_use: _, alg } =
            Jwk::parse(jwk).map_err(WitSvidError::HolderKey)?;
        let algorithm = alg.ok_or(WitSvidError::NoHolderAlgorithm)?;
        Ok(Self { key, algorithm })
    }
}

/// The registered claims: any of them with a wrong type refuses the token.
#[derive(Deserialize)]
struct Claims {
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

impl fmt::Debug for UnverifiedWitSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedWitSvid")
            .field("id", &self.id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WitSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitSvid")
            .field("subject", &self.subject)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
