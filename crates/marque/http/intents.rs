//! The intents API: playbooks to read, intents to ask for, look at, complete and cancel.
//!
//! Every request carries a JWT-SVID for the issuer as its bearer token. Refusals are problem documents with a stable
//! code; an intent that is somebody else's reads as one that is not there. Deliberately absent: approving. No HTTP
//! request of an agent's ever decides an intent.

use std::collections::BTreeMap;

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Path, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use marque_exchange::{AuthenticatedClient, INTENTS_API_PATH};
use marque_intent::{
    AuthorizationDetail, Constraints, Delegators, Denial, DenialCode, Digest, Emergency, EndReason,
    EndingRules, IdempotencyKey, Intent, IntentId, IntentRequest, Justification, Label,
    MAX_JUSTIFICATION_CHARS, MAX_REQUEST_BYTES, OnBehalf, Outcome, ParentIntent, PhaseName,
    PinnedException, PostCheck, Scope, State as IntentState, TicketRef, ToolBounds, ToolId,
};
use marque_jose::json::{Limits, parse_object};
use marque_spiffe::SpiffeId;
use serde::Serialize;

use super::{
    HttpState, IntentError,
    problem::{self, Unauthenticated},
    routes::Routes,
};

/// Room for a report whose every character is escaped.
const MAX_REPORT_BYTES: usize = 1024 + 12 * MAX_JUSTIFICATION_CHARS;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) fn routes(path: &str) -> Routes {
    Routes::new()
        .route(&format!("{path}{INTENTS_API_PATH}/playbooks"), get(playbooks))
        .route(&format!("{path}{INTENTS_API_PATH}/intents"), post(request))
        .route(&format!("{path}{INTENTS_API_PATH}/intents/{{id}}"), get(find))
        .route(&format!("{path}{INTENTS_API_PATH}/intents/{{id}}/complete"), post(complete))
        .route(&format!("{path}{INTENTS_API_PATH}/intents/{{id}}/heartbeat"), post(heartbeat))
        .route(&format!("{path}{INTENTS_API_PATH}/intents/{{id}}/cancel"), post(cancel))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(axum::middleware::map_response(async |response: Response| {
            problem::never_stored(response)
        }))
}

async fn playbooks(State(state): State<HttpState>, Unstopped(caller): Unstopped) -> Response {
    Json(serde_json::json!({"playbooks": state.issuer.playbooks(caller.id())})).into_response()
}

async fn request(
    State(state): State<HttpState>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match json_body(&headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let idempotency = match idempotency(&headers, caller.id(), &body) {
        Ok(idempotency) => idempotency,
        Err(denial) => return problem::intent(state.issuer.refuse_intent(caller, denial).await),
    };
    let request = match IntentRequest::parse(&body) {
        Ok(request) => request,
        Err(denial) => return problem::intent(state.issuer.refuse_intent(caller, denial).await),
    };
    match state.issuer.request_intent(caller, request, idempotency).await {
        Ok(intent) => created(&state, &intent),
        Err(error) => problem::intent(error),
    }
}

async fn find(
    State(state): State<HttpState>,
    Unstopped(caller): Unstopped,
    NamedIntent(id): NamedIntent,
) -> Response {
    answer(state.issuer.find_intent(caller, id).await)
}

async fn complete(
    State(state): State<HttpState>,
    Unstopped(caller): Unstopped,
    NamedIntent(id): NamedIntent,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match json_body(&headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let whole = [b"complete ", id.as_str().as_bytes(), b" ", &body].concat();
    let read =
        outcome(&body).and_then(|said| Ok((said, idempotency(&headers, caller.id(), &whole)?)));
    match read {
        Ok(((outcome, report), key)) => {
            answer(state.issuer.complete_intent(caller, id, outcome, report, key).await)
        }
        Err(denial) => problem::intent(IntentError::Denied { denial, intent: None }),
    }
}

async fn cancel(
    State(state): State<HttpState>,
    Unstopped(caller): Unstopped,
    NamedIntent(id): NamedIntent,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err(response) = no_body(body) {
        return *response;
    }
    let whole = [b"cancel ", id.as_str().as_bytes()].concat();
    match idempotency(&headers, caller.id(), &whole) {
        Ok(key) => answer(state.issuer.cancel_intent(caller, id, key).await),
        Err(denial) => problem::intent(IntentError::Denied { denial, intent: None }),
    }
}

async fn heartbeat(
    State(state): State<HttpState>,
    Unstopped(caller): Unstopped,
    NamedIntent(id): NamedIntent,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match no_body(body) {
        Ok(()) => answer(state.issuer.hear_intent(caller, id).await),
        Err(response) => *response,
    }
}

fn no_body(body: Result<Bytes, BytesRejection>) -> Result<(), Box<Response>> {
    let refused = match body {
        Ok(body) if body.is_empty() || &*body == b"{}" => return Ok(()),
        Ok(_) => {
            let denial = Denial::new(DenialCode::InvalidRequest, "this request has no body");
            problem::intent(IntentError::Denied { denial, intent: None })
        }
        Err(rejection) => problem::plain(rejection.status(), "the body could not be read"),
    };
    Err(Box::new(refused))
}

/// The authenticated bearer of a request.
pub(super) struct Caller(pub(super) AuthenticatedClient);

impl FromRequestParts<HttpState> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let bearer = bearer(&parts.headers).ok_or_else(|| {
            problem::unauthenticated(state.issuer.issuer(), &Unauthenticated::NoBearer)
        })?;
        match state.issuer.authenticate(bearer) {
            Ok(caller) => Ok(Self(caller)),
            Err(error) => Err(problem::unauthenticated(
                state.issuer.issuer(),
                &Unauthenticated::Refused(error),
            )),
        }
    }
}

