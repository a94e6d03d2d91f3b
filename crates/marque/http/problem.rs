//! Errors become answers here and nowhere else: OAuth errors, problem documents (RFC 9457), plain refusals.
//!
//! Callers learn stable codes; the reasons go to the log. Deliberately absent: any text that a caller sent.

use std::{any::Any, error::Error};

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use marque_exchange::{IssuerUrl, OAuthError, OAuthErrorCode, TokenService};
use marque_intent::{Denial, DenialCode};
use serde_json::json;

use super::IntentError;

/// The media type of a problem document.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const PRAGMA: HeaderName = header::PRAGMA;

/// What the challenge says of a JWT-SVID that is not accepted at the intents API (RFC 6750 §3).
const INVALID_TOKEN: &str = ", error=\"invalid_token\"";

/// Why the bearer of a request is not known.
#[derive(Debug)]
pub(super) enum Unauthenticated {
    /// There is no `Authorization` header, or not exactly one bearer token in it.
    NoBearer,
    /// The token is refused.
    Refused(OAuthError),
}

/// The answer of the token endpoint and of introspection to a refusal.
pub(super) fn oauth(error: &OAuthError) -> Response {
    oauth_with_status(error, status(error.http_status()))
}

/// Like [`oauth`], where HTTP knows better what is wrong.
pub(super) fn oauth_with_status(error: &OAuthError, status: StatusCode) -> Response {
    match error.code() {
        OAuthErrorCode::ServerError | OAuthErrorCode::TemporarilyUnavailable => {
            tracing::error!(error = error as &dyn Error, "a token request failed");
        }
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
        | OAuthErrorCode::ExpiredToken
        | OAuthErrorCode::UnknownUserId
        | OAuthErrorCode::InvalidBindingMessage => {
            tracing::info!(error = error as &dyn Error, "a token request was refused");
        }
        // Clients poll; that is no news.
        OAuthErrorCode::AuthorizationPending | OAuthErrorCode::SlowDown => {
            tracing::debug!(error = error as &dyn Error, "a token request waits");
        }
    }
    let mut response = (status, Json(error.to_json())).into_response();
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    if let Some(challenge) = error.challenge() {
        let value = HeaderValue::from_static(challenge.header_value());
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    never_stored(response)
}

/// The answer of the intents API to a refusal.
pub(super) fn intent(error: IntentError) -> Response {
    match error {
        IntentError::Denied { denial, intent } => {
            tracing::info!(%denial, "an intent was refused");
            let problem = denial.to_problem();
            let problem = match intent {
                Some(id) => problem.about(id),
                None => problem,
            };
            denied(status(problem.status), &problem)
        }
        // The same code that the token endpoint has for an intent that is unknown or somebody else's.
        IntentError::NotFound => {
            let mut problem = Denial::new(DenialCode::GrantNotBoundToSession, "").to_problem();
            problem.status = StatusCode::NOT_FOUND.as_u16();
            denied(StatusCode::NOT_FOUND, &problem)
        }
        IntentError::Unavailable(source) => {
            tracing::error!(error = &*source as &dyn Error, "an intent could not be kept");
            let problem = Denial::new(DenialCode::AuditUnavailable, "").to_problem();
            denied(StatusCode::SERVICE_UNAVAILABLE, &problem)
        }
    }
}

/// The answer of the intents API to a caller that it does not know, with the way to its metadata (RFC 9728 §5.1).
pub(super) fn unauthenticated(issuer: &IssuerUrl, reason: &Unauthenticated) -> Response {
    let (error, title) = match reason {
        Unauthenticated::NoBearer => ("", "a JWT-SVID for the issuer is needed as bearer token"),
        Unauthenticated::Refused(error) => {
            tracing::info!(error = error as &dyn Error, "a bearer was refused");
            // The other environment's SVID is told so: it is a valid SVID at the wrong door.
            if let Some(code) = error.denial() {
                return intent(IntentError::Denied { denial: Denial::new(code, ""), intent: None });
            }
            (INVALID_TOKEN, "the JWT-SVID is not accepted")
        }
    };
    let metadata = TokenService::resource_metadata_url(issuer);
    let challenge = format!("Bearer realm=\"marque\"{error}, resource_metadata=\"{metadata}\"");
    let mut response = plain(StatusCode::UNAUTHORIZED, title);
    // An issuer URL has no character that a header could not have.
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A problem without a code of ours.
pub(super) fn plain(status: StatusCode, title: &'static str) -> Response {
    problem(status, &json!({"type": "about:blank", "title": title, "status": status.as_u16()}))
}

/// A problem with a stable code that is in no table of denials.
pub(super) fn coded(status: StatusCode, code: &'static str, title: &'static str) -> Response {
    let document = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "code": code,
    });
    problem(status, &document)
}

/// The answer where a handler panicked: nothing of the panic but that.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer calls")]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message, "a request handler panicked");
    plain(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be served")
}

/// Keeps an answer out of every cache (RFC 6749 §5.1).
pub(super) fn never_stored(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, super::NO_STORE);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn denied(status: StatusCode, document: &marque_intent::Problem) -> Response {
    let mut response = problem(status, document);
    if let Some(after) = document.retry.after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
    }
    response
}

fn problem(status: StatusCode, document: &impl serde::Serialize) -> Response {
    let body = match serde_json::to_vec(document) {
        Ok(body) => Body::from(body),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn Error,
                "a problem document could not be written"
            );
            Body::empty()
        }
    };
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
    never_stored(response)
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
