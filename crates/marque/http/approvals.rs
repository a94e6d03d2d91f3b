//! The API of approvals: what waits for an approver, what exactly it would permit, yes and no.
//!
//! Callers are people who logged in: a browser by its cookie, a terminal by its own bearer token. No SVID and no access
//! token is ever taken here, and what is taken here is taken nowhere else. A browser's request that decides has to come from
//! a page of this origin and bring the session's own token; none of it is ever decided by `GET`. Absent: logging in
//! (`login`), callbacks (`callback`), kills (`lifts`), and every rule about who may approve.

mod callback;
mod lifts;
mod login;
mod page;

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Path, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use marque_intent::{
    Denial, DenialCode, DenyReason, Digest, IntentId, Narrowing, Reason, UnknownDenyReason,
};
use marque_jose::json::{Limits, parse_object};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{HttpState, IntentError, problem, received, routes::Routes};
use crate::approvers::{
    Approvers, DecisionError, LOGIN_COOKIE, SESSION_COOKIE, Session, Shown, Told, Word,
};
use crate::grpc::admin::review;

/// Where the API is, below the issuer.
pub(in crate::http) const PATH: &str = "/v1/approvals";
/// The header with the session's own token.
pub(in crate::http) const CSRF: &str = "marque-csrf";
/// The longest body of a decision.
const MAX_BODY: usize = 8 * 1024;
const LIMITS: Limits = Limits { max_bytes: MAX_BODY, max_depth: 4 };

/// The stable codes of this API that are in no table of denials.
pub(in crate::http) const CODES: [&str; 24] = [
    "cross_site_request",
    "kill_mode_without_effect",
    "kill_not_standing",
    "kill_raced",
    "lift_needs_another_person",
    "lift_no_step",
    "lift_not_asked",
    "login_busy",
    "login_code_refused",
    "login_issuer_mismatch",
    "login_malformed",
    "login_no_person",
    "login_not_begun",
    "login_not_offered",
    "login_refused",
    "login_replayed",
    "login_required",
    "login_state_mismatch",
    "login_unavailable",
    "message_replayed",
    "mfa_needed",
    "signature_invalid",
    "timestamp_out_of_range",
    "unavailable",
];

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        .route(&format!("{path}{PATH}"), get(list))
        .route(&format!("{path}{PATH}/session"), get(session))
        .route(&format!("{path}{PATH}/logout"), post(log_out))
        .route(&format!("{path}{PATH}/intents/{{id}}"), get(find))
        .route(&format!("{path}{PATH}/intents/{{id}}/approve"), post(approve))
        .route(&format!("{path}{PATH}/intents/{{id}}/deny"), post(deny))
        .merge(login::routes(path))
        .merge(callback::routes(path))
        .merge(lifts::routes(path))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::map_response(async |response: Response| {
            problem::never_stored(response)
        }))
}

async fn list(Person { approvers, session }: Person) -> Response {
    let decider = approvers.decider(&session);
    match approvers.desk().waiting(&decider).await {
        Ok(waiting) => {
            let views: Vec<Value> = waiting.iter().map(view).collect();
            Json(json!({ "intents": views })).into_response()
        }
        Err(error) => refused(&approvers, error),
    }
}

async fn session(Person { approvers, session }: Person) -> Response {
    #[derive(Serialize)]
    struct View<'a> {
        trust_domain: &'a str,
        environment: String,
        issuer: &'a str,
        subject: &'a str,
        groups: Vec<&'a str>,
        mfa_at: Option<jiff::Timestamp>,
        expires_at: jiff::Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        csrf: Option<String>,
    }
    let decider = approvers.decider(&session);
    let (person, csrf) = (session.person(), session.is_of_a_browser());
    let (trust_domain, environment) = approvers.place();
    Json(View {
        trust_domain,
        environment: environment.to_string(),
        issuer: person.issuer(),
        subject: person.subject(),
        groups: decider.groups.iter().map(|group| group.as_str()).collect(),
        mfa_at: decider.mfa.map(|mfa| mfa.at),
        expires_at: session.expires_at(),
        csrf: csrf.then(|| approvers.csrf_token(&session)),
    })
    .into_response()
}

