//! `[[audit.sinks]]`: signed checkpoints and records of the log, pushed to where the host's owner cannot rewrite them.
//!
//! A sink is a cursor over the log, as a webhook is, moved by one replica at a time and kept in the store: what was not taken
//! is sent again, over failures and restarts, and nothing is ever left out or put aside. So a sink that takes nothing falls
//! behind; how far is in `marque status`, in the metrics and in the daemon's output. Recording never waits for any.

mod folder;
mod http_target;
mod pusher;
mod state;
mod syslog;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use marque_audit::Leaf;
use marque_audit::format::{Format, FormatError};
use marque_registry::{
    AuditSink, Finding, SinkContent, SinkTarget, TrustDomainDocument, TrustDomainFolder,
};
use marque_spiffe::{Clock, Random, TrustDomain};
use marque_store::Store;
use rustls::ClientConfig;

use self::folder::Folder;
use self::http_target::HttpTarget;
use self::syslog::Syslog;
use crate::federation::{web, web_authorities};
use crate::outgoing::OutgoingError;

pub use self::state::SinkView;

/// How many leaves a sink has not been sent yet.
pub(crate) const LAG: &str = "marque_audit_sink_lag_records";
/// Pushes, by sink and by what came of them.
pub(crate) const PUSHES: &str = "marque_audit_sink_pushes_total";

/// The sinks of one trust domain.
#[derive(Debug)]
pub(crate) struct Sinks {
    sinks: Vec<Arc<Sink>>,
    trust_domain: TrustDomain,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// One sink, ready to be pushed to.
#[derive(Debug)]
struct Sink {
    name: String,
    content: Content,
    target: Target,
    /// How it is shown.
    to: String,
    every: Duration,
}

/// What a sink is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Checkpoints,
    Records(Format),
}

/// Where it is.
#[derive(Debug)]
enum Target {
    Folder(Folder),
    Http(HttpTarget),
    Syslog(Syslog),
}

/// What is pushed in one go.
#[derive(Debug, Clone, Copy)]
enum Push<'a> {
    /// The signed note of a checkpoint over so many leaves.
    Checkpoint(u64, &'a str),
    /// The same with the cosignatures of enough witnesses.
    Cosigned(u64, &'a str),
    /// Records that follow each other, in this form; at least one.
    Records(&'a [Leaf], Format),
}

/// Why a push was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Call(#[from] OutgoingError),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("a record cannot be written in its form")]
    Format(#[from] FormatError),
    #[error("the token cannot be read: {0}")]
    Bearer(String),
    #[error("write to the folder")]
    Folder(#[source] std::io::Error),
    #[error("`{0}` is there and holds something else")]
    Differs(String),
    #[error("send to the receiver of syslog messages")]
    Syslog(#[source] std::io::Error),
    #[error("nothing happened for {0:?}")]
    TimedOut(Duration),
}

/// What sinks are opened with.
pub(crate) struct SinksParts {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Sinks {
    /// Reads certificates; nothing is pushed yet. A folder or a token that is missing is found by the first push.
    pub(crate) fn open(
        document: &TrustDomainDocument,
        folder: &Path,
        parts: SinksParts,
    ) -> anyhow::Result<Self> {
        let SinksParts { store, clock, random } = parts;
        let open = |settings: &AuditSink| {
            let sink = sink(settings, (folder, document.name()), &clock);
            sink.map(Arc::new)
                .with_context(|| format!("prepare the audit sink `{}`", settings.name()))
        };
        let sinks = document.audit_sinks().iter().map(open).collect::<anyhow::Result<_>>()?;
        let trust_domain = document.name().clone();
        Ok(Self { sinks, trust_domain, store, clock, random })
    }
}

fn sink(
    settings: &AuditSink,
    (folder, trust_domain): (&Path, &TrustDomain),
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Sink> {
    let tls: Option<Arc<ClientConfig>> = match settings.ca_file() {
        Some(file) => Some(web(web_authorities(&folder.join(file))?, Arc::clone(clock))?),
        None => None,
    };
    let content = match settings.sends() {
        SinkContent::Checkpoints => Content::Checkpoints,
        SinkContent::Records(format) => Content::Records(format.parse()?),
    };
    let target = match settings.to() {
        SinkTarget::Folder(path) => Target::Folder(Folder::new(path)),
        SinkTarget::Http(url) => {
            let bearer = settings.bearer_file().map(|file| (folder, file));
            Target::Http(HttpTarget::new(url.as_str(), tls, bearer)?)
        }
        SinkTarget::Syslog(target) => {
            Target::Syslog(Syslog::new(target.clone(), tls, trust_domain.clone())?)
        }
    };
    let (name, to) = (settings.name().to_owned(), settings.to().to_string());
    Ok(Sink { name, content, target, to, every: settings.every() })
}

impl Sink {
    async fn push(&self, push: Push<'_>) -> Result<(), NotTaken> {
        match &self.target {
            Target::Folder(folder) => folder.push(push).await,
            Target::Http(http) => http.push(push).await,
            Target::Syslog(syslog) => syslog.push(push).await,
        }
    }
}

/// Forms of records that there are none of.
pub(crate) fn unknown_formats(folder: &TrustDomainFolder) -> Vec<Finding> {
    let unknown = folder.document.audit_sinks().iter().filter_map(|sink| {
        let SinkContent::Records(format) = sink.sends() else { return None };
        let error = format.parse::<Format>().err()?;
        let message = format!("`format` in [audit.sinks]: `{format}`: {error}");
        Some(Finding::at(&folder.path.join("trust-domain.toml"), sink.line(), message))
    });
    unknown.collect()
}

#[cfg(test)]
mod tests;
