//! A form request as the endpoints of the token service read it: `POST` of a form and nothing else, within limits, with
//! whatever came beside it.
//!
//! Deliberately absent: what a parameter means, and answers. Only the body counts; a query is refused, so that no token is
//! ever in a URL.

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use marque_exchange::{
    BackchannelRequest, IntrospectionRequest, MAX_FORM_BYTES, OAuthError, OAuthErrorCode,
    OneHeader, PeerCertificate, Presented, RevocationRequest, TokenRequest,
};

use super::{HttpState, is_media_type, problem};

/// The header with a DPoP proof (RFC 9449 §4.1).
pub(super) const DPOP: &str = "dpop";
/// The header with a client attestation, and the one with the proof for it
/// (draft-ietf-oauth-attestation-based-client-auth-10, section 8).
pub(super) const CLIENT_ATTESTATION: [&str; 2] =
    ["oauth-client-attestation", "oauth-client-attestation-pop"];

/// What is asked of one endpoint, and what came beside the form.
#[derive(Debug)]
pub(super) struct Asked<T> {
    pub(super) request: T,
    pub(super) presented: Presented,
    pub(super) headers: HeaderMap,
}

/// The parameters that one endpoint takes.
pub(super) trait Parameters: Sized {
    /// Reads a form.
    fn read(form: &[u8], presented: &Presented) -> Result<Self, OAuthError>;
}

impl Parameters for TokenRequest {
    fn read(form: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        Self::parse(form, presented)
    }
}

impl Parameters for IntrospectionRequest {
    fn read(form: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        Self::parse(form, presented)
    }
}

impl Parameters for RevocationRequest {
    fn read(form: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        Self::parse(form, presented)
    }
}

impl Parameters for BackchannelRequest {
    fn read(form: &[u8], presented: &Presented) -> Result<Self, OAuthError> {
        Self::parse(form, presented)
    }
}

/// Why an endpoint of the token service refuses, and with which status, where HTTP knows better than OAuth.
#[derive(Debug)]
pub(super) struct Refused {
    error: OAuthError,
    status: Option<StatusCode>,
}

impl Refused {
    /// A body past the limit.
    pub(super) fn too_large() -> Self {
        Self::at(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
    }

    /// The same refusal with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    fn at(status: StatusCode, description: &'static str) -> Self {
        Self::from(invalid(description)).with_status(status)
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self { error, status: None }
    }
}

impl From<BytesRejection> for Refused {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(),
            status => Self {
                error: invalid("the body could not be read").with_source(rejection),
                status: Some(status),
            },
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self.status {
            Some(status) => problem::oauth_with_status(&self.error, status),
            None => problem::oauth(&self.error),
        }
    }
}

impl<T: Parameters> FromRequest<HttpState> for Asked<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        is_form(&parts)?;
        let presented = presented(&parts);
        let headers = std::mem::take(&mut parts.headers);
        let form = Bytes::from_request(Request::from_parts(parts, body), state).await?;
        let request = T::read(&form, &presented)?;
        Ok(Self { request, presented, headers })
    }
}

/// Whether a body says of itself that it is too large, before a byte of it was read.
pub(super) fn announces_too_much(request: &Request) -> bool {
    let length = request.body().size_hint().lower();
    !usize::try_from(length).is_ok_and(|length| length <= MAX_FORM_BYTES)
}

/// Whether there is one body, and it says that it is a form.
fn is_form(parts: &Parts) -> Result<(), OAuthError> {
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(invalid("parameters belong in the body"));
    }
    if !is_media_type(&parts.headers, "application/x-www-form-urlencoded") {
        return Err(invalid("the body is application/x-www-form-urlencoded"));
    }
    Ok(())
}

/// What came beside the body.
fn presented(parts: &Parts) -> Presented {
    let header = |name: &str| {
        let values = parts.headers.get_all(name).iter();
        OneHeader::of(values.map(|value| value.to_str().ok()))
    };
    let [client_attestation, client_attestation_pop] = CLIENT_ATTESTATION.map(header);
    Presented {
        authorization: header("authorization"),
        dpop: header(DPOP),
        client_attestation,
        client_attestation_pop,
        workload_identity_token: header("workload-identity-token"),
        workload_proof_token: header("workload-proof-token"),
        idempotency_key: header("idempotency-key"),
        peer: parts.extensions.get::<PeerCertificate>().cloned(),
    }
}

const fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidRequest, description)
}
