//! `POST /oauth2/token`, `/oauth2/introspect`, `/oauth2/revoke` and `/oauth2/bc-authorize`: form in, JSON or a signed
//! answer out, never cached.
//!
//! Deliberately absent: what a parameter means. Only the body counts; a query is refused, so that no token is ever in a
//! URL.

use axum::{
    Extension, Json,
    body::{Bytes, HttpBody as _},
    extract::{DefaultBodyLimit, RawQuery, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::post,
};
use marque_exchange::{
    AnswerForm, BackchannelRequest, Endpoint, INTROSPECTION_MEDIA_TYPE, Introspection,
    IntrospectionRequest, MAX_FORM_BYTES, OAuthError, OAuthErrorCode, Offers, OneHeader,
    PeerCertificate, Presented, RevocationRequest, TokenRequest,
};

use super::{HttpState, negotiation::prefers, problem, routes::Routes};

const INTROSPECTION_JWT: HeaderValue = HeaderValue::from_static(INTROSPECTION_MEDIA_TYPE);

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

pub(super) fn routes(path: &str, offers: Offers) -> Routes {
    let mut routes = Routes::new()
        .route(&format!("{path}{}", Endpoint::Token.path()), post(token))
        .route(&format!("{path}{}", Endpoint::Introspection.path()), post(introspect))
        .route(&format!("{path}{}", Endpoint::Revocation.path()), post(revoke));
    let endpoint = Endpoint::BackchannelAuthentication;
    if endpoint.is_offered(&offers) {
        routes = routes.route(&format!("{path}{}", endpoint.path()), post(backchannel));
    }
    routes
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(axum::middleware::from_fn(refuse_announced_oversize))
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
    let proven = presented.dpop.is_present();
    let request = match form(query.as_deref(), &headers, body) {
        Ok(body) => TokenRequest::parse(&body, &presented),
        Err(response) => return *response,
    };
    let answered = match request {
        Ok(request) => state.issuer.token(request, presented).await,
        Err(error) => Err(error),
    };
    let response = match answered {
        Ok(response) => Json(response.expose_json()).into_response(),
        Err(error) => problem::oauth(&error),
    };
    if proven { with_nonce(response, state.issuer.dpop_nonce()) } else { response }
}

/// The answer to whoever uses DPoP carries the nonce for the next proof, whatever it says (RFC 9449 §8.2).
fn with_nonce(mut response: Response, nonce: Option<String>) -> Response {
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
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
    let signed = prefers(&headers, INTROSPECTION_MEDIA_TYPE, "application/json");
    let answered = match request {
        Ok(request) if signed => {
            state.issuer.introspect(request.answered_as(AnswerForm::Jwt), presented).await
        }
        Ok(request) => state.issuer.introspect(request, presented).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(Introspection::Json(answer)) => Json(answer).into_response(),
        Ok(Introspection::Jwt(answer)) => {
            let mut response = answer.expose_token().to_owned().into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, INTROSPECTION_JWT);
            response
        }
        Err(error) => problem::oauth(&error),
    }
}

async fn revoke(
    State(state): State<HttpState>,
    peer: Option<Extension<PeerCertificate>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let presented = presented(&headers, peer);
    let request = match form(query.as_deref(), &headers, body) {
        Ok(body) => RevocationRequest::parse(&body, &presented),
        Err(response) => return *response,
    };
    let answered = match request {
        Ok(request) => state.issuer.revoke(request, presented).await,
        Err(error) => Err(error),
    };
    match answered {
        // RFC 7009 §2.2: what was unknown is as good as revoked, and there is nothing to say.
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => problem::oauth(&error),
    }
}

async fn backchannel(
    State(state): State<HttpState>,
    peer: Option<Extension<PeerCertificate>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let presented = presented(&headers, peer);
    let request = match form(query.as_deref(), &headers, body) {
        Ok(body) => BackchannelRequest::parse(&body, &presented),
        Err(response) => return *response,
    };
    let answered = match request {
        Ok(request) => state.issuer.backchannel(request, presented).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(response) => Json(response.expose_json()).into_response(),
        // CIBA Core 13 wants 403 where RFC 6749 has 400.
        Err(error) if error.code() == OAuthErrorCode::AccessDenied => {
            problem::oauth_with_status(&error, StatusCode::FORBIDDEN)
        }
        Err(error) => problem::oauth(&error),
    }
}

/// Answers a body that says of itself that it is too large before a byte of it was read.
async fn refuse_announced_oversize(request: Request, next: Next) -> Response {
    let length = request.body().size_hint().lower();
    if usize::try_from(length).is_ok_and(|length| length <= MAX_FORM_BYTES) {
        return next.run(request).await;
    }
    let error = OAuthError::new(OAuthErrorCode::InvalidRequest, "the body is too large");
    problem::oauth_with_status(&error, StatusCode::PAYLOAD_TOO_LARGE)
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
        idempotency_key: header("idempotency-key"),
        peer: peer.map(|Extension(peer)| peer),
    }
}
