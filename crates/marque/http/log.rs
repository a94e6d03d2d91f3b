//! `GET /log/…`: the trust domain's audit log as static tiles (C2SP tlog-tiles), and `GET /v1/receipts/{id}`, the proof that
//! one token is in it (C2SP tlog-proof).
//!
//! The checkpoint and the hashes are for everybody unless the document says otherwise; leaves name agents, people and
//! tickets and are for readers. A receipt is for whoever has to do with the token. What a request costs does not grow with
//! the log. Deliberately absent: who is a reader, which the document says, and how a piece of the tree is made.

use axum::{
    extract::{
        FromRequestParts, Path, RawPathParams, State,
        rejection::{PathRejection, RawPathParamsRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::get,
};
use marque_audit::TreeError;
use marque_audit::folder::{TileKind, TilePath};
use marque_exchange::TokenId;
use marque_intent::{Denial, DenialCode};
use marque_registry::HashReaders;

use super::{
    HttpState, IntentError, approvals,
    problem::{self, Unauthenticated},
    routes::Routes,
    status::is_known,
};

/// Where the log is, below the issuer.
pub(in crate::http) const PATH: &str = "/log";
/// Where receipts are, below the issuer.
pub(in crate::http) const RECEIPTS: &str = "/v1/receipts";
/// The names below a level: an index of up to three groups, and the width of a tile that is not full.
pub(in crate::http) const TILES: [&str; 4] =
    ["/{group}", "/{group}/{next}", "/{group}/{next}/{third}", "/{group}/{next}/{third}/{width}"];

/// The stable codes of these resources that are in no table of denials.
pub(in crate::http) const CODES: [&str; 6] = [
    "log_reader_required",
    "log_piece_not_found",
    "log_tree_behind",
    "log_busy",
    "receipt_not_found",
    "receipt_pending",
];

/// A tile never changes: a year.
const FOR_EVERYBODY: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const FOR_READERS: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// The checkpoint does, with every event.
const ASK_EVERY_TIME: HeaderValue = HeaderValue::from_static("no-cache");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Checkpoints are a moment behind what is recorded.
const IN_A_MOMENT: HeaderValue = HeaderValue::from_static("1");

/// Why there is no receipt.
#[derive(Debug)]
pub enum ReceiptError {
    /// Whoever asks may not have it.
    Refused(marque_exchange::ReceiptRefusal),
    /// No checkpoint covers the leaf yet.
    Pending,
    /// The log has no leaf that gives the token.
    NotInLog,
    /// The log cannot be read.
    Tree(TreeError),
}

pub(super) fn routes(path: &str) -> Routes {
    let level = format!("{path}{PATH}/tile/{{level}}");
    let tiles = TILES
        .iter()
        .fold(Routes::new(), |routes, rest| routes.route(&format!("{level}{rest}"), get(tile)));
    tiles
        .route(&format!("{path}{PATH}/checkpoint"), get(checkpoint))
        .route(&format!("{path}{RECEIPTS}/{{id}}"), get(receipt))
}

async fn checkpoint(
    State(state): State<HttpState>,
    reader: Reader,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = reader.may_read(&state, TileKind::Level(0)) {
        return *response;
    }
    match state.issuer.checkpoint().await {
        Ok(Some(text)) => answer(text.into_bytes(), (TEXT, ASK_EVERY_TIME), &headers),
        Ok(None) => missing(),
        Err(error) => unavailable(error),
    }
}

async fn tile(
    State(state): State<HttpState>,
    reader: Reader,
    name: Result<RawPathParams, RawPathParamsRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(name) = name else { return missing() };
    let name: Vec<&str> = name.iter().map(|(_, part)| part).collect();
    let Ok(tile) = name.join("/").parse::<TilePath>() else { return missing() };
    if let Err(response) = reader.may_read(&state, tile.kind()) {
        return *response;
    }
    let public = is_public(&state, tile.kind());
    match state.issuer.tile(tile).await {
        Ok(bytes) => {
            let cached = if public { FOR_EVERYBODY } else { FOR_READERS };
            answer(bytes, (BYTES, cached), &headers)
        }
        Err(error) => unavailable(error),
    }
}

async fn receipt(
    State(state): State<HttpState>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let issuer = state.issuer.issuer();
    let Some(bearer) = super::intents::bearer(&headers) else {
        return problem::unauthenticated(issuer, &Unauthenticated::NoBearer);
    };
    let not_found = || {
        let title = "there is no such token, or it is somebody else's";
        problem::coded(StatusCode::NOT_FOUND, "receipt_not_found", title)
    };
    let id = id.ok().and_then(|Path(id)| id.parse::<TokenId>().ok());
    let Some(id) = id else { return not_found() };
    use marque_exchange::ReceiptRefusal as Refusal;
    match state.issuer.receipt(bearer.to_owned(), id).await {
        Ok(proof) => {
            let mut response = proof.into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
            problem::never_stored(response)
        }
        Err(ReceiptError::Refused(Refusal::Unauthenticated(error))) => {
            problem::unauthenticated(issuer, &Unauthenticated::Refused(error))
        }
        Err(ReceiptError::Refused(Refusal::Stopped(code))) => stopped(code),
        Err(ReceiptError::Refused(Refusal::NotFound) | ReceiptError::NotInLog) => not_found(),
        Err(ReceiptError::Refused(Refusal::Unavailable(error))) => {
            problem::intent(IntentError::Unavailable(Box::new(error)))
        }
        Err(ReceiptError::Pending) => later(
            StatusCode::NOT_FOUND,
            "receipt_pending",
            "no checkpoint covers the token yet: ask again in a moment",
        ),
        Err(ReceiptError::Tree(error)) => unavailable(error),
    }
}

/// Who asks, as far as they say.
enum Reader {
    /// Nobody in particular.
    Anybody,
    /// Somebody who is known and no reader.
    Stranger,
    /// Somebody whom the document names.
    Named,
}

impl FromRequestParts<HttpState> for Reader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let Some(shown) = approvals::shown(&parts.headers) else { return Ok(Self::Anybody) };
        let settings = state.issuer.log_readers();
        let refused = match super::intents::bearer(&parts.headers)
            .map(|svid| state.issuer.authenticate(svid))
        {
            Some(Ok(caller)) => {
                return match state.issuer.stopped(caller.id()) {
                    Some(code) => Err(stopped(code)),
                    None if settings.is_reader(caller.id()) => Ok(Self::Named),
                    None => Ok(Self::Stranger),
                };
            }
            Some(Err(error)) => Unauthenticated::Refused(error),
            None => Unauthenticated::NoBearer,
        };
        let refused = || problem::unauthenticated(state.issuer.issuer(), &refused);
        let Some(approvers) = state.issuer.approvers() else { return Err(refused()) };
        match approvers.session(&shown).await {
            Ok(Some(session)) => {
                let decider = approvers.decider(&session);
                let mut groups = decider.groups.iter();
                let reader = groups.any(|group| settings.is_reader_group(group.as_str()));
                Ok(if reader { Self::Named } else { Self::Stranger })
            }
            Ok(None) => Err(refused()),
            Err(error) => Err(problem::intent(IntentError::Unavailable(Box::new(error)))),
        }
    }
}