async fn log_out(Decisive(Person { approvers, session }): Decisive) -> Response {
    if let Err(error) = approvers.log_out(&session).await {
        return refused(&approvers, error.into());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if session.is_of_a_browser() {
        set_cookie(&mut response, SESSION_COOKIE, "", "Strict", 0);
    }
    response
}

async fn find(Person { approvers, session }: Person, Named(id): Named) -> Response {
    match approvers.desk().shown(&approvers.decider(&session), &id).await {
        Ok(told) => Json(view(&told)).into_response(),
        Err(error) => refused(&approvers, error),
    }
}

async fn approve(
    person: Decisive,
    Named(id): Named,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    decided(person, id, &headers, body, approval).await
}

async fn deny(
    person: Decisive,
    Named(id): Named,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    decided(person, id, &headers, body, refusal).await
}

async fn decided(
    Decisive(Person { approvers, session }): Decisive,
    id: IntentId,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    word: impl FnOnce(&mut Map<String, Value>) -> Result<Word, Denial>,
) -> Response {
    let body = match received::json_body(headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let word = match read(&body, word) {
        Ok(word) => word,
        Err(denial) => return denied(denial),
    };
    let key = match received::idempotency_key(headers) {
        Ok(key) => key,
        Err(denial) => return denied(denial),
    };
    let decider = approvers.decider(&session);
    match approvers.desk().decide_if_heard(&decider, &id, word, key).await {
        Ok(told) => Json(view(&told)).into_response(),
        Err(error) => refused(&approvers, error),
    }
}

/// An intent with all that an approver has to see (specs/intents.md 11), as `marque approve` has it.
fn view(told: &Told) -> Value {
    review(told)
        .ok()
        .and_then(|view| serde_json::to_value(view).ok())
        .unwrap_or_else(|| json!({ "id": told.intent.id().as_str() }))
}

/// Reads a body, all of whose members the word takes.
fn read<T>(
    body: &[u8],
    word: impl FnOnce(&mut Map<String, Value>) -> Result<T, Denial>,
) -> Result<T, Denial> {
    let mut members = parse_object(body, &LIMITS)
        .map_err(|error| Denial::new(DenialCode::InvalidRequest, error.to_string()))?;
    let word = word(&mut members)?;
    match members.keys().next() {
        None => Ok(word),
        Some(_unknown) => {
            let detail = "the body has a member that is not known here";
            Err(Denial::new(DenialCode::UnrecognisedField, detail))
        }
    }
}

/// A member that has to be there, as a text.
fn text(members: &mut Map<String, Value>, name: &'static str) -> Result<String, Denial> {
    match members.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) | None => {
            let detail = format!("`{name}` is a text that has to be there");
            Err(Denial::new(DenialCode::InvalidRequest, detail))
        }
    }
}

fn digest(members: &mut Map<String, Value>) -> Result<Digest, Denial> {
    text(members, "digest")?.parse().map_err(|_no_digest| {
        Denial::new(DenialCode::InvalidRequest, "`digest` is the digest of a grant")
    })
}

/// Yes, to a digest or to less of it.
fn approval(members: &mut Map<String, Value>) -> Result<Word, Denial> {
    let digest = digest(members)?;
    let less = members.remove("less").map(serde_json::from_value::<Narrowing>).transpose();
    let less = less.map_err(|error| {
        Denial::new(DenialCode::InvalidRequest, format!("`less` is what is taken away: {error}"))
    })?;
    Ok(Word::Approve { digest, less })
}

/// No, to a digest.
fn refusal(members: &mut Map<String, Value>) -> Result<Word, Denial> {
    Ok(Word::Deny { digest: Some(digest(members)?), reason: reason(members)? })
}

/// One of the preset reasons, and what the approver remarks.
fn reason(members: &mut Map<String, Value>) -> Result<Reason, Denial> {
    let invalid = |detail: String| Denial::new(DenialCode::InvalidRequest, detail);
    let preset: DenyReason = match members.remove("reason") {
        Some(Value::String(preset)) => preset.parse(),
        Some(_) | None => Err(UnknownDenyReason),
    }
    .map_err(|unknown| invalid(unknown.to_string()))?;
    let remark = match members.remove("text") {
        None => String::new(),
        Some(Value::String(remark)) => remark,
        Some(_) => return Err(invalid("`text` is a text".to_owned())),
    };
    preset.with(&remark).map_err(|error| invalid(error.to_string()))
}

fn denied(denial: Denial) -> Response {
    problem::intent(IntentError::Denied { denial, intent: None })
}

