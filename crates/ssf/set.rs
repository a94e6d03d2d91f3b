//! A SET: its claims as we write them, and somebody else's, verified (RFC 8417; SSF 1.0 section 4).
//!
//! The order is fixed: size, header, shape of the claims, key, signature, and only then issuer, audience and time.

use std::time::Duration;

use jiff::Timestamp;
use marque_jose::{
    Audiences, CompactToken, JwkSet, JwsError, NumericDate, SignError, Signer, UnverifiedJws,
    present, sign_compact,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Event, EventError, Subject, SubjectError};

/// `typ` of a SET.
pub const SET_TYPE: &str = "secevent+jwt";
/// The media type of a SET.
pub const SET_MEDIA_TYPE: &str = "application/secevent+jwt";
/// The longest SET that is looked at, in bytes.
pub const MAX_SET_BYTES: usize = marque_jose::MAX_TOKEN_BYTES;
/// The longest `jti` that is taken, in bytes.
pub const MAX_JTI_BYTES: usize = 256;

/// What a SET of ours says.
#[derive(Debug, Clone, Copy)]
pub struct NewSet<'a> {
    /// Who says it.
    pub issuer: &'a str,
    /// To whom.
    pub audience: &'a str,
    /// Its name, the same however often it is sent.
    pub jti: &'a str,
    /// The name of what happened, the same in every SET about it.
    pub txn: Option<&'a str>,
    /// Whom it is about.
    pub subject: &'a Subject,
    /// What happened.
    pub event: &'a Event,
    /// When it is said.
    pub issued_at: Timestamp,
}

/// The claims of a SET of ours, as they are kept until it is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetClaims {
    iss: String,
    aud: String,
    jti: String,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    txn: Option<String>,
    sub_id: Value,
    events: Map<String, Value>,
}

/// What the receiver of a SET knows of its sender.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who sends, compared byte by byte.
    pub issuer: &'a str,
    /// Who we are to it.
    pub audience: &'a str,
    /// How long after `iat` a SET is taken.
    pub max_age: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// A SET that nobody has verified.
#[derive(Debug)]
pub struct UnverifiedSet {
    jws: UnverifiedJws,
    claims: ReadClaims,
    event: Event,
    subject: Subject,
}

/// What a SET says that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// Its name, which is used once.
    pub jti: String,
    /// When it was said.
    pub issued_at: Timestamp,
    /// What it belongs to.
    pub txn: Option<String>,
    /// Whom it is about.
    pub subject: Subject,
    /// What happened.
    pub event: Event,
}

