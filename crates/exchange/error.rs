//! What the token endpoint says when it refuses (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2, RFC 9396 §5).
//!
//! An [`OAuthError`] has two readers: the client learns a code from a fixed list, a sentence that is a constant of this
//! program (so that no answer ever echoes input) and, where an intent is refused, the denial's stable code; operators
//! learn the source from the log. Deliberately absent: HTTP types.

use std::{error::Error, fmt, time::Duration};

use marque_intent::{DENIALS_PAGE, Denial, DenialCode, DenialId, IntentId, ProblemRetry};
use serde_json::{Map, Value};

use crate::DeferralCode;

/// The error codes of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthErrorCode {
    /// Malformed, repeated or missing parameters; also a subject or actor token that is unacceptable for any reason.
    InvalidRequest,
    /// The client could not be authenticated.
    InvalidClient,
    /// The client attestation or the proof of possession beside it is refused
    /// (draft-ietf-oauth-attestation-based-client-auth-10, section 9.4).
    InvalidClientAttestation,
    /// The proof of possession lacks a challenge of ours, or has one that is too old; the answer carries a new one.
    UseAttestationChallenge,
    /// The DPoP proof is malformed, not for this request, too old, or was shown before (RFC 9449 §5).
    InvalidDpopProof,
    /// The DPoP proof needs the nonce that comes with the answer (RFC 9449 §8).
    UseDpopNonce,
    /// The client is known and may not use this grant type.
    UnauthorizedClient,
    /// Another grant type than token exchange.
    UnsupportedGrantType,
    /// The scope is malformed or wider than what was granted.
    InvalidScope,
    /// The audience or resource is malformed, unknown or outside of what was granted.
    InvalidTarget,
    /// The authorization details are malformed or of an unknown type.
    InvalidAuthorizationDetails,
    /// What was granted does not cover it; a request with more details may.
    InsufficientAuthorizationDetails,
    /// The token is of a kind that cannot be revoked here (RFC 7009 §2.2.1).
    UnsupportedTokenType,
    /// The intent does not permit a token, now or at all; [`OAuthError::denial`] says why.
    AccessDenied,
    /// A code is unknown, another client's, or spent.
    InvalidGrant,
    /// The request waits for an approver; with [`OAuthError::deferred`] it is the answer that defers.
    AuthorizationPending,
    /// The client polls faster than it may, and waits five seconds longer from now on.
    SlowDown,
    /// The code has ended, or nobody decided in time.
    ExpiredToken,
    /// The hint names nobody who may approve (CIBA Core 13).
    UnknownUserId,
    /// The binding message is too long or not plain (CIBA Core 13).
    InvalidBindingMessage,
    /// A fault of ours.
    ServerError,
    /// Storage or signing is out of reach; nothing was issued.
    TemporarilyUnavailable,
}

impl OAuthErrorCode {
    /// Every code.
    pub const ALL: [Self; 22] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidClientAttestation,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::UseAttestationChallenge,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::InvalidAuthorizationDetails,
        Self::InsufficientAuthorizationDetails,
        Self::UnsupportedTokenType,
        Self::AccessDenied,
        Self::InvalidGrant,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::UnknownUserId,
        Self::InvalidBindingMessage,
        Self::ServerError,
        Self::TemporarilyUnavailable,
    ];

    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidClientAttestation => "invalid_client_attestation",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::UseAttestationChallenge => "use_attestation_challenge",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InsufficientAuthorizationDetails => "insufficient_authorization_details",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::AccessDenied => "access_denied",
            Self::InvalidGrant => "invalid_grant",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::UnknownUserId => "unknown_user_id",
            Self::InvalidBindingMessage => "invalid_binding_message",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// How a client that tried the `Authorization` header is told which scheme failed (RFC 6749 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Challenge {
    /// The client sent `Basic`.
    Basic,
    /// The client sent `Bearer` or something else.
    Bearer,
}

impl Challenge {
    /// The value of `WWW-Authenticate`.
    pub const fn header_value(self) -> &'static str {
        match self {
            Self::Basic => "Basic realm=\"marque\"",
            Self::Bearer => "Bearer realm=\"marque\"",
        }
    }
}

