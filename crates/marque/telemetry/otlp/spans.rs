//! From the daemon's own spans and log lines to OTLP's. Spans of others, such as the HTTP library's, are not looked at.

use std::fmt;

use marque_audit::{Correlation, SpanId, TraceId};
use marque_spiffe::Random as _;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::courier::Queue;
use super::numbers::nanoseconds_now;
use super::settings::attribute;
use crate::clock::SystemRandomness;

/// How the targets of our own spans and events begin.
const OURS: &str = "marque";
/// The target of what is said about sending, which is not sent.
const ABOUT_SENDING: &str = "marque::telemetry::otlp";
/// How long one value may be, in characters.
const MAX_VALUE: usize = 256;
/// The spans that a caller began.
const SERVED: [&str; 2] = ["request", "rpc"];

/// Listens to spans and events.
#[derive(Debug)]
pub(crate) struct Spans {
    spans: Option<Queue<Span>>,
    logs: Option<Queue<LogRecord>>,
    random: SystemRandomness,
}

/// A span that has not ended.
#[derive(Debug)]
struct Open {
    trace: TraceId,
    id: SpanId,
    parent: Option<SpanId>,
    since: u64,
    attributes: Vec<KeyValue>,
}

impl Spans {
    pub(super) fn new(spans: Option<Queue<Span>>, logs: Option<Queue<LogRecord>>) -> Self {
        Self { spans, logs, random: SystemRandomness::default() }
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match self.random.fill(&mut bytes) {
            Ok(()) => bytes,
            // An id that others have too is better than none: a span without one is refused.
            Err(_none) => [1; N],
        }
    }

    fn open(&self, above: Option<(TraceId, SpanId)>) -> Open {
        let current = Correlation::current();
        let (trace, parent) = match (above, current) {
            (Some((trace, parent)), _) => (Some(trace), Some(parent)),
            (None, Some(current)) => (Some(current.trace), current.parent),
            (None, None) => (None, None),
        };
        let own = || Correlation::begin(self.bytes()).trace;
        Open {
            trace: trace.unwrap_or_else(own),
            id: SpanId::begin(self.bytes()),
            parent,
            since: nanoseconds_now(),
            attributes: Vec::new(),
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OURS)
        && !metadata.target().starts_with(ABOUT_SENDING)
        && *metadata.level() <= Level::INFO
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| is_ours(span.metadata())) else { return };
        let above = span
            .scope()
            .skip(1)
            .find_map(|span| span.extensions().get::<Open>().map(|open| (open.trace, open.id)));
        let mut open = self.open(above);
        attributes.record(&mut Fields(&mut open.attributes));
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            record.record(&mut Fields(&mut open.attributes));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(logs) = self.logs.as_ref().filter(|_| is_ours(event.metadata())) else { return };
        let mut attributes = Vec::new();
        event.record(&mut Fields(&mut attributes));
        let message = attributes.iter().position(|one| one.key == "message");
        let message = message.and_then(|at| attributes.swap_remove(at).value);
        let within = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<Open>().map(|open| (open.trace, open.id)))
        });
        let trace = within.map(|(trace, _)| trace);
        let trace = trace.or_else(|| Correlation::current().map(|current| current.trace));
        let now = nanoseconds_now();
        let (severity, text) = severity(*event.metadata().level());
        logs.put(LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: severity.into(),
            severity_text: text.to_owned(),
            body: message,
            attributes,
            trace_id: trace.map(|trace| trace.as_bytes().to_vec()).unwrap_or_default(),
            span_id: within.map(|(_, span)| span.as_bytes().to_vec()).unwrap_or_default(),
            ..LogRecord::default()
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let (Some(spans), Some(span)) = (&self.spans, context.span(&id)) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        let name = span.metadata().name();
        let kind = if SERVED.contains(&name) { SpanKind::Server } else { SpanKind::Internal };
        spans.put(Span {
            trace_id: open.trace.as_bytes().to_vec(),
            span_id: open.id.as_bytes().to_vec(),
            parent_span_id: open.parent.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            kind: kind.into(),
            start_time_unix_nano: open.since,
            end_time_unix_nano: nanoseconds_now(),
            attributes: open.attributes,
            ..Span::default()
        });
    }
}

fn severity(level: Level) -> (SeverityNumber, &'static str) {
    match level {
        Level::ERROR => (SeverityNumber::Error, "ERROR"),
        Level::WARN => (SeverityNumber::Warn, "WARN"),
        Level::INFO => (SeverityNumber::Info, "INFO"),
        Level::DEBUG => (SeverityNumber::Debug, "DEBUG"),
        Level::TRACE => (SeverityNumber::Trace, "TRACE"),
    }
}

/// Takes the fields of a span or event; long texts are cut.
struct Fields<'a>(&'a mut Vec<KeyValue>);

impl Fields<'_> {
    fn text(&mut self, field: &Field, text: String) {
        let text =
            if text.len() > MAX_VALUE { text.chars().take(MAX_VALUE).collect() } else { text };
        self.0.push(attribute(field.name(), Value::StringValue(text)));
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push(attribute(field.name(), Value::BoolValue(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push(attribute(field.name(), Value::IntValue(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_too_large) => self.text(field, value.to_string()),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut told = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            told = format!("{told}: {error}");
            source = error.source();
        }
        self.text(field, told);
    }
}
