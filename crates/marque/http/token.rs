//! `POST /oauth2/token` and `POST /oauth2/introspect`: form in, JSON out, never cached.
//!
//! Deliberately absent: what a parameter means. Only the body counts; a query is refused, so that no token is ever in a
//! URL.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use marque_exchange::{
    Endpoint, IntrospectionRequest, MAX_FORM_BYTES, OAuthError, OAuthErrorCode, OneHeader,
    PeerCertificate, Presented, TokenRequest,
};

use super::{HttpState, problem};

pub(super) fn routes(path: &str) -> Router<HttpState> {
    Router::new()
        .route(&format!("{path}{}", Endpoint::Token.path()), post(token))
        .route(&format!("{path}{}", Endpoint::Introspection.path()), post(introspect))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(axum::middleware::map_response(async |response: Response| {
            problem::never_stored(response)
        }))
}

async fn token(
    State(state): State<HttpState>,
    peer: Option<Extension<PeerCertificate>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let presented = presented(&headers, peer);
    let request = match form(query.as_deref(), &headers, body) {
        Ok(body) => TokenRequest::parse(&body, &presented),
        Err(response) => return *response,
    };
    let answered = match request {
        Ok(request) => state.issuer.token(request, presented).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(response) => Json(response.expose_json()).into_response(),
        Err(error) => problem::oauth(&error),
    }
}

async fn introspect(
    State(state): State<HttpState>,
    peer: Option<Extension<PeerCertificate>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let presented = presented(&headers, peer);
    let request = match form(query.as_deref(), &headers, body) {
        Ok(body) => IntrospectionRequest::parse(&body, &presented),
        Err(response) => return *response,
    };
    let answered = match request {
        Ok(request) => state.issuer.introspect(request, presented).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => problem::oauth(&error),
    }
}

/// The body of a request that is a form and nothing else.
fn form(
    query: Option<&str>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, Box<Response>> {
    let invalid = |description| OAuthError::new(OAuthErrorCode::InvalidRequest, description);
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(Box::new(problem::oauth(&invalid("parameters belong in the body"))));
    }
    if !super::is_media_type(headers, "application/x-www-form-urlencoded") {
        return Err(Box::new(problem::oauth(&invalid(
            "the body is application/x-www-form-urlencoded",
        ))));
    }
    body.map_err(|rejection| {
        let status = rejection.status();
        let description = if status == StatusCode::PAYLOAD_TOO_LARGE {
            "the body is too large"
        } else {
            "the body could not be read"
        };
        Box::new(problem::oauth_with_status(&invalid(description).with_source(rejection), status))
    })
}

/// What came beside the body.
fn presented(headers: &HeaderMap, peer: Option<Extension<PeerCertificate>>) -> Presented {
    let header =
        |name: &str| OneHeader::of(headers.get_all(name).iter().map(|value| value.to_str().ok()));
    Presented {
        authorization: header("authorization"),
        dpop: header("dpop"),
        client_attestation: header("oauth-client-attestation"),
        client_attestation_pop: header("oauth-client-attestation-pop"),
        workload_identity_token: header("workload-identity-token"),
        workload_proof_token: header("workload-proof-token"),
        peer: peer.map(|Extension(peer)| peer),
    }
}