/// Why a SET is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// It is no compact JWS of claims, or its header is refused.
    #[error("it is no signed token")]
    Jws(#[source] JwsError),
    /// Its `typ` is another than [`SET_TYPE`].
    #[error("its type is not `{SET_TYPE}`")]
    Type,
    /// A claim is missing or mistyped.
    #[error("its claims are mistyped or missing")]
    Claims(#[source] marque_jose::ClaimsError),
    /// It has `sub` or `exp`, which a SET does not have (SSF 1.0 sections 4.1.4 and 4.1.7).
    #[error("it has the claim `{0}`, which no SET has")]
    Forbidden(&'static str),
    /// Its `jti` is empty, too long or not of printable ASCII.
    #[error("its `jti` is not 1 to {MAX_JTI_BYTES} printable characters")]
    Jti,
    /// It is about another number of events than one.
    #[error("it does not have exactly one event")]
    Events,
    /// Its event is refused.
    #[error("its event is refused")]
    Event(#[source] EventError),
    /// Its subject is refused.
    #[error("its subject is refused")]
    Subject(#[source] SubjectError),
    /// Its key is not one of the issuer's.
    #[error("its issuer has no such key")]
    Key,
    /// Its signature is not its issuer's.
    #[error("its signature does not verify")]
    Signature(#[source] JwsError),
    /// Its issuer is another.
    #[error("its issuer is another")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for somebody else")]
    Audience,
    /// It is from the future, or older than SETs may be.
    #[error("it is from the future, or older than it may be")]
    Time,
}

/// What a transmitter is told (RFC 8935 section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetErrorCode {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_key`
    InvalidKey,
    /// `invalid_issuer`
    InvalidIssuer,
    /// `invalid_audience`
    InvalidAudience,
    /// `authentication_failed`
    AuthenticationFailed,
    /// `access_denied`
    AccessDenied,
}

/// The claims that are looked at. A mistyped one is an error and never absent.
#[derive(Debug, Deserialize)]
struct ReadClaims {
    iss: String,
    aud: Audiences,
    jti: String,
    iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    txn: Option<String>,
    sub_id: Value,
    events: Map<String, Value>,
}

impl SetErrorCode {
    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
            Self::AccessDenied => "access_denied",
        }
    }
}

impl SetError {
    /// What the transmitter is told.
    #[must_use]
    pub const fn code(&self) -> SetErrorCode {
        match self {
            Self::Key | Self::Signature(_) => SetErrorCode::InvalidKey,
            Self::Issuer => SetErrorCode::InvalidIssuer,
            Self::Audience => SetErrorCode::InvalidAudience,
            Self::Jws(_)
            | Self::Type
            | Self::Claims(_)
            | Self::Forbidden(_)
            | Self::Jti
            | Self::Events
            | Self::Event(_)
            | Self::Subject(_)
            | Self::Time => SetErrorCode::InvalidRequest,
        }
    }
}

impl SetClaims {
    /// The claims of a new SET.
    #[must_use]
    pub fn new(set: NewSet<'_>) -> Self {
        let event = Value::Object(set.event.members().clone());
        Self {
            iss: set.issuer.to_owned(),
            aud: set.audience.to_owned(),
            jti: set.jti.to_owned(),
            iat: set.issued_at.as_second(),
            txn: set.txn.map(ToOwned::to_owned),
            sub_id: set.subject.to_value(),
            events: Map::from_iter([(set.event.kind().uri(), event)]),
        }
    }

    /// The same, said by whoever the issuer is now: one that waited may be older than its name.
    #[must_use]
    pub fn said_by(&self, issuer: &str) -> Self {
        Self { iss: issuer.to_owned(), ..self.clone() }
    }

    /// Its name.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The SET, signed.
    ///
    /// # Errors
    /// Whatever kept the key from signing.
    pub fn sign(&self, signer: &dyn Signer) -> Result<CompactToken, SignError> {
        sign_compact(Some(SET_TYPE), self, signer)
    }
}

impl UnverifiedSet {
    /// Reads a SET as its sender wrote it.
    ///
    /// # Errors
    /// It is none, or not one of the form that the framework demands.
    pub fn parse(token: &str) -> Result<Self, SetError> {
        let jws = UnverifiedJws::parse(token).map_err(SetError::Jws)?;
        let typ = jws.header().typ().unwrap_or_default().to_ascii_lowercase();
        if typ.strip_prefix("application/").unwrap_or(&typ) != SET_TYPE {
            return Err(SetError::Type);
        }
        for forbidden in ["sub", "exp"] {
            if jws.dangerous_unverified_claims().contains_key(forbidden) {
                return Err(SetError::Forbidden(forbidden));
            }
        }
        let claims: ReadClaims = jws.dangerous_unverified_claims_as().map_err(SetError::Claims)?;
        let printable = claims.jti.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=MAX_JTI_BYTES).contains(&claims.jti.len()) || !printable {
            return Err(SetError::Jti);
        }
        let mut events = claims.events.iter();
        let (Some((uri, event)), None) = (events.next(), events.next()) else {
            return Err(SetError::Events);
        };
        let event = Event::parse(uri, event).map_err(SetError::Event)?;
        let subject = Subject::parse(&claims.sub_id).map_err(SetError::Subject)?;
        Ok(Self { jws, claims, event, subject })
    }

    /// Whom it says it is about; nobody has verified that.
    #[must_use]
    pub const fn dangerous_unverified_subject(&self) -> &Subject {
        &self.subject
    }

    /// What it says has happened; nobody has verified that.
    #[must_use]
    pub const fn dangerous_unverified_event(&self) -> &Event {
        &self.event
    }

    /// Verifies it with the keys of the sender that is expected.
    ///
    /// # Errors
    /// See [`SetError`].
    pub fn verify(
        self,
        expected: &Expected<'_>,
        keys: &JwkSet,
        now: Timestamp,
    ) -> Result<SecurityEvent, SetError> {
        let Self { jws, claims, event, subject } = self;
        let key = jws.header().kid().and_then(|kid| keys.find(kid));
        let key = key.filter(|key| key.key_use.as_deref().is_none_or(|usage| usage == "sig"));
        let key = key.ok_or(SetError::Key)?;
        jws.verify(&key.key, key.algorithms()).map_err(SetError::Signature)?;
        if claims.iss != expected.issuer {
            return Err(SetError::Issuer);
        }
        if !claims.aud.contains(expected.audience) {
            return Err(SetError::Audience);
        }
        let later = |at: Timestamp, by: Duration| at.saturating_add(by).unwrap_or(Timestamp::MAX);
        let issued_at = claims.iat.timestamp();
        let until = later(later(issued_at, expected.max_age), expected.leeway);
        if issued_at > later(now, expected.leeway) || now >= until {
            return Err(SetError::Time);
        }
        Ok(SecurityEvent { jti: claims.jti, issued_at, txn: claims.txn, subject, event })
    }
}

#[cfg(test)]
mod tests;
