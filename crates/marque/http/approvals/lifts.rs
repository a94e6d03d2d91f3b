//! Kills that stand, and lifting them: one person asks, another one confirms, at this door or at the admin socket.
//!
//! Absent: who may, and that it takes two.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use marque_intent::kill::KillMode;
use marque_intent::{Denial, DenialCode, Reason};
use serde_json::{Map, Value};

use super::{
    Decisive, IntentError, PATH, Person, Routes, denied, problem, read, received, refused, text,
};
use crate::approvers::{Approvers, LiftError, Standing};
use crate::grpc::admin::{kill_review, lift_review};
use crate::issuer::kill::KillError;

/// The longest name of a kill or a wish that is looked for.
const MAX_NAME: usize = 64;

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        .route(&format!("{path}{PATH}/kills"), get(list))
        .route(&format!("{path}{PATH}/kills/{{kill}}/lift"), post(ask))
        .route(&format!("{path}{PATH}/lifts/{{lift}}/confirm"), post(confirm))
}

async fn list(Person { approvers, session }: Person) -> Response {
    match approvers.kills(&session).await {
        Ok(standing) => told(&standing),
        Err(error) => not_done(&approvers, error),
    }
}

async fn ask(
    Decisive(Person { approvers, session }): Decisive,
    Path(kill): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let wish = match taken(&headers, body, wish) {
        Ok(wish) => wish,
        Err(response) => return *response,
    };
    if kill.len() > MAX_NAME {
        return of_switch(KillError::NotStanding(String::new()));
    }
    match approvers.ask_lift(&session, &kill, wish).await {
        Ok(ask) => Json(lift_review(&ask)).into_response(),
        Err(error) => not_done(&approvers, error),
    }
}

async fn confirm(
    Decisive(Person { approvers, session }): Decisive,
    Path(lift): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err(response) = taken(&headers, body, |_nothing| Ok(())) {
        return *response;
    }
    if lift.len() > MAX_NAME {
        return of_switch(KillError::NotAsked(String::new()));
    }
    match approvers.confirm_lift(&session, &lift).await {
        Ok(standing) => told(&standing),
        Err(error) => not_done(&approvers, error),
    }
}

fn taken<T>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    members: impl FnOnce(&mut Map<String, Value>) -> Result<T, Denial>,
) -> Result<T, Box<Response>> {
    let body = received::json_body(headers, body)?;
    read(&body, members).map_err(|denial| Box::new(denied(denial)))
}

/// Why, and how far it is relaxed where it is not lifted whole.
fn wish(members: &mut Map<String, Value>) -> Result<(Option<KillMode>, Reason), Denial> {
    let invalid = |detail: String| Denial::new(DenialCode::InvalidRequest, detail);
    let reason = Reason::new(&text(members, "reason")?);
    let reason = reason.map_err(|error| invalid(format!("`reason`: {error}")))?;
    let mode = |name: String| name.parse().map_err(|error| invalid(format!("`to`: {error}")));
    let to = match members.contains_key("to") {
        true => Some(mode(text(members, "to")?)?),
        false => None,
    };
    Ok((to, reason))
}

fn told(standing: &Standing) -> Response {
    match kill_review(standing) {
        Ok(view) => Json(view).into_response(),
        Err(error) => problem::intent(IntentError::Unavailable(Box::new(error))),
    }
}

fn not_done(approvers: &Approvers, error: LiftError) -> Response {
    match error {
        LiftError::NotTheirs(error) => refused(approvers, error),
        LiftError::Kill(error) => of_switch(error),
    }
}

fn of_switch(error: KillError) -> Response {
    let code = error.code();
    let (status, title) = match error {
        KillError::Store(source) => return problem::intent(IntentError::Unavailable(source)),
        KillError::NotStanding(_) => {
            (StatusCode::NOT_FOUND, "no such kill stands; look at those that do")
        }
        KillError::NotAsked(_) => {
            (StatusCode::NOT_FOUND, "nobody asked for this, or it has ended; ask again")
        }
        KillError::SamePerson => {
            (StatusCode::FORBIDDEN, "who asked for a lift does not confirm it: another person does")
        }
        KillError::NoStep { .. } => {
            (StatusCode::BAD_REQUEST, "the mode stops no less than the kill does now")
        }
        KillError::NoEffect { .. } => {
            (StatusCode::BAD_REQUEST, "the mode stops nothing of what the kill names")
        }
        KillError::EndsBefore(_) => (StatusCode::BAD_REQUEST, "the end is not in the future"),
        KillError::Raced => {
            (StatusCode::CONFLICT, "somebody else changed it at the same time; look again")
        }
    };
    problem::coded(status, code, title)
}