fn refused(approvers: &Approvers, error: DecisionError) -> Response {
    match error {
        DecisionError::NotFound => problem::intent(IntentError::NotFound),
        DecisionError::Denied(denial) => denied(denial),
        DecisionError::Unavailable(error) => problem::intent(IntentError::Unavailable(error)),
        DecisionError::MfaNeeded => {
            // RFC 9470 §3: who it is is known; how it was proved does not do.
            let title = "log in anew, with more than one factor";
            let mut response = problem::coded(StatusCode::UNAUTHORIZED, "mfa_needed", title);
            let seconds = approvers.mfa_max_age().as_secs();
            let challenge =
                format!("Bearer error=\"insufficient_user_authentication\", max_age=\"{seconds}\"");
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

/// The approvers, where the trust domain has any who are no operators.
struct Offered(Arc<Approvers>);

impl FromRequestParts<HttpState> for Offered {
    type Rejection = Response;

    async fn from_request_parts(_parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        state.issuer.approvers().map(Self).ok_or_else(|| {
            let title = "people do not log in to this trust domain";
            problem::coded(StatusCode::NOT_FOUND, "login_not_offered", title)
        })
    }
}

/// Somebody who is logged in.
struct Person {
    approvers: Arc<Approvers>,
    session: Session,
}

impl FromRequestParts<HttpState> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let Offered(approvers) = Offered::from_request_parts(parts, state).await?;
        let Some(shown) = shown(&parts.headers) else { return Err(login_required()) };
        // A page that could send a terminal's token has no business having it.
        if matches!(shown, Shown::Bearer(_)) && parts.headers.contains_key(header::ORIGIN) {
            return Err(cross_site());
        }
        match approvers.session(&shown).await {
            Ok(Some(session)) => Ok(Self { approvers, session }),
            Ok(None) => Err(login_required()),
            Err(error) => Err(refused(&approvers, error.into())),
        }
    }
}

/// Somebody who is logged in and means it: a browser's request comes from our own page, which knows the session's token.
struct Decisive(Person);

impl FromRequestParts<HttpState> for Decisive {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let person = Person::from_request_parts(parts, state).await?;
        if person.session.is_of_a_browser() {
            let token = one(&parts.headers, CSRF);
            let own =
                token.is_some_and(|token| person.approvers.is_csrf_token(&person.session, token));
            if !own || !is_of_our_page(&parts.headers, state) {
                return Err(cross_site());
            }
        }
        Ok(Self(person))
    }
}

/// The intent that the path names.
struct Named(IntentId);

impl FromRequestParts<HttpState> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.ok()
            .and_then(|Path(id)| id.parse().ok())
            .map(Self)
            .ok_or_else(|| problem::intent(IntentError::NotFound))
    }
}

/// Whether the browser says that the request is of a page of ours. One that does not say is not believed.
fn is_of_our_page(headers: &HeaderMap, state: &HttpState) -> bool {
    let site = headers.get("sec-fetch-site");
    let own_site = site.is_none_or(|site| site == "same-origin");
    // A browser leaves out the port that every https URL has.
    let own = state.issuer.issuer().origin();
    let own = own.strip_suffix(":443").unwrap_or(own);
    own_site && one(headers, "origin") == Some(own)
}

/// A header that is there once, as text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What the caller shows: a bearer token or our cookie, one of them and once.
pub(super) fn shown(headers: &HeaderMap) -> Option<Shown> {
    let cookie = cookie(headers, SESSION_COOKIE);
    if headers.contains_key(header::AUTHORIZATION) {
        let token = super::intents::bearer(headers)?;
        return cookie.is_none().then(|| Shown::Bearer(token.to_owned()));
    }
    cookie.map(|cookie| Shown::Cookie(cookie.to_owned()))
}

/// The one cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';'));
    let mut found =
        pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|pair| pair.0 == name);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

fn set_cookie(response: &mut Response, name: &str, value: &str, same_site: &str, seconds: u64) {
    let cookie = format!(
        "{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}; Max-Age={seconds}"
    );
    // Names are ours, and values are Base64.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn login_required() -> Response {
    problem::coded(StatusCode::UNAUTHORIZED, "login_required", "log in first")
}

fn cross_site() -> Response {
    let title = "the request is not of a page of this issuer";
    problem::coded(StatusCode::FORBIDDEN, "cross_site_request", title)
}