/// The authenticated bearer of a request, whom no kill stops. A request for an intent needs none: the door refuses that
/// itself, and puts it on record.
struct Unstopped(AuthenticatedClient);

impl FromRequestParts<HttpState> for Unstopped {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let Caller(caller) = Caller::from_request_parts(parts, state).await?;
        match state.issuer.stopped(caller.id()) {
            None => Ok(Self(caller)),
            Some(code) => {
                let denial = Denial::new(code, "the kill switch stops the agent");
                Err(problem::intent(IntentError::Denied { denial, intent: None }))
            }
        }
    }
}

/// The intent that the path names. What cannot be the name of one reads as one that is not there, however it is spelt.
struct NamedIntent(IntentId);

impl FromRequestParts<HttpState> for NamedIntent {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.ok()
            .and_then(|Path(id)| id.parse().ok())
            .map(Self)
            .ok_or_else(|| problem::intent(IntentError::NotFound))
    }
}

/// Exactly one `Authorization` header of exactly the form `Bearer token68` (RFC 6750 §2.1, CVE-2026-0707).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.split_once(' ')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let exact =
        scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(plain);
    (exact && values.next().is_none()).then_some(token)
}

pub(super) fn json_body(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, Box<Response>> {
    if !super::is_media_type(headers, "application/json") {
        return Err(Box::new(problem::plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is application/json",
        )));
    }
    body.map_err(|rejection| {
        Box::new(problem::plain(rejection.status(), "the body could not be read"))
    })
}

fn idempotency(
    headers: &HeaderMap,
    agent: &SpiffeId,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Denial> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = |detail: &dyn std::fmt::Display| {
        Denial::new(DenialCode::InvalidRequest, detail.to_string())
    };
    if values.next().is_some() {
        return Err(refused(&"there is more than one idempotency key"));
    }
    let key =
        value.to_str().map_err(|_not_text| refused(&"the idempotency key is not plain text"))?;
    IdempotencyKey::new(agent.clone(), key, body).map(Some).map_err(|error| refused(&error))
}

/// `{"outcome": "success" | "failure" | "partial" | "unknown"}`, with `report`, a text, or without, and nothing else.
fn outcome(body: &[u8]) -> Result<(Outcome, Option<Justification>), Denial> {
    let limits = Limits { max_bytes: MAX_REPORT_BYTES, max_depth: 2 };
    let refused = |detail: &str| Denial::new(DenialCode::InvalidRequest, detail);
    let mut members = parse_object(body, &limits).map_err(|error| refused(&error.to_string()))?;
    let outcome = members.remove("outcome").ok_or_else(|| refused("`outcome` is missing"))?;
    let report = match members.remove("report") {
        None => None,
        Some(serde_json::Value::String(text)) => {
            Some(Justification::new(&text).map_err(|error| refused(&error.to_string()))?)
        }
        Some(_) => return Err(refused("`report` is a text")),
    };
    if !members.is_empty() {
        return Err(Denial::new(
            DenialCode::UnrecognisedField,
            "a report has the members `outcome` and `report` and no other",
        ));
    }
    let outcome = serde_json::from_value(outcome)
        .map_err(|_other| refused("`outcome` is success, failure, partial or unknown"))?;
    Ok((outcome, report))
}