/// A refusal of the token service.
pub struct OAuthError {
    code: OAuthErrorCode,
    description: &'static str,
    denial: Option<DenialCode>,
    told: Option<Box<Told>>,
    challenge: Option<Challenge>,
    deferred: Option<Box<Deferred>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What is known of one refusal beyond its code.
#[derive(Debug)]
struct Told {
    retry: ProblemRetry,
    request: Option<DenialId>,
    /// The intent that it is about.
    about: Option<IntentId>,
}

/// What the answer that defers carries beside its error: how to collect the token.
#[derive(Debug)]
pub struct Deferred {
    /// What to poll with.
    pub code: DeferralCode,
    /// How long it is good.
    pub expires_in: Duration,
    /// How long to wait between two polls.
    pub interval: Duration,
    /// The intent that waits.
    pub intent: IntentId,
}

impl OAuthError {
    /// A refusal. The description is for developers: `%x20-21 / %x23-5B / %x5D-7E` only.
    pub const fn new(code: OAuthErrorCode, description: &'static str) -> Self {
        Self {
            code,
            description,
            denial: None,
            told: None,
            challenge: None,
            deferred: None,
            source: None,
        }
    }

    /// Adds why the intent does not permit it.
    #[must_use]
    pub fn with_denial(mut self, denial: DenialCode) -> Self {
        self.denial = Some(denial);
        self
    }

    /// Adds why the intent does not permit it, with how long to wait, what operators find it by, and which intent it is about.
    #[must_use]
    pub fn with_refusal(mut self, denial: &Denial) -> Self {
        self.told = Some(Box::new(Told {
            retry: denial.retry().into(),
            request: denial.record().cloned(),
            about: denial.subject().cloned(),
        }));
        self.with_denial(denial.code())
    }

    /// How long to wait before another try, where that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry()?.after_s.map(Duration::from_secs)
    }

    fn retry(&self) -> Option<ProblemRetry> {
        let of_code = || self.denial.map(ProblemRetry::of);
        self.told.as_ref().map(|told| told.retry).or_else(of_code)
    }

    /// Adds the challenge for the `Authorization` header that the client sent.
    #[must_use]
    pub fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Adds how to collect the token.
    #[must_use]
    pub fn with_deferred(mut self, deferred: Deferred) -> Self {
        self.deferred = Some(Box::new(deferred));
        self
    }

    /// Adds what operators should know.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The code.
    pub const fn code(&self) -> OAuthErrorCode {
        self.code
    }

