//! A ticket system behind HTTP that answers in JSON, by what the trust domain's document says of it.
//!
//! One question is one connection, one `GET`, one answer: no redirect is followed, nothing is remembered, and the secret that
//! proves who asks goes to the configured host alone. Absent: caching, and what a ticket has to be.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use marque_intent::{TicketFacts, TicketLookupError, TicketRef};
use marque_jose::json::{Limits, StrictJsonError, parse_object};
use marque_registry::{TicketAnswer, TicketSystem};
use marque_spiffe::{BundleEndpointUrlError, Clock};
use rustls::ClientConfig;
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::tickets::TicketSource;
use crate::federation::{FetchError, ask, web, web_authorities};

/// The largest answer, in bytes, and the deepest.
const LIMITS: Limits = Limits { max_bytes: 256 * 1024, max_depth: 32 };
/// The largest file with a header's value, in bytes.
const MAX_HEADER: u64 = 8 * 1024;
/// The longest text that is taken from an answer, in bytes.
const MAX_TEXT: usize = 1024;
/// What a state is called that the document does not name.
const UNMAPPED: &str = "unmapped";

/// A ticket system of `[[ticket_systems]]`.
#[derive(Debug)]
pub(crate) struct HttpTicketSystem {
    system: TicketSystem,
    folder: PathBuf,
    tls: Option<Arc<ClientConfig>>,
}

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the file of the header cannot be read")]
    Header(#[source] std::io::Error),
    #[error("the file of the header holds no value of a header")]
    HeaderValue,
    #[error("the ticket's name makes no URL")]
    Url(#[source] BundleEndpointUrlError),
    #[error("no answer")]
    Ask(#[source] FetchError),
    #[error("the answer has status {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("the answer broke off, or is larger than {} bytes", LIMITS.max_bytes)]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("the answer is no JSON object")]
    Json(#[source] StrictJsonError),
    #[error("the answer has nothing usable at `{0}`")]
    Missing(String),
    #[error("there is no such ticket")]
    Unknown,
}

impl HttpTicketSystem {
    /// Reads the authorities that are believed; the secret is read with each question, so that it can be replaced.
    pub(crate) fn open(
        system: TicketSystem,
        folder: &Path,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let tls = match system.ca_file() {
            Some(file) => {
                let roots = web_authorities(&folder.join(file))?;
                Some(web(roots, Arc::clone(clock)).context("prepare TLS")?)
            }
            None => None,
        };
        Ok(Self { system, folder: folder.to_owned(), tls })
    }

    async fn ask(&self, ticket: &TicketRef) -> Result<TicketFacts, Unusable> {
        if leads_elsewhere(ticket.as_str()) {
            return Err(Unusable::Unknown);
        }
        let url = self.system.url().of(ticket.as_str()).map_err(Unusable::Url)?;
        let headers = self.headers().await?;
        // Ends the connection when this function does, however it does.
        let mut driver = JoinSet::new();
        let answer =
            ask(&url, self.tls.as_ref(), headers, &mut driver).await.map_err(Unusable::Ask)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Unusable::Unknown),
            status => return Err(Unusable::Status(status)),
        }
        let body = Limited::new(answer.into_body(), LIMITS.max_bytes).collect().await;
        let body: Bytes = body.map_err(Unusable::Body)?.to_bytes();
        self.read(&parse_object(&body, &LIMITS).map_err(Unusable::Json)?)
    }

    async fn headers(&self) -> Result<HeaderMap, Unusable> {
        let mut headers = HeaderMap::new();
        let Some((name, file)) = self.system.header() else { return Ok(headers) };
        let file = tokio::fs::File::open(self.folder.join(file)).await.map_err(Unusable::Header)?;
        let mut text = Zeroizing::new(String::new());
        let read = file.take(MAX_HEADER + 1).read_to_string(&mut text).await;
        read.map_err(Unusable::Header)?;
        let value = text.trim_ascii();
        let name: HeaderName = name.parse().map_err(|_source| Unusable::HeaderValue)?;
        let value = Some(value).filter(|_value| text.len() as u64 <= MAX_HEADER);
        let value = value.filter(|value| !value.is_empty());
        let mut value = value
            .and_then(|value| HeaderValue::from_str(value).ok())
            .ok_or(Unusable::HeaderValue)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(headers)
    }

    /// The facts of an answer. A state that is not there makes it useless; a field that is not there is none.
    fn read(&self, answer: &Map<String, Value>) -> Result<TicketFacts, Unusable> {
        let TicketAnswer { state, title, planned } = self.system.answer();
        let said = text_at(answer, state).ok_or_else(|| Unusable::Missing(state.clone()))?;
        let state = match self.system.states() {
            Some(states) => states.get(&said).cloned().unwrap_or_else(|| UNMAPPED.to_owned()),
            None => said,
        };
        let title = title.as_ref().and_then(|title| text_at(answer, title)).unwrap_or_default();
        let fields = self.system.fields().iter();
        let fields: BTreeMap<String, String> = fields
            .filter_map(|(name, pointer)| Some((name.clone(), text_at(answer, pointer)?)))
            .collect();
        let planned = match planned {
            Some((from, until)) => planned_in(answer, from, until)?,
            None => None,
        };
        let closed = self.system.closed().contains(&state);
        Ok(TicketFacts { state, closed, title, fields, planned })
    }
}

impl TicketSource for HttpTicketSystem {
    fn look_up<'a>(
        &'a self,
        ticket: &'a TicketRef,
    ) -> BoxFuture<'a, Result<TicketFacts, TicketLookupError>> {
        let limit = self.system.timeout();
        async move {
            match tokio::time::timeout(limit, self.ask(ticket)).await {
                Ok(Ok(facts)) => Ok(facts),
                Ok(Err(Unusable::Unknown)) => Err(TicketLookupError::Unknown),
                Ok(Err(error)) => Err(TicketLookupError::Unavailable(chain(&error))),
                Err(_elapsed) => {
                    let why = format!("no answer within {limit:?}");
                    Err(TicketLookupError::Unavailable(why))
                }
            }
        }
        .boxed()
    }
}