/// 201 for what can be used, 202 for what waits.
fn created(state: &HttpState, intent: &Intent) -> Response {
    let status = if intent.state() == IntentState::Pending {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    let location = state.issuer.issuer().join(&format!("/v1/intents/{}", intent.id()));
    let view = IntentView { warning: state.issuer.warning(intent), ..IntentView::of(intent) };
    let mut response = (status, Json(view)).into_response();
    // Always a header value: an issuer URL and an id are printable ASCII.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn answer(intent: Result<Intent, IntentError>) -> Response {
    match intent {
        Ok(intent) => Json(IntentView::of(&intent)).into_response(),
        Err(error) => problem::intent(error),
    }
}

/// An intent as its agent sees it. What policy saw, such as the risk, is for operators.
#[derive(Debug, Serialize)]
struct IntentView<'a> {
    id: &'a IntentId,
    state: IntentState,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    uses_left: u32,
    approvals_missing: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// By the agent's word alone, where a post-check has to agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_check: Option<PostCheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_for: Option<EndReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<DenialCode>,
    digest: &'a Digest,
    /// What the agent should know before it relies on the playbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    grant: GrantView<'a>,
}

/// What would be, or is, granted.
#[derive(Debug, Serialize)]
struct GrantView<'a> {
    playbook: PlaybookView<'a>,
    agent: &'a SpiffeId,
    parameters: &'a serde_json::Map<String, serde_json::Value>,
    audiences: &'a [String],
    scopes: &'a [Scope],
    authorization_details: &'a [AuthorizationDetail],
    resources: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    data_classes: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tools: &'a BTreeMap<ToolId, ToolBounds>,
    #[serde(skip_serializing_if = "Constraints::is_empty")]
    constraints: &'a Constraints,
    #[serde(skip_serializing_if = "marque_intent::Limits::is_empty")]
    limits: &'a marque_intent::Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf: Option<&'a OnBehalf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegators: Option<&'a Delegators>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a ParentIntent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emergency: Option<&'a Emergency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'a PhaseName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<&'a PinnedException>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a Label>,
    uses: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    single_use_tokens: bool,
    token_lifetime_s: u64,
    #[serde(skip_serializing_if = "EndingRules::is_empty")]
    ends: EndingRules,
    not_before: Timestamp,
    not_after: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a TicketRef>,
}

#[derive(Debug, Serialize)]
struct PlaybookView<'a> {
    id: String,
    version: u64,
    digest: &'a Digest,
    title: &'a str,
}

impl<'a> IntentView<'a> {
    fn of(intent: &'a Intent) -> Self {
        let grant = intent.grant();
        Self {
            id: intent.id(),
            state: intent.state(),
            created_at: intent.created_at(),
            expires_at: intent.expires_at(),
            uses_left: intent.uses_left(),
            approvals_missing: intent.approvals_missing(),
            outcome: intent.outcome(),
            reported_outcome: intent.post_check().and_then(|_| intent.reported_outcome()),
            post_check: intent.post_check(),
            ended_for: intent.ended_for(),
            code: intent.denial().map(Denial::code),
            digest: grant.digest(),
            warning: None,
            grant: GrantView {
                playbook: PlaybookView {
                    id: grant.playbook.id.to_string(),
                    version: grant.playbook.version,
                    digest: &grant.playbook.digest,
                    title: &grant.playbook.title,
                },
                agent: &grant.agent,
                parameters: &grant.parameters,
                audiences: &grant.audiences,
                scopes: &grant.scopes,
                authorization_details: &grant.authorization_details,
                resources: &grant.resources,
                data_classes: &grant.playbook.data_classes,
                tools: &grant.tools,
                constraints: &grant.constraints,
                limits: &grant.limits,
                on_behalf: grant.on_behalf.as_ref(),
                delegators: grant.delegators.as_ref(),
                parent: grant.parent.as_ref(),
                emergency: grant.emergency.as_ref(),
                phase: grant.conditions.provisions.phase.as_ref(),
                exception: grant.conditions.provisions.exception.as_ref(),
                session: grant.session.as_ref(),
                task: grant.task.as_ref(),
                uses: grant.uses,
                single_use_tokens: grant.single_use_tokens,
                token_lifetime_s: grant.token_lifetime.as_secs(),
                ends: grant.conditions.ends,
                not_before: grant.not_before,
                not_after: grant.not_after,
                ticket: grant.ticket.as_ref(),
            },
        }
    }
}