impl Reader {
    fn may_read(&self, state: &HttpState, kind: TileKind) -> Result<(), Box<Response>> {
        if is_public(state, kind) || matches!(self, Self::Named) {
            return Ok(());
        }
        let issuer = state.issuer.issuer();
        Err(Box::new(match self {
            Self::Anybody => problem::unauthenticated(issuer, &Unauthenticated::NoBearer),
            Self::Stranger | Self::Named => {
                let title = "this part of the log is for its readers: `[audit]` says who they are";
                problem::coded(StatusCode::FORBIDDEN, "log_reader_required", title)
            }
        }))
    }
}

fn is_public(state: &HttpState, kind: TileKind) -> bool {
    match (kind, state.issuer.log_readers().hashes()) {
        (TileKind::Level(_), HashReaders::Public) => true,
        (TileKind::Level(_), HashReaders::Readers) | (TileKind::Entries, _) => false,
    }
}

fn answer(
    bytes: Vec<u8>,
    (media_type, cached): (HeaderValue, HeaderValue),
    headers: &HeaderMap,
) -> Response {
    let tag = format!("\"{}\"", hex::encode(marque_jose::sha256(&bytes)));
    let mut response = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = bytes.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, cached);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn stopped(code: DenialCode) -> Response {
    let denial = Denial::new(code, "the kill switch stops the caller");
    problem::intent(IntentError::Denied { denial, intent: None })
}

fn missing() -> Response {
    let title = "the log has no such piece, or no checkpoint covers it yet";
    problem::coded(StatusCode::NOT_FOUND, "log_piece_not_found", title)
}

fn unavailable(error: TreeError) -> Response {
    match error {
        TreeError::NotThere => missing(),
        TreeError::Behind => later(
            StatusCode::SERVICE_UNAVAILABLE,
            "log_tree_behind",
            "the tree is being made from the leaves: ask again in a moment",
        ),
        TreeError::Busy => later(
            StatusCode::SERVICE_UNAVAILABLE,
            "log_busy",
            "too many read the log: ask again in a moment",
        ),
        TreeError::Log(_) | TreeError::Kept(_) | TreeError::Altered(_) => {
            problem::intent(IntentError::Unavailable(Box::new(error)))
        }
    }
}

fn later(status: StatusCode, code: &'static str, title: &'static str) -> Response {
    let mut response = problem::coded(status, code, title);
    response.headers_mut().insert(header::RETRY_AFTER, IN_A_MOMENT);
    response
}
