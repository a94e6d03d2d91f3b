//! `POST /v1/stop`: an agent's word to be stopped itself.
//!
//! It kills the SPIFFE ID that the request is authenticated for and nothing else, until two people lift it. Deliberately
//! absent: anybody else's SPIFFE ID; and taking it back.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::post,
};
use marque_exchange::INTENTS_API_PATH;
use marque_intent::{Denial, DenialCode, Kill, MAX_REASON_CHARS, Reason};
use marque_jose::json::{Limits, parse_object};
use serde_json::{Value, json};

use super::{
    HttpState, IntentError,
    intents::{Caller, json_body},
    problem,
    routes::Routes,
};

/// Room for a reason whose every character is escaped.
const MAX_BODY_BYTES: usize = 1024 + 12 * MAX_REASON_CHARS;
/// What the log says where the agent gives no reason.
const NO_REASON: &str = "the agent stopped itself";

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        .route(&format!("{path}{INTENTS_API_PATH}/stop"), post(stop))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::map_response(async |response: Response| {
            problem::never_stored(response)
        }))
}

async fn stop(
    State(state): State<HttpState>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) if body.is_empty() => Bytes::from_static(b"{}"),
        body => match json_body(&headers, body) {
            Ok(body) => body,
            Err(response) => return *response,
        },
    };
    let stopped = match reason(&body) {
        Ok(reason) => state.issuer.stop_self(caller, reason).await,
        Err(denial) => Err(IntentError::Denied { denial, intent: None }),
    };
    match stopped {
        Ok(kill) => Json(answer(&kill)).into_response(),
        Err(error) => problem::intent(error),
    }
}

fn answer(kill: &Kill) -> Value {
    json!({
        "stopped": kill.scope.selector(),
        "id": kill.id(),
        "kill_epoch": kill.epoch,
        "at": kill.at,
    })
}

fn reason(body: &[u8]) -> Result<Reason, Denial> {
    let limits = Limits { max_bytes: MAX_BODY_BYTES, max_depth: 2 };
    let refused = |detail: &str| Denial::new(DenialCode::InvalidRequest, detail);
    let mut members = parse_object(body, &limits).map_err(|error| refused(&error.to_string()))?;
    let reason = match members.remove("reason") {
        None => NO_REASON.to_owned(),
        Some(Value::String(text)) => text,
        Some(_) => return Err(refused("`reason` is a text")),
    };
    if !members.is_empty() {
        let detail = "a stop has the member `reason` and no other: it is of whoever asks for it";
        return Err(Denial::new(DenialCode::UnrecognisedField, detail));
    }
    Reason::new(&reason).map_err(|error| refused(&error.to_string()))
}
