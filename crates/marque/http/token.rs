//! `POST /oauth2/token`, `/oauth2/introspect`, `/oauth2/revoke`, `/oauth2/bc-authorize` and `/oauth2/challenge`: form in,
//! JSON or a signed answer out, never cached.
//!
//! Deliberately absent: how a form is read (`asked.rs`), and what a parameter means.

use axum::{
    Json,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, post},
};
use marque_exchange::{
    AnswerForm, BackchannelRequest, Endpoint, INTROSPECTION_MEDIA_TYPE, Introspection,
    IntrospectionRequest, MAX_FORM_BYTES, OAuthError, OAuthErrorCode, RevocationRequest,
    TokenRequest,
};
use serde_json::{Value, json};

use super::{
    HttpState,
    asked::{Asked, CLIENT_ATTESTATION, DPOP, Refused, announces_too_much},
    negotiation::prefers,
    problem,
    routes::Routes,
};

const INTROSPECTION_JWT: HeaderValue = HeaderValue::from_static(INTROSPECTION_MEDIA_TYPE);

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const ATTESTATION_CHALLENGE: HeaderName =
    HeaderName::from_static("oauth-client-attestation-challenge");

pub(super) fn routes(path: &str, state: &HttpState) -> Routes {
    let endpoints: [(Endpoint, MethodRouter<HttpState>); 5] = [
        (Endpoint::Token, post(token)),
        (Endpoint::Introspection, post(introspect)),
        (Endpoint::Revocation, post(revoke)),
        (Endpoint::BackchannelAuthentication, post(backchannel)),
        (Endpoint::AttestationChallenge, post(challenge)),
    ];
    let offered = endpoints.into_iter().filter(|(one, _)| one.is_offered(state.issuer.offers()));
    offered
        .fold(Routes::new(), |routes, (endpoint, methods)| {
            routes.route(&format!("{path}{}", endpoint.path()), methods)
        })
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(axum::middleware::from_fn_with_state(state.clone(), around))
}

/// What holds for every request and answer here: nothing that announces too much is read, nothing is ever stored, and
/// whoever sends proofs is told what to put into the next ones, whatever became of these (RFC 9449 §8.2).
async fn around(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let [proven, attested] = [&[DPOP][..], &CLIENT_ATTESTATION]
        .map(|names| names.iter().any(|name| request.headers().contains_key(*name)));
    let mut response = if announces_too_much(&request) {
        Refused::too_large().into_response()
    } else {
        next.run(request).await
    };
    let nonce = proven.then(|| state.issuer.dpop_nonce()).flatten();
    let challenge = attested.then(|| state.issuer.attestation_challenge()).flatten();
    for (name, value) in [(DPOP_NONCE, nonce), (ATTESTATION_CHALLENGE, challenge)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    problem::never_stored(response)
}

async fn token(
    State(state): State<HttpState>,
    Asked { request, presented, .. }: Asked<TokenRequest>,
) -> Result<Json<Value>, Refused> {
    let response = state.issuer.token(request, presented).await?;
    Ok(Json(response.expose_json()))
}

async fn introspect(
    State(state): State<HttpState>,
    Asked { request, presented, headers }: Asked<IntrospectionRequest>,
) -> Result<Response, Refused> {
    let signed = prefers(&headers, INTROSPECTION_MEDIA_TYPE, "application/json");
    let request = if signed { request.answered_as(AnswerForm::Jwt) } else { request };
    Ok(match state.issuer.introspect(request, presented).await? {
        Introspection::Json(answer) => Json(answer).into_response(),
        Introspection::Jwt(answer) => {
            let mut response = answer.expose_token().to_owned().into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, INTROSPECTION_JWT);
            response
        }
    })
}

async fn revoke(
    State(state): State<HttpState>,
    Asked { request, presented, .. }: Asked<RevocationRequest>,
) -> Result<StatusCode, Refused> {
    // RFC 7009 §2.2: what was unknown is as good as revoked, and there is nothing to say.
    state.issuer.revoke(request, presented).await?;
    Ok(StatusCode::OK)
}

async fn backchannel(
    State(state): State<HttpState>,
    Asked { request, presented, .. }: Asked<BackchannelRequest>,
) -> Result<Json<Value>, Refused> {
    match state.issuer.backchannel(request, presented).await {
        Ok(response) => Ok(Json(response.expose_json())),
        // CIBA Core 13 wants 403 where RFC 6749 has 400.
        Err(error) if error.code() == OAuthErrorCode::AccessDenied => {
            Err(Refused::from(error).with_status(StatusCode::FORBIDDEN))
        }
        Err(error) => Err(error.into()),
    }
}

/// A challenge for the next proof beside a client attestation, for whoever asks
/// (draft-ietf-oauth-attestation-based-client-auth-10, section 6.1). Nothing of the request is read.
async fn challenge(State(state): State<HttpState>) -> Result<Json<Value>, Refused> {
    let challenge = state.issuer.attestation_challenge();
    let challenge = challenge.ok_or(OAuthError::new(
        OAuthErrorCode::ServerError,
        "there are no challenges where nobody can use one",
    ))?;
    Ok(Json(json!({ "attestation_challenge": challenge })))
}
