//! Traces, metrics and the daemon's log for an OpenTelemetry collector: OTLP 1 over HTTP, in protobuf (`http/protobuf`).
//!
//! Off unless an endpoint is named. Nobody waits for a collector: what is to go there is put into a queue that has an end,
//! and where that is full it is dropped and counted. A span has the names and values that this daemon gave it and nothing
//! of a request's body or headers. Deliberately absent: gRPC, JSON, sampling.

mod courier;
mod numbers;
mod settings;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::courier::{Courier, Queue, Waiting};
use self::settings::Settings;
use self::spans::Spans;
use super::listener::Watched;

/// How long what still waits may take to be sent once the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The signals that wait in queues, as metrics name them.
const TRACES: &str = "traces";
const LOGS: &str = "logs";

/// What is sent, and where to.
#[derive(Debug)]
pub(crate) struct Exporter {
    settings: Arc<Settings>,
    spans: Option<(Queue<Span>, Waiting<Span>)>,
    logs: Option<(Queue<LogRecord>, Waiting<LogRecord>)>,
}

impl Exporter {
    /// By the variables of the OpenTelemetry specification, and the endpoint of the command line where there is one;
    /// `None` where nothing is to be sent anywhere.
    ///
    /// # Errors
    /// A variable does not read, or asks for what is not offered.
    pub(crate) fn new(endpoint: Option<&str>) -> anyhow::Result<Option<Self>> {
        let Some(settings) = Settings::read(endpoint, crate::config::otel)? else {
            return Ok(None);
        };
        let spans = settings.traces.is_some().then(|| courier::queue(TRACES));
        let logs = settings.logs.is_some().then(|| courier::queue(LOGS));
        Ok(Some(Self { settings: Arc::new(settings), spans, logs }))
    }

    /// What listens to the spans and events of the daemon.
    pub(crate) fn layer(&self) -> Spans {
        let spans = self.spans.as_ref().map(|(queue, _)| queue.clone());
        Spans::new(spans, self.logs.as_ref().map(|(queue, _)| queue.clone()))
    }

    /// Sends until `stop` is cancelled, and then for a little while what still waits. What is not taken by then is counted,
    /// and the metrics that say so go last.
    pub(crate) async fn run(self, watched: Arc<Watched>, stop: CancellationToken) {
        let Self { settings, spans, logs } = self;
        let (mut sending, mut held) = (JoinSet::new(), Vec::new());
        let resource = settings.resource();
        if let (Some(to), Some((queue, waiting))) = (&settings.traces, spans) {
            let courier = Courier::new(to.clone(), &settings, TRACES);
            let (resource, of) = (resource.clone(), queue.held());
            held.push((TRACES, of.clone()));
            let written = move |spans| of_spans(&resource, spans);
            sending.spawn(courier.batches((waiting, of), stop.clone(), written));
        }
        if let (Some(to), Some((queue, waiting))) = (&settings.logs, logs) {
            let courier = Courier::new(to.clone(), &settings, LOGS);
            let (resource, of) = (resource.clone(), queue.held());
            held.push((LOGS, of.clone()));
            let written = move |logs| of_logs(&resource, logs);
            sending.spawn(courier.batches((waiting, of), stop.clone(), written));
        }
        let (last, mut measuring) = (CancellationToken::new(), JoinSet::new());
        if let Some(to) = &settings.metrics {
            let courier = Courier::new(to.clone(), &settings, "metrics");
            let (watched, last) = (Arc::clone(&watched), last.clone());
            measuring.spawn(measure(courier, settings.interval, resource, watched, last));
        }
        stop.cancelled().await;
        ended(&mut sending).await;
        for (signal, held) in held {
            let lost = held.give_up(signal);
            if lost > 0 {
                tracing::warn!(signal, lost, "telemetry was dropped as the daemon ended");
            }
        }
        watched.ended();
        last.cancel();
        if !ended(&mut measuring).await {
            tracing::warn!("the collector did not take the last metrics");
        }
    }
}

/// Waits for tasks for a little while, and ends those that go on; whether none did.
async fn ended(tasks: &mut JoinSet<()>) -> bool {
    let all = async { while tasks.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(LAST_WORDS, all).await.is_ok();
    tasks.shutdown().await;
    in_time
}

/// Sends the metrics, each time all of them.
async fn measure(
    courier: Courier,
    interval: Duration,
    resource: Resource,
    watched: Arc<Watched>,
    stop: CancellationToken,
) {
    let started = numbers::nanoseconds_now();
    loop {
        let ending = tokio::select! {
            () = tokio::time::sleep(interval) => false,
            () = stop.cancelled() => true,
        };
        if !ending {
            watched.measure().await;
        }
        let metrics = numbers::read(&super::metrics(), started, numbers::nanoseconds_now());
        let count = metrics.len();
        courier.send(of_metrics(&resource, metrics), count).await;
        if ending {
            return;
        }
    }
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("marque".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Some(InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

fn of_spans(resource: &Resource, spans: Vec<Span>) -> Vec<u8> {
    let scoped = ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() };
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scoped],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn of_logs(resource: &Resource, log_records: Vec<LogRecord>) -> Vec<u8> {
    let scoped = ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() };
    let resource_logs = vec![ResourceLogs {
        resource: Some(resource.clone()),
        scope_logs: vec![scoped],
        ..ResourceLogs::default()
    }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn of_metrics(resource: &Resource, metrics: Vec<Metric>) -> Vec<u8> {
    let scoped = ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() };
    let resource_metrics = vec![ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics: vec![scoped],
        ..ResourceMetrics::default()
    }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}
