//! What commands that serve are told about who watches over them.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::telemetry::listener::TelemetryListen;

/// The socket in the data folder of `marque dev`.
const SOCKET: &str = "telemetry.sock";

/// The options of `marque dev` and `marque issuer`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Telemetry")]
pub(super) struct TelemetryArgs {
    /// Where `/live`, `/ready` and `/metrics` are served over plain HTTP: an address such as 127.0.0.1:9464,
    /// `unix:PATH`, or `off` [default: a socket in the data directory for `marque dev`, off for `marque issuer`]
    #[arg(long, value_name = "ADDRESS")]
    telemetry_listen: Option<TelemetryListen>,
    /// The OpenTelemetry collector that gets traces, metrics and the daemon's log, as http://127.0.0.1:4318;
    /// $OTEL_EXPORTER_OTLP_ENDPOINT and the other variables of OpenTelemetry say the same
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// A file in the Prometheus text format that says how many workflows an inventory found with stored secrets
    #[arg(long, value_name = "FILE")]
    inventory_metrics: Option<PathBuf>,
}

/// What is told to whoever watches over the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryOptions {
    /// Where health and metrics are served.
    pub listen: TelemetryListen,
    /// The collector, where the command line names one.
    pub collector: Option<String>,
    /// The numbers of an inventory.
    pub inventory: Option<PathBuf>,
}

impl TelemetryArgs {
    /// What was asked for; unless it says where to listen, a socket in `folder`, or nothing without one.
    pub(super) fn options(self, folder: Option<&Path>) -> TelemetryOptions {
        let Self { telemetry_listen, otlp_endpoint, inventory_metrics } = self;
        let usual = || match folder {
            Some(folder) => TelemetryListen::Unix(folder.join(SOCKET)),
            None => TelemetryListen::Off,
        };
        TelemetryOptions {
            listen: telemetry_listen.unwrap_or_else(usual),
            collector: otlp_endpoint,
            inventory: inventory_metrics,
        }
    }
}
