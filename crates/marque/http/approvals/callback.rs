//! Signed callbacks in: an integration passes on what one of its users decided.
//!
//! Absent: signatures, and who a user is.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use marque_intent::{Denial, DenialCode, IntentId};
use serde_json::{Map, Value, json};

use super::{
    Offered, PATH, Routes, approval, denied, one, problem, read, received, refusal, refused, text,
};
use crate::approvers::{CallbackError, CallbackHeaders, DecisionError, Word};

pub(super) fn routes(path: &str) -> Routes {
    Routes::new().route(&format!("{path}{PATH}/callback/{{name}}"), post(callback))
}

struct Decision {
    user: String,
    intent: IntentId,
    word: Word,
}

async fn callback(
    Offered(approvers): Offered,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match received::json_body(&headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let signed = (
        one(&headers, "webhook-id"),
        one(&headers, "webhook-timestamp"),
        one(&headers, "webhook-signature"),
    );
    let (Some(id), Some(timestamp), Some(signature)) = signed else {
        return not_taken(&CallbackError::Signature);
    };
    let signed = CallbackHeaders { id, timestamp, signature };
    if let Err(error) = approvers.callback_is_good(&name, &signed, &body).await {
        return not_taken(&error);
    }
    let Decision { user, intent, word } = match read(&body, decision) {
        Ok(decision) => decision,
        Err(denial) => return denied(denial),
    };
    match approvers.pass_on(&name, &user, &intent, word).await {
        // Only where it stands: what the grant is is for people who are logged in.
        Ok(told) => Json(json!({
            "id": told.intent.id().as_str(),
            "state": told.intent.state().as_str(),
            "approvals_missing": told.intent.approvals_missing(),
        }))
        .into_response(),
        Err(CallbackError::Decision(DecisionError::MfaNeeded)) => {
            let detail = "the playbook wants a login with more than one factor";
            denied(Denial::new(DenialCode::ApproverNotEligible, detail))
        }
        Err(CallbackError::Decision(error)) => refused(&approvers, error),
        Err(error) => not_taken(&error),
    }
}

fn decision(members: &mut Map<String, Value>) -> Result<Decision, Denial> {
    let invalid = |detail: &str| Denial::new(DenialCode::InvalidRequest, detail);
    let user = text(members, "user")?;
    let intent = text(members, "intent")?;
    let intent = intent.parse().map_err(|_no_id| invalid("`intent` is the id of an intent"))?;
    let word = match text(members, "decision")?.as_str() {
        "approve" => approval(members)?,
        "deny" => refusal(members)?,
        _ => return Err(invalid("`decision` is `approve` or `deny`")),
    };
    Ok(Decision { user, intent, word })
}

/// A message that is not believed. Which integrations there are is told to nobody who has not signed.
fn not_taken(error: &CallbackError) -> Response {
    tracing::info!(error = error as &dyn std::error::Error, "a callback was refused");
    let (status, code, title) = match error {
        CallbackError::Unknown | CallbackError::Signature => {
            (StatusCode::UNAUTHORIZED, "signature_invalid", "the signature is not accepted")
        }
        CallbackError::Timestamp => {
            (StatusCode::UNAUTHORIZED, "timestamp_out_of_range", "the message is not of now")
        }
        CallbackError::Replayed => {
            (StatusCode::CONFLICT, "message_replayed", "the message was used before")
        }
        CallbackError::Decision(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "it could not be kept, and was not done",
        ),
    };
    problem::coded(status, code, title)
}
