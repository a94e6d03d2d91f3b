//! A process that serves trust domains: says where, runs until it is asked to stop, and drains.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use std::io::{IsTerminal as _, Write as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{OutputFormat, TelemetryOptions};
use crate::endpoints::Endpoints;
use crate::issuer::folder::CheckedFolder;
use crate::issuer::reload::watch::watch;
use crate::issuer::serve::{Built, Shared};
use crate::issuer::served::Served;
use crate::telemetry;
use crate::telemetry::inventory::Textfile;
use crate::telemetry::listener::{Listener, TelemetryListen, Watched};
use crate::telemetry::otlp::Exporter;

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
    watchers: Watchers,
    output: OutputFormat,
) -> anyhow::Result<ExitCode> {
    raise_descriptor_limit();
    let registries = built.iter().map(|one| Arc::clone(one.served.lasting().registry())).collect();
    if shared.neighbours.set(registries).is_err() {
        tracing::error!("the trust domains of this process were set twice");
    }
    let endpoints = Endpoints {
        trust_domains: built.iter().map(|one| one.endpoints.clone()).collect(),
        telemetry: watchers.at.as_ref().map(ToString::to_string),
    };
    let stop = shared.stop.clone();
    shared.endpoints.know(endpoints.clone());
    let served: Vec<Arc<Served>> = built.iter().map(|one| Arc::clone(&one.served)).collect();
    let issuers = built.iter().map(|one| Arc::clone(one.served.lasting())).collect();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut hangups = Hangups::listen().context("listen for SIGHUP")?;
    let mut tasks = JoinSet::new();
    for one in built {
        tasks.spawn(one.run(stop.clone()));
    }
    let file = shared.endpoints.path().to_owned();
    shared.endpoints.write().with_context(|| format!("write `{}`", file.display()))?;
    watchers.watched.serve(issuers, stop.clone());
    say_ready(&endpoints, &file, output)?;
    if shared.watch {
        for one in &served {
            let watching = watch(Arc::clone(one), stop.clone());
            tasks.spawn(async move {
                watching.await;
                Ok(())
            });
        }
    }
    let mut outcome = Ok(ExitCode::SUCCESS);
    let mut upkeep = tokio::time::interval(telemetry::UPKEEP);
    loop {
        tokio::select! {
            _ = upkeep.tick() => telemetry::keep_up(),
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
            () = hangups.next() => reload_all(&served),
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
    watchers.end().await;
    outcome
}

/// SIGHUP, where it is not the word of a terminal that goes: then it ends the process, as ever.
struct Hangups(Option<Signal>);

impl Hangups {
    fn listen() -> std::io::Result<Self> {
        let of_terminal = std::io::stdin().is_terminal();
        let hangups = (!of_terminal).then(|| signal(SignalKind::hangup()));
        hangups.transpose().map(Self)
    }

    /// The next one; never, where it is a terminal's word.
    async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Has every folder read anew; each is taken or refused by itself, and says so itself.
fn reload_all(served: &[Arc<Served>]) {
    for one in served {
        let one = Arc::clone(one);
        tokio::spawn(async move {
            if let Err(error) = one.reload("SIGHUP".to_owned(), false).await {
                let trust_domain = one.lasting().trust_domain();
                tracing::error!(error = &*error, %trust_domain, "the folder could not be read anew");
            }
        });
    }
}

/// Who is told how the process is: from before it serves until after.
#[derive(Debug)]
pub(crate) struct Watchers {
    watched: Arc<Watched>,
    /// Where health and metrics are served, if they are.
    at: Option<TelemetryListen>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Watchers {
    /// Listens, and begins to send.
    pub(crate) async fn begin(
        options: TelemetryOptions,
        exporter: Option<Exporter>,
    ) -> anyhow::Result<Self> {
        let watched = Arc::new(Watched::new(options.inventory.map(Textfile::new)));
        let listener = Listener::bind(&options.listen).await?;
        let at = listener.as_ref().map(|listener| listener.at.clone());
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        if let Some(listener) = listener {
            tasks.spawn(listener.run(Arc::clone(&watched), stop.clone()));
        }
        if let Some(exporter) = exporter {
            tasks.spawn(exporter.run(Arc::clone(&watched), stop.clone()));
        }
        Ok(Self { watched, at, stop, tasks })
    }

    /// Tells that these trust domains will be served.
    pub(crate) fn expect(&self, folders: &[CheckedFolder]) {
        let names = folders.iter().map(|checked| checked.folder.document.name().to_string());
        self.watched.expect(names.collect());
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "who watches has stopped"
                );
            }
        }
    }
}

fn say_ready(
    endpoints: &Endpoints,
    file: &std::path::Path,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        OutputFormat::Json => {
            let line = json!({
                "event": "ready",
                "endpoints": file,
                "trust_domains": endpoints.trust_domains,
                "telemetry": endpoints.telemetry,
            });
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
            if let Some(at) = &endpoints.telemetry {
                writeln!(out, "health and metrics  {at}")?;
            }
            writeln!(out, "ready, see {}", file.display())?;
        }
    }
    out.flush().context("say that everything is ready")
}