/// Whether a name has a part that leads up in a path. Servers decode before they resolve (RFC 3986 section 6.2.2), so that
/// encoding it does not keep the question at tickets.
fn leads_elsewhere(ticket: &str) -> bool {
    ticket.split(['/', '\\']).any(|part| part == "." || part == "..")
}

/// An error with its causes. None of them names a header's value.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What is at a pointer.
fn value_at<'a>(answer: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = match pointer.strip_prefix('/')?.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (pointer.strip_prefix('/')?, String::new()),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    answer.get(&first)?.pointer(&rest)
}

/// A scalar as text; none where there is none, or one that is empty or too long.
fn text_at(answer: &Map<String, Value>, pointer: &str) -> Option<String> {
    let text = match value_at(answer, pointer)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty() && text.len() <= MAX_TEXT)
}

/// When the work is planned: both instants, or neither. Half a plan, or one that is none, is no answer.
fn planned_in(
    answer: &Map<String, Value>,
    from: &str,
    until: &str,
) -> Result<Option<(Timestamp, Timestamp)>, Unusable> {
    let missing = |pointer: &str| Unusable::Missing(pointer.to_owned());
    let instant = |text: Option<String>, pointer: &str| {
        let instant: Option<Timestamp> = text.and_then(|text| text.parse().ok());
        instant.ok_or_else(|| missing(pointer))
    };
    let unsaid = |pointer: &str| match value_at(answer, pointer) {
        None | Some(Value::Null) => true,
        Some(value) => value == "",
    };
    match (text_at(answer, from), text_at(answer, until)) {
        (None, None) if unsaid(from) && unsaid(until) => Ok(None),
        (start, end) => {
            let (start, end) = (instant(start, from)?, instant(end, until)?);
            if start < end { Ok(Some((start, end))) } else { Err(missing(until)) }
        }
    }
}

#[cfg(test)]
mod tests;
