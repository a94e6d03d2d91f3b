//! The daemon's own log and its metrics.
//!
//! The log is one line an event on standard error, at the levels that `RUST_LOG` names, `info` unless it does. It is for
//! the people who run the daemon and holds no token and no key; what was decided is in the audit log. Metrics are those of
//! the process and are read over an admin socket; no port is opened for them, and no label names a workload.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::{change, federation, issuer, post_checks, ssf};

/// What is counted in this process.
static COUNTED: OnceLock<PrometheusHandle> = OnceLock::new();

/// How often what was measured is put together, so that it does not pile up while nobody reads it.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the metrics are about.
const DESCRIPTIONS: [(&str, &str); 12] = [
    (
        "marque_approval_decisions_total",
        "What operators said of intents that wait, by the decision",
    ),
    ("marque_denials_total", "Requests for intents that were refused, by code, class and playbook"),
    (
        "marque_denial_followed_by_break_glass",
        "Break-glass grants within an hour of a refusal of the same target",
    ),
    (
        "marque_denial_followed_by_success_within_1h",
        "Grants within an hour of a refusal of the same target",
    ),
    (
        "marque_limit_refusals_total",
        "What a limit of a socket has refused, by the name of the limit",
    ),
    (
        crate::issuer::INTENTS_ENDED,
        "Intents that a clock, a parent or a lost agent ended, by `ended_for` and whether they were used and not reported",
    ),
    (
        "marque_pin_refusals_total",
        "Connections whose process was not, or no longer, the one that connected",
    ),
    (change::LOOKUPS, "Questions to ticket systems, by system and by what came of them"),
    (post_checks::CHECKED, "Post-checks of reported work, by what they said"),
    (change::ENDED, "Grants that change control ended, by why"),
    ssf::SENT,
    ssf::RECEIVED,
];

/// Begins to count and to write the log. For commands that serve; the others say what they have to say as their answer.
pub(crate) fn start() {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    // Only a test that serves twice in one process comes here a second time.
    drop(started);
    let counting = PrometheusBuilder::new().install_recorder();
    if let Some(handle) = counting.ok().filter(|_handle| COUNTED.get().is_none()) {
        COUNTED.get_or_init(|| handle);
        for (name, description) in DESCRIPTIONS {
            metrics::describe_counter!(name, description);
        }
        metrics::describe_histogram!(
            "marque_approval_decision_seconds",
            "How long operators had an intent before their eyes when they approved it"
        );
        for (name, description) in issuer::COUNTERS {
            metrics::describe_counter!(name, description);
        }
        metrics::describe_gauge!(issuer::TREND.0, issuer::TREND.1);
        metrics::describe_gauge!("marque_connections_open", "Connections that are open");
        metrics::describe_gauge!("marque_calls_open", "Calls that are open");
        metrics::describe_gauge!(
            "marque_unreadable_rows",
            "Rows of the stores that were found not to read; nothing is done with them"
        );
        metrics::describe_gauge!(
            federation::STALE,
            "1 where no bundle of the federated trust domain is used: it is too old, or was never fetched"
        );
        metrics::describe_gauge!(
            federation::REFRESHED,
            "When the bundle of the federated trust domain was fetched last, in seconds since 1970"
        );
    }
}

/// Everything that is counted and measured, in the Prometheus text format; empty where nothing is.
pub(crate) fn metrics() -> String {
    COUNTED.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps what is measured small, for as long as it is polled.
pub(crate) async fn keep_up() -> std::convert::Infallible {
    loop {
        tokio::time::sleep(UPKEEP).await;
        if let Some(counted) = COUNTED.get() {
            counted.run_upkeep();
        }
    }
}
