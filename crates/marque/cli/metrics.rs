//! `marque metrics`: what the daemon counts and measures.

use clap::Args;
use serde::Serialize;

use super::Session;
use super::daemon::Home;
use super::failure::Failure;
use super::output::visible_lines;

/// Print what the daemon counts and measures, in the Prometheus text format
#[derive(Debug, Args)]
pub(super) struct MetricsArgs {}

/// In JSON.
#[derive(Debug, Serialize)]
struct Metrics {
    prometheus: String,
}

impl MetricsArgs {
    /// Metrics are those of the daemon's process, so any of its trust domains will do, unless one is named.
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut refused = None;
        for at in session.place.several()? {
            match Home::reach(at).await?.admin.metrics().await {
                Ok(prometheus) => {
                    let metrics = Metrics { prometheus };
                    return session.output.show(&metrics, |found| visible_lines(&found.prometheus));
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(|| Failure::failed("no trust domain is served"), Failure::from))
    }
}
