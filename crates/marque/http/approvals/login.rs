//! Logging in: out to the provider and back, for a browser or for a terminal that waits on this machine.
//!
//! Absent: what makes an answer of the provider good.

use axum::{
    Json,
    body::Bytes,
    extract::{RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{
    HttpState, LOGIN_COOKIE, Offered, PATH, Routes, SESSION_COOKIE, cookie, cross_site, denied,
    is_of_our_page, page, problem, read, received, set_cookie, text,
};
use crate::approvers::{Answered, Entered, LoginError, MAX_PARAMETER, TerminalDoor};

/// How long a browser keeps the cookie of a login that has begun, in seconds.
const LOGIN_SECONDS: u64 = 600;
/// The length of a SHA-256 digest, and of 32 bytes, in Base64.
const DIGEST_LEN: usize = 43;

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        .route(&format!("{path}{PATH}/login"), get(begin))
        .route(&format!("{path}{PATH}/login/callback"), get(finish))
        .route(&format!("{path}{PATH}/login/confirm"), post(confirm))
        .route(&format!("{path}{PATH}/login/token"), post(token))
}

async fn begin(Offered(approvers): Offered, RawQuery(query): RawQuery) -> Response {
    let Some((fresh, terminal)) = asked(query.as_deref().unwrap_or_default()) else {
        return page::failed(StatusCode::BAD_REQUEST, LoginError::Malformed.code());
    };
    match approvers.begin_login(fresh, terminal) {
        Ok(begun) => {
            let mut response = redirected(&begun.url);
            // The provider sends the browser back from another site: `Strict` would lose it.
            set_cookie(&mut response, LOGIN_COOKIE, &begun.cookie, "Lax", LOGIN_SECONDS);
            response
        }
        Err(error) => failed(&error),
    }
}

async fn finish(
    Offered(approvers): Offered,
    State(state): State<HttpState>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let entered = match answered(query.as_deref().unwrap_or_default()) {
        Some(answered) => approvers.finish_login(cookie(&headers, LOGIN_COOKIE), answered).await,
        None => Err(LoginError::Malformed),
    };
    let mut response = match entered {
        Ok(Entered::Browser { session }) => {
            let mut response = page::done();
            let seconds = approvers.session_time().as_secs();
            set_cookie(&mut response, SESSION_COOKIE, &session, "Strict", seconds);
            response
        }
        Ok(Entered::Terminal { sealed, check }) => {
            let action = state.issuer.issuer().join(&format!("{PATH}/login/confirm"));
            page::terminal(&action, &sealed, &check)
        }
        Err(error) => failed(&error),
    };
    set_cookie(&mut response, LOGIN_COOKIE, "", "Lax", 0);
    response
}

/// The person confirms that a terminal is theirs.
async fn confirm(
    Offered(approvers): Offered,
    State(state): State<HttpState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if !is_of_our_page(&headers, &state) {
        return cross_site();
    }
    let form = super::super::is_media_type(&headers, "application/x-www-form-urlencoded");
    let Ok(body) = body else {
        return problem::plain(StatusCode::PAYLOAD_TOO_LARGE, "the body could not be read");
    };
    let mut fields = form_urlencoded::parse(&body);
    match (fields.next(), fields.next()) {
        (Some((name, sealed)), None) if form && name == "login" => {
            match approvers.confirm_terminal(&sealed).await {
                Ok(url) => redirected(&url),
                Err(error) => failed(&error),
            }
        }
        _ => page::failed(StatusCode::BAD_REQUEST, LoginError::Malformed.code()),
    }
}

/// The terminal collects its session.
async fn token(
    Offered(approvers): Offered,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return cross_site();
    }
    let body = match received::json_body(&headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let parts = read(&body, |members| Ok((text(members, "code")?, text(members, "verifier")?)));
    let (code, verifier) = match parts {
        Ok(parts) => parts,
        Err(denial) => return denied(denial),
    };
    match approvers.terminal_session(&code, &verifier).await {
        Ok(session) => Json(json!({
            "token": session,
            "expires_in": approvers.session_time().as_secs(),
        }))
        .into_response(),
        Err(error) => {
            tracing::info!(error = &error as &dyn std::error::Error, "a terminal was refused");
            problem::coded(status(&error), error.code(), "the terminal was not logged in")
        }
    }
}

/// Each parameter once, and none that is not known.
fn parameters<const N: usize>(query: &str, names: [&str; N]) -> Option<[Option<String>; N]> {
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let at = names.iter().position(|known| *known == name);
        match at.and_then(|at| values.get_mut(at)) {
            Some(place) if place.is_none() && value.len() <= MAX_PARAMETER => {
                *place = Some(value.into_owned());
            }
            Some(_) => return None,
            // A provider may say more, of which nothing is looked at.
            None => {}
        }
    }
    Some(values)
}

fn answered(query: &str) -> Option<Answered> {
    let [code, state, iss, error] = parameters(query, ["code", "state", "iss", "error"])?;
    Some(Answered { code, state, iss, error })
}

fn asked(query: &str) -> Option<(bool, Option<TerminalDoor>)> {
    let names = ["fresh", "port", "challenge", "terminal_state"];
    let [fresh, port, challenge, state] = parameters(query, names)?;
    let base64 = |text: &String| {
        text.len() == DIGEST_LEN
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let terminal = match (port, challenge, state) {
        (None, None, None) => None,
        (Some(port), Some(challenge), Some(state)) if base64(&challenge) && base64(&state) => {
            let port = port.parse().ok().filter(|port: &u16| *port >= 1024)?;
            Some(TerminalDoor { port, challenge, state })
        }
        _ => return None,
    };
    match fresh.as_deref() {
        None => Some((false, terminal)),
        Some("1") => Some((true, terminal)),
        Some(_) => None,
    }
}

fn redirected(url: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::try_from(url) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            let policy = HeaderValue::from_static("no-referrer");
            response.headers_mut().insert(header::REFERRER_POLICY, policy);
            response
        }
        Err(_no_header) => page::failed(StatusCode::BAD_REQUEST, LoginError::Malformed.code()),
    }
}

fn failed(error: &LoginError) -> Response {
    page::failed(status(error), error.code())
}

const fn status(error: &LoginError) -> StatusCode {
    match error {
        LoginError::NotOffered => StatusCode::NOT_FOUND,
        LoginError::NotBegun
        | LoginError::State
        | LoginError::Replayed
        | LoginError::Issuer
        | LoginError::Malformed => StatusCode::BAD_REQUEST,
        LoginError::Refused | LoginError::Code(_) | LoginError::NoPerson => StatusCode::FORBIDDEN,
        LoginError::Busy | LoginError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
