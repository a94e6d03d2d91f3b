//! `marque status`: how the daemon is.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::pairs;
use super::text::moment;
use crate::endpoints::{DownstreamEndpoint, SpiffeBundleEndpoint};
use crate::grpc::admin::{FolderView, RefusedReloadView, StatusView, UpstreamView};
use crate::sinks::SinkView;

/// Show how the daemon is, one trust domain after the other
#[derive(Debug, Args)]
pub(super) struct StatusArgs {}

impl StatusArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut all = Vec::new();
        for mut home in session.homes().await? {
            all.push(Status {
                daemon: home.admin.status().await?,
                audit_sinks: home
                    .admin
                    .audit_sinks()
                    .await
                    .map_err(|error| error.to_string())
                    .into(),
                workload_api_socket: home.at.workload_api_socket,
                broker_api_socket: home.at.broker_api_socket,
                bundle_url: home.at.bundle_url,
                bundle_spiffe: home.at.bundle_spiffe,
                downstream: home.at.downstream,
                svid_issuer_url: home.at.svid_issuer_url,
            });
        }
        session.output.show(&all, |all| all.iter().map(render).collect::<Vec<_>>().join("\n"))
    }
}

/// One trust domain: how it is, and where it is served.
#[derive(Debug, Serialize)]
struct Status {
    #[serde(flatten)]
    daemon: StatusView,
    workload_api_socket: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_api_socket: Option<PathBuf>,
    bundle_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle_spiffe: Option<SpiffeBundleEndpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downstream: Option<DownstreamEndpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    svid_issuer_url: Option<String>,
    audit_sinks: Sinks,
}

/// Where the log is pushed, or why that cannot be told: how the daemon is has to be told all the same.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Sinks {
    Told(Vec<SinkView>),
    Unknown { unknown: String },
}

impl From<Result<Vec<SinkView>, String>> for Sinks {
    fn from(told: Result<Vec<SinkView>, String>) -> Self {
        told.map_or_else(|unknown| Self::Unknown { unknown }, Self::Told)
    }
}

fn readiness(status: &StatusView) -> String {
    if status.ready {
        return "yes".to_owned();
    }
    let told = status.not_ready.iter().map(|reason| format!("{}: {}", reason.code, reason.detail));
    format!("no: {}", told.collect::<Vec<_>>().join("; "))
}

fn render(status: &Status) -> String {
    let Status {
        daemon: status,
        workload_api_socket,
        broker_api_socket,
        bundle_url,
        bundle_spiffe,
        downstream,
        svid_issuer_url,
        audit_sinks,
    } = status;
    let by_svid = bundle_spiffe.as_ref();
    let by_svid = by_svid.map(|at| format!("\nand at {} as {}", at.url, at.spiffe_id));
    let downstream = downstream.as_ref();
    let downstream = downstream.map(|at| format!("at {} as {}", at.address, at.spiffe_id));
    let broker_api = broker_api_socket.as_ref();
    pairs([
        ("trust domain", status.trust_domain.clone()),
        ("environment", status.environment.to_owned()),
        ("workload api", format!("unix:{}", workload_api_socket.display())),
        (
            "broker api",
            broker_api
                .map_or_else(|| "no broker".to_owned(), |path| format!("unix:{}", path.display())),
        ),
        ("ready", readiness(status)),
        ("version", status.version.clone()),
        ("running since", moment(status.started_at)),
        ("folder", status.folder.as_ref().map_or_else(|| "not told".to_owned(), folder)),
        ("entries", format!("{} (revision {})", status.entries, status.registry_revision)),
        ("playbooks", status.playbooks.to_string()),
        (
            "bundle",
            format!(
                "sequence {} at {bundle_url}{}",
                status.bundle_sequence,
                by_svid.unwrap_or_default()
            ),
        ),
        (
            "upstream",
            status.upstream.as_ref().map_or_else(|| "none that is followed".to_owned(), upstream),
        ),
        ("downstream", downstream.unwrap_or_else(|| "nobody".to_owned())),
        ("jwt-svid issuer", svid_issuer_url.clone().unwrap_or_else(|| "none".to_owned())),
        ("kill epoch", status.kill_epoch.to_string()),
        ("log", format!("{} leaves", status.log_size)),
        ("audit sinks", sinks(audit_sinks)),
        (
            "store",
            match status.unreadable_rows {
                0 => "every row that was looked at reads".to_owned(),
                rows => {
                    format!("{rows} rows do not read and are not used; see the daemon's output")
                }
            },
        ),
    ])
}

/// Whose bundle the own one follows, and since when nothing was heard of it.
fn upstream(standing: &UpstreamView) -> String {
    let UpstreamView { source, sequence, heard_at, stale } = standing;
    let heard = match heard_at {
        Some(at) => format!("heard {}", moment(Some(*at))),
        None => "not heard since the start".to_owned(),
    };
    let stale =
        if *stale { "; that is too long: what it takes out is believed here still" } else { "" };
    format!("bundle of {source}, sequence {sequence}, {heard}{stale}")
}

/// What was read when, and whether that is still what the files say.
fn folder(standing: &FolderView) -> String {
    let FolderView { digest, loaded_at, differs, refused } = standing;
    let mut told = format!("{digest}, loaded {}", moment(*loaded_at));
    if *differs {
        told.push_str("\nits files are others by now: see `marque reload --dry-run`");
    }
    if let Some(RefusedReloadView { at, by, code, first }) = refused {
        let at = moment(*at);
        told.push_str(&format!("\nthe reload of {by} was refused {at} ({code}): {first}"));
    }
    told
}

/// One sink a line: how far behind, and what is in the way.
fn sinks(sinks: &Sinks) -> String {
    let sinks = match sinks {
        Sinks::Told(sinks) => sinks,
        Sinks::Unknown { unknown } => return format!("not known: {unknown}"),
    };
    let line = |sink: &SinkView| {
        let SinkView { name, sends, to, behind, failed, failure, .. } = sink;
        let fault = failure.as_ref().filter(|_| *failed > 0);
        let fault = fault.map(|why| format!("; not taken {failed} times: {why}"));
        format!("{name} ({sends} to {to}): {behind} behind{}", fault.unwrap_or_default())
    };
    if sinks.is_empty() {
        return "none: nothing of the log leaves this host by itself".to_owned();
    }
    sinks.iter().map(line).collect::<Vec<_>>().join("\n")
}
