//! The daemon's own log, its metrics, its health, and what of these goes to a collector.
//!
//! The log is one line an event on standard error, at the levels that `RUST_LOG` names, `info` unless it does. It is for
//! the people who run the daemon and holds no token and no key; what was decided is in the audit log. Metrics are those of
//! the process; they are read over an admin socket, or from the plain listener of [`listener`] where one was asked for. No
//! label names a workload.

pub(crate) mod described;
pub mod health;
pub(crate) mod inventory;
pub mod listener;
pub(crate) mod otlp;
pub(crate) mod samples;
pub(crate) mod timer;

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::HeaderMap;
use marque_audit::Correlation;
use marque_spiffe::{Clock as _, Random as _};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::described::{Kind, METRICS};
use self::otlp::Exporter;
use crate::clock::{SystemClock, SystemRandomness};

/// What is counted in this process.
static COUNTED: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often what was measured is put together, so that it does not pile up while nobody reads it.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);
/// The header in which a caller may name its trace (W3C Trace Context section 3.2).
const TRACEPARENT: &str = "traceparent";

/// Begins to count and to write the log. For commands that serve; the others say what they have to say as their answer.
/// What goes to a collector, by `collector` or else by the environment, waits with the exporter until that is run.
///
/// # Errors
/// The settings of the exporter do not read.
pub(crate) fn start(collector: Option<&str>) -> anyhow::Result<Option<Exporter>> {
    let exporter = Exporter::new(collector)?;
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let told = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter);
    // Not for whatever the libraries below could tell in addition.
    let sent = exporter.as_ref().map(|exporter| exporter.layer().with_filter(LevelFilter::INFO));
    // Only a test that serves twice in one process comes here a second time.
    drop(tracing_subscriber::registry().with(told).with(sent).try_init());
    count();
    Ok(exporter)
}

fn count() {
    let buckets = METRICS.iter().filter_map(|one| match one.kind {
        Kind::Histogram(bounds) => Some((one.name, bounds)),
        Kind::Counter | Kind::Gauge => None,
    });
    let builder = buckets.fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
        let matcher = Matcher::Full(name.to_owned());
        // Fails for no bounds at all, and none of ours has none.
        builder
            .set_buckets_for_metric(matcher, bounds)
            .unwrap_or_else(|_none| PrometheusBuilder::new())
    });
    let counting = builder.install_recorder();
    if let Some(handle) = counting.ok().filter(|_handle| COUNTED.get().is_none()) {
        COUNTED.get_or_init(|| handle);
        described::describe();
        metrics::gauge!(described::BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let since = i32::try_from(SystemClock.now().as_second()).unwrap_or(i32::MAX);
        metrics::gauge!(described::STARTED).set(f64::from(since));
    }
}

/// Everything that is counted and measured, in the Prometheus text format; empty where nothing is.
pub(crate) fn metrics() -> String {
    COUNTED.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Puts together what was measured since the last time.
pub(crate) fn keep_up() {
    if let Some(counted) = COUNTED.get() {
        counted.run_upkeep();
    }
}

/// A number as metrics have it.
#[expect(clippy::cast_precision_loss, reason = "above 2^53 a metric may be off by one in 10^15")]
pub(crate) const fn number(count: u64) -> f64 {
    count as f64
}

/// A new request of whoever sent these headers, which came in now. What they say of a trace is a hint; more than one word is none.
pub(crate) fn request(headers: &HeaderMap) -> Correlation {
    let mut bytes = [0; 16];
    if let Err(error) = SystemRandomness::default().fill(&mut bytes) {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "a request has no id of its own");
    }
    let mut hints = headers.get_all(TRACEPARENT).iter();
    let hint = hints.next().filter(|_| hints.next().is_none());
    let hint = hint.and_then(|hint| hint.to_str().ok());
    Correlation::begin(bytes).since(Instant::now()).hinted(hint)
}

#[cfg(test)]
mod tests;
