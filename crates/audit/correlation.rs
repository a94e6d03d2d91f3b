//! Which request something came of: one id of ours for each request, and one trace through several.
//!
//! Whoever serves a request puts its work into a [`Correlation`]'s scope; whatever that work has recorded carries the two
//! ids. A caller may name the trace (W3C Trace Context, `traceparent`). That is a hint and nothing more: nothing is decided
//! by it, and the request's own id is never the caller's to choose. Deliberately absent: randomness, and headers.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

tokio::task_local! {
    static CURRENT: Correlation;
}

/// What an id of a request begins with.
const PREFIX: &str = "req_";

/// The text is no id of a request or trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of a request or a trace")]
pub struct CorrelationIdError;

/// The id of one request: `req_` and 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RequestId([u8; 16]);

/// The id of a trace, W3C Trace Context section 3.2.2.3: 32 lowercase hexadecimal digits, not all of them zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceId([u8; 16]);

/// The id of a span within a trace, W3C Trace Context section 3.2.2.4: not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// The request that is being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correlation {
    /// Its own id.
    pub request: RequestId,
    /// The trace that it belongs to: the caller's, or one that begins with it.
    pub trace: TraceId,
    /// The caller's span, if it named one.
    pub parent: Option<SpanId>,
    /// When it came in, where somebody looked.
    pub since: Option<Instant>,
}

impl Correlation {
    /// A request of its own: `random` names it, and a trace that begins here too.
    #[must_use]
    pub fn begin(random: [u8; 16]) -> Self {
        // All zero is no trace; the chance of that is the chance of any other value.
        let trace = TraceId::new(random).unwrap_or(TraceId([1; 16]));
        Self { request: RequestId(random), trace, parent: None, since: None }
    }

    /// The same request, in the trace that its caller names; what is no `traceparent` (W3C Trace Context section 3.2)
    /// changes nothing.
    #[must_use]
    pub fn hinted(self, traceparent: Option<&str>) -> Self {
        match traceparent.and_then(read) {
            Some((trace, parent)) => Self { trace, parent: Some(parent), ..self },
            None => self,
        }
    }

    /// The same request, which came in at this instant.
    #[must_use]
    pub fn since(self, at: Instant) -> Self {
        Self { since: Some(at), ..self }
    }

    /// How long it has taken by `now`, where it is known when it came in.
    #[must_use]
    pub fn taken(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| now.saturating_duration_since(since))
    }

    /// The request in whose scope this is asked, if there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|current| *current).ok()
    }

    /// Everything that the future does, tasks that it starts apart, is of this request.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Everything that `work` does is of this request.
    pub fn enter<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }
}

/// `version "-" trace-id "-" parent-id "-" trace-flags`, and what later versions may add.
fn read(traceparent: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = traceparent.splitn(5, '-');
    let version = parts.next().filter(|version| version.len() == 2 && *version != "ff")?;
    lower_hex::<1>(version)?;
    let trace = TraceId::from_str(parts.next()?).ok()?;
    let parent = SpanId::new(lower_hex(parts.next()?)?)?;
    lower_hex::<1>(parts.next()?)?;
    (version != "00" || parts.next().is_none()).then_some((trace, parent))
}

/// Exactly `N` bytes in lowercase.
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let mut bytes = [0; N];
    (text.bytes().all(lower) && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

impl TraceId {
    /// A trace of this id; all zero is none.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// A span of its own, named by `random`.
    #[must_use]
    pub fn begin(random: [u8; 8]) -> Self {
        Self::new(random).unwrap_or(Self([1; 8]))
    }

    /// A span of this id; all zero is none.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = CorrelationIdError;

    fn from_str(text: &str) -> Result<Self, CorrelationIdError> {
        text.strip_prefix(PREFIX).and_then(lower_hex).map(Self).ok_or(CorrelationIdError)
    }
}

impl FromStr for TraceId {
    type Err = CorrelationIdError;

    fn from_str(text: &str) -> Result<Self, CorrelationIdError> {
        lower_hex(text).and_then(Self::new).ok_or(CorrelationIdError)
    }
}

impl TryFrom<String> for RequestId {
    type Error = CorrelationIdError;

    fn try_from(text: String) -> Result<Self, CorrelationIdError> {
        text.parse()
    }
}

impl TryFrom<String> for TraceId {
    type Error = CorrelationIdError;

    fn try_from(text: String) -> Result<Self, CorrelationIdError> {
        text.parse()
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.to_string()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn begun() -> Correlation {
        Correlation::begin([7; 16])
    }

    #[test]
    fn a_caller_may_name_the_trace_and_never_the_request() {
        let hinted = begun().hinted(Some(&format!("00-{TRACE}-00f067aa0ba902b7-01")));
        assert_eq!(hinted.trace.to_string(), TRACE);
        assert_eq!(hinted.parent.unwrap().as_bytes(), &[0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 2, 0xb7]);
        assert_eq!(hinted.request, begun().request);
        let later = format!("01-{TRACE}-00f067aa0ba902b7-01-what-the-future-holds");
        assert_eq!(begun().hinted(Some(&later)).trace.to_string(), TRACE);
    }

    #[test]
    fn what_is_no_traceparent_changes_nothing() {
        let zero = "0".repeat(32);
        for text in [
            "",
            "00",
            &format!("00-{TRACE}"),
            &format!("00-{TRACE}-00f067aa0ba902b7"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!("0-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-00f067aa0ba902b7-0é"),
            &format!("00-{TRACE}é-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(begun().hinted(Some(text)), begun(), "{text}");
        }
        assert_eq!(begun().hinted(None), begun());
    }

    #[test]
    fn an_id_reads_as_it_is_written_and_no_other_way() {
        let Correlation { request, trace, .. } = begun();
        assert_eq!(request.to_string().parse(), Ok(request));
        assert_eq!(trace.to_string().parse(), Ok(trace));
        let bare = request.to_string().replace("req_", "");
        assert_eq!(bare.parse::<RequestId>(), Err(CorrelationIdError));
        assert_eq!("0".repeat(32).parse::<TraceId>(), Err(CorrelationIdError));
    }

    #[tokio::test]
    async fn work_knows_its_request_and_nobody_elses() {
        assert_eq!(Correlation::current(), None);
        let seen = begun().scope(async { Correlation::current() }).await;
        assert_eq!((seen, Correlation::current()), (Some(begun()), None));
        assert_eq!(begun().enter(Correlation::current), Some(begun()));
    }
}