    /// The sentence for developers.
    pub const fn description(&self) -> &'static str {
        self.description
    }

    /// Why the intent does not permit it, when an intent or the firebreak is what refused.
    pub const fn denial(&self) -> Option<DenialCode> {
        self.denial
    }

    /// How to collect the token, in the answer that defers.
    pub fn deferred(&self) -> Option<&Deferred> {
        self.deferred.as_deref()
    }

    /// The challenge to send, when the client used the `Authorization` header.
    pub const fn challenge(&self) -> Option<Challenge> {
        self.challenge
    }

    /// The HTTP status: 400, but 401 with a challenge when the client used the `Authorization` header (RFC 6749 §5.2),
    /// and 500 or 503 for our own faults. A failed assertion in the body stays 400: HTTP wants a challenge with every
    /// 401, and there is none to name for it.
    pub const fn http_status(&self) -> u16 {
        match (self.code, self.challenge) {
            (OAuthErrorCode::ServerError, _) => 500,
            (OAuthErrorCode::TemporarilyUnavailable, _) => 503,
            (OAuthErrorCode::InvalidClient, Some(_)) => 401,
            (
                OAuthErrorCode::InvalidRequest
                | OAuthErrorCode::InvalidClient
                | OAuthErrorCode::InvalidClientAttestation
                | OAuthErrorCode::InvalidDpopProof
                | OAuthErrorCode::UseDpopNonce
                | OAuthErrorCode::UseAttestationChallenge
                | OAuthErrorCode::UnauthorizedClient
                | OAuthErrorCode::UnsupportedGrantType
                | OAuthErrorCode::InvalidScope
                | OAuthErrorCode::InvalidTarget
                | OAuthErrorCode::InvalidAuthorizationDetails
                | OAuthErrorCode::InsufficientAuthorizationDetails
                | OAuthErrorCode::UnsupportedTokenType
                | OAuthErrorCode::AccessDenied
                | OAuthErrorCode::InvalidGrant
                | OAuthErrorCode::AuthorizationPending
                | OAuthErrorCode::SlowDown
                | OAuthErrorCode::ExpiredToken
                | OAuthErrorCode::UnknownUserId
                | OAuthErrorCode::InvalidBindingMessage,
                _,
            ) => 400,
        }
    }

    /// The answer's body: `error`, `error_description` and, with a denial, the extension members `code`, `class`,
    /// `retry` and `doc`, with `request_id` and `intent_id` where there are such; in the answer that defers `deferral_code`, `expires_in` and `interval`, in seconds, and `intent_id`. That one
    /// holds the code: it is for the wire and for nothing else.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert("error".to_owned(), self.code.as_str().into());
        members.insert("error_description".to_owned(), self.description.into());
        if let Some(code) = self.denial {
            members.insert("code".to_owned(), code.as_str().into());
            members.insert("class".to_owned(), code.class().as_str().into());
            let retry = serde_json::to_value(self.retry()).unwrap_or_default();
            members.insert("retry".to_owned(), retry);
            members.insert("doc".to_owned(), format!("{DENIALS_PAGE}#{code}").into());
        }
        if let Some(Told { retry: _, request, about }) = self.told.as_deref() {
            let request = request.as_ref().map(|id| ("request_id", id.as_str()));
            let about = about.as_ref().map(|id| ("intent_id", id.as_str()));
            let named = request.into_iter().chain(about);
            members.extend(named.map(|(name, id)| (name.to_owned(), id.into())));
        }
        if let Some(Deferred { code, expires_in, interval, intent }) = self.deferred() {
            members.insert("deferral_code".to_owned(), code.expose_code().into());
            members.insert("expires_in".to_owned(), expires_in.as_secs().into());
            members.insert("interval".to_owned(), interval.as_secs().into());
            members.insert("intent_id".to_owned(), intent.as_str().into());
        }
        Value::Object(members)
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)?;
        if let Some(denial) = self.denial {
            write!(f, " ({})", denial.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthError")
            .field("code", &self.code)
            .field("description", &self.description)
            .field("denial", &self.denial)
            .field("challenge", &self.challenge)
            .field("deferred", &self.deferred)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for OAuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_about_an_intent_carries_code_class_and_retry() {
        let error = OAuthError::new(OAuthErrorCode::AccessDenied, "waiting")
            .with_denial(DenialCode::ApprovalPending);
        let json = error.to_json();
        assert_eq!(json["error"], "access_denied");
        assert_eq!(json["code"], "approval_pending");
        assert_eq!(json["class"], "approval");
        assert_eq!(json["retry"]["allowed"], true);
        assert_eq!(error.http_status(), 400);
    }

    #[test]
    fn a_plain_refusal_has_two_members_only() {
        let json = OAuthError::new(OAuthErrorCode::InvalidRequest, "no").to_json();
        assert_eq!(
            json,
            serde_json::json!({"error": "invalid_request", "error_description": "no"})
        );
    }

    #[test]
    fn only_a_failed_authorization_header_answers_401() {
        for code in OAuthErrorCode::ALL {
            let status = OAuthError::new(code, "x").http_status();
            assert_ne!(status, 401, "{}", code.as_str());
        }
        let error =
            OAuthError::new(OAuthErrorCode::InvalidClient, "x").with_challenge(Challenge::Basic);
        assert_eq!(error.http_status(), 401);
    }

    #[test]
    fn codes_are_distinct_on_the_wire() {
        let codes: std::collections::BTreeSet<_> =
            OAuthErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), OAuthErrorCode::ALL.len());
    }
}
