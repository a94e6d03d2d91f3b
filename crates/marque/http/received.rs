//! What the APIs of intents and approvals read of a request in the same way.
//!
//! Absent: what a body means.

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use marque_intent::{Denial, DenialCode, IdempotencyKey};

use super::problem;

/// The body of a request that says that it is JSON; else 415, or what the rejection says.
pub(super) fn json_body(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, Box<Response>> {
    if !super::is_media_type(headers, "application/json") {
        let title = "the body is application/json";
        return Err(Box::new(problem::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, title)));
    }
    body.map_err(|rejection| {
        Box::new(problem::plain(rejection.status(), "the body could not be read"))
    })
}

/// The key that makes a retry safe, where there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Denial> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        (1..=IdempotencyKey::MAX_LEN).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let detail = "an idempotency key is one header of 1 to 128 printable ASCII characters";
            Err(Denial::new(DenialCode::InvalidRequest, detail))
        }
    }
}
