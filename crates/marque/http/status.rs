//! `GET /oauth2/status` and `GET /oauth2/status/{n}`: token status lists, for whoever asks; `GET /oauth2/kill-state`: the
//! epoch of the kill switch, for whoever holds copies of them.
//!
//! A list says by a number whether a token still stands, and nothing about the token; nobody has to say who they are.
//! Caches may keep a list and ask every time whether it is still the same; for how long a verifier relies on its copy is
//! said in the list itself. Deliberately absent: lists of former times.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use marque_exchange::{Endpoint, Offers, SignedStatusList};
use marque_status_list::{KILL_STATE_MEDIA_TYPE, STATUS_LIST_MEDIA_TYPE};

use super::{HttpState, problem, routes::Routes};

/// No answer is used without asking whether it is still the one (RFC 9111 §5.2.2.4).
const ASK_EVERY_TIME: HeaderValue = HeaderValue::from_static("no-cache");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static(STATUS_LIST_MEDIA_TYPE);

pub(super) fn routes(path: &str, offers: Offers) -> Routes {
    let lists = format!("{path}{}", Endpoint::StatusLists.path());
    if !Endpoint::StatusLists.is_offered(&offers) {
        return Routes::new();
    }
    Routes::new()
        .route(&format!("{path}{}", Endpoint::KillState.path()), get(kill_state))
        .route(&lists, get(status_lists))
        .route(&format!("{lists}/{{list}}"), get(status_list))
}

/// The epoch of the kill switch. Nobody may keep it: how old a copy is is what a verifier goes by.
async fn kill_state(State(state): State<HttpState>) -> Response {
    match state.issuer.kill_state() {
        Ok(statement) => {
            let mut response = statement.expose_token().to_owned().into_response();
            let statement = HeaderValue::from_static(KILL_STATE_MEDIA_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, statement);
            problem::never_stored(response)
        }
        Err(error) => problem::oauth(&error),
    }
}

async fn status_lists(State(state): State<HttpState>) -> Response {
    match state.issuer.status_lists().await {
        Ok(Some(lists)) => {
            let mut response = Json(lists).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, ASK_EVERY_TIME);
            response
        }
        Ok(None) => no_list(),
        Err(error) => problem::oauth(&error),
    }
}

async fn status_list(
    State(state): State<HttpState>,
    Path(list): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if query.is_some_and(|query| asks_for_a_time(&query)) {
        return problem::plain(
            StatusCode::NOT_IMPLEMENTED,
            "status lists of former times are not kept",
        );
    }
    let Some(list) = number(&list) else { return no_list() };
    match state.issuer.status_list(list).await {
        Ok(Some(list)) => answer(&list, &headers),
        Ok(None) => no_list(),
        Err(error) => problem::oauth(&error),
    }
}

fn no_list() -> Response {
    problem::plain(StatusCode::NOT_FOUND, "there is no such status list")
}

/// §8.4 of the draft: a server that keeps no history says so.
fn asks_for_a_time(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "time")
}

/// A list has one spelling: digits, without zeros before them.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn answer(list: &SignedStatusList, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", list.tag());
    let mut response = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = list.token().expose_token().to_owned().into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, ASK_EVERY_TIME);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether `If-None-Match` names this tag; a list has only strong ones.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}
