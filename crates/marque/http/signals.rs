//! Shared signals at the edge: SETs that are pushed to us (RFC 8935), those that receivers fetch (RFC 8936), and the
//! metadata of a transmitter (SSF 1.0 section 7.1).
//!
//! A refusal has the form and the status that the RFCs give it: 400, and a JSON object with `err`; and 401 for a receiver
//! that nobody knows. Absent: what a SET says.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use marque_ssf::{MAX_SET_BYTES, SET_MEDIA_TYPE, SetErrorCode};
use serde_json::json;

use super::{
    HttpState, discovery::CACHED, intents::bearer, is_media_type, problem, routes::Routes,
};
use crate::ssf::{
    CONFIGURATION_PATH, EVENTS_PATH, MAX_POLL_BYTES, POLL_PATH, PollRequest, ReceiveError,
};

/// How long a transmitter waits that stopped too many.
const RETRY_AFTER_TOO_MANY_S: u64 = 60;
/// How long a transmitter waits where we are not able to keep what it says.
const RETRY_AFTER_S: u64 = 5;

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        .route(&format!("{path}{EVENTS_PATH}/{{name}}"), post(receive))
        .layer(DefaultBodyLimit::max(MAX_SET_BYTES))
        .merge(
            Routes::new()
                .route(&format!("{path}{POLL_PATH}/{{name}}"), post(poll))
                .layer(DefaultBodyLimit::max(MAX_POLL_BYTES)),
        )
        .layer(axum::middleware::map_response(async |response: Response| {
            problem::never_stored(response)
        }))
        .merge(Routes::new().route(&format!("{CONFIGURATION_PATH}{path}"), get(configuration)))
}

async fn configuration(State(state): State<HttpState>) -> Response {
    let Some(signals) = state.issuer.signals() else { return nothing() };
    let mut response = Json(signals.configuration()).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}

async fn receive(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(signals) = state.issuer.signals() else { return nothing() };
    let invalid = |description| refused(SetErrorCode::InvalidRequest, description);
    if !is_media_type(&headers, SET_MEDIA_TYPE) {
        return invalid("the body is application/secevent+jwt");
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return not_read(&rejection),
    };
    let Ok(set) = std::str::from_utf8(&body) else { return invalid("the body is one SET") };
    match signals.receive(&name, bearer(&headers), set).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => not_taken(&error),
    }
}

async fn poll(
    State(state): State<HttpState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(signals) = state.issuer.signals() else { return nothing() };
    let invalid = |description| refused(SetErrorCode::InvalidRequest, description);
    if !is_media_type(&headers, "application/json") {
        return invalid("the body is application/json");
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return not_read(&rejection),
    };
    let Ok(request) = PollRequest::parse(&body) else {
        return invalid("the body is a JSON object with the members of RFC 8936");
    };
    match signals.poll(&name, bearer(&headers), &request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(ReceiveError::Unauthenticated) => unauthenticated(),
        Err(error) => not_taken(&error),
    }
}

/// RFC 8936 has no code for it: that is for HTTP to say (RFC 6750 section 3).
fn unauthenticated() -> Response {
    tracing::info!("somebody who is not known asks for shared signals");
    let title = "no stream of this name that is fetched has this bearer token";
    let mut response = problem::plain(StatusCode::UNAUTHORIZED, title);
    let challenge = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn nothing() -> Response {
    problem::plain(StatusCode::NOT_FOUND, "there is nothing here")
}

fn not_read(rejection: &BytesRejection) -> Response {
    problem::plain(rejection.status(), "the body could not be read")
}

fn not_taken(error: &ReceiveError) -> Response {
    let told = error as &dyn std::error::Error;
    let Some(code) = error.code() else {
        tracing::error!(error = told, "a shared signal was not taken");
        let (title, wait) = match error {
            ReceiveError::TooMany(_) => {
                ("too many were stopped; send it again", RETRY_AFTER_TOO_MANY_S)
            }
            _ => ("it could not be kept; send it again", RETRY_AFTER_S),
        };
        let mut response =
            problem::coded(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", title);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
        return response;
    };
    tracing::info!(error = told, "a shared signal was refused");
    let description = match error {
        // Which rule of ours is broken says nothing about anybody else.
        ReceiveError::Refused(why) => why.to_string(),
        ReceiveError::Unauthenticated
        | ReceiveError::StaleKeys
        | ReceiveError::TooMany(_)
        | ReceiveError::Unavailable(_) => {
            "no transmitter or receiver of this name has this bearer token".to_owned()
        }
    };
    refused(code, &description)
}

/// RFC 8935 section 2.3.
fn refused(code: SetErrorCode, description: &str) -> Response {
    let body = json!({ "err": code.as_str(), "description": description });
    let language = [(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"))];
    (StatusCode::BAD_REQUEST, language, Json(body)).into_response()
}
