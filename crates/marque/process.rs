//! A process that serves trust domains: says where, runs until it is asked to stop, and drains.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;
use std::io::Write as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::OutputFormat;
use crate::endpoints::{Endpoints, FILE_NAME};
use crate::issuer::serve::{Built, Shared};
use crate::telemetry;

/// Raises the soft limit of open files to the hard one: each connection and each attested process is a descriptor, and
/// the usual soft limit of 1024 is far below what the connection limits allow.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the limit of open files stays as it is"
        );
    }
}

/// Serves what was built until SIGTERM or SIGINT; comes back when everything has ended.
pub(crate) async fn serve_all(
    built: Vec<Built>,
    shared: &Shared,
    output: OutputFormat,
) -> anyhow::Result<ExitCode> {
    raise_descriptor_limit();
    let registries = built.iter().map(|one| one.issuer.registry().clone()).collect();
    if shared.neighbours.set(registries).is_err() {
        tracing::error!("the trust domains of this process were set twice");
    }
    let endpoints =
        Endpoints { trust_domains: built.iter().map(|one| one.endpoints.clone()).collect() };
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut tasks = JoinSet::new();
    for one in built {
        tasks.spawn(one.run(stop.clone()));
    }
    let file = shared.data_dir.join(FILE_NAME);
    endpoints.write(&file).with_context(|| format!("write `{}`", file.display()))?;
    say_ready(&endpoints, &file, output)?;
    let mut outcome = Ok(ExitCode::SUCCESS);
    let mut upkeep = std::pin::pin!(telemetry::keep_up());
    loop {
        tokio::select! {
            never = upkeep.as_mut() => match never {},
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
            ended = tasks.join_next() => match ended {
                None => break,
                Some(ended) => {
                    if let Err(error) = ended.context("a trust domain stopped").and_then(|ended| ended) {
                        stop.cancel();
                        outcome = outcome.and(Err(error));
                    }
                }
            },
        }
    }
    std::fs::remove_file(&file).with_context(|| format!("remove `{}`", file.display()))?;
    outcome
}

fn say_ready(
    endpoints: &Endpoints,
    file: &std::path::Path,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        OutputFormat::Json => {
            let line = json!({ "event": "ready", "endpoints": file, "trust_domains": endpoints.trust_domains });
            writeln!(out, "{line}")?;
        }
        OutputFormat::Text => {
            for one in &endpoints.trust_domains {
                writeln!(out, "{} ({})", one.name, one.environment)?;
                writeln!(out, "  workload api  unix:{}", one.workload_api_socket.display())?;
                if let Some(socket) = &one.broker_api_socket {
                    writeln!(out, "  broker api    unix:{}", socket.display())?;
                }
                writeln!(out, "  issuer        {}", one.issuer_url)?;
            }
            writeln!(out, "ready, see {}", file.display())?;
        }
    }
    out.flush().context("say that everything is ready")
}
