//! `[[audit.sinks]]`: where signed checkpoints and records of the log are pushed, so that they are outside of the host.
//!
//! Deliberately absent: pushing, and which forms of records there are.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::Environment;

use super::super::federation::Readable;
use super::super::issuer_keys::{Name, duration};
use super::super::oidc_issuers::Text;
use super::super::webhooks::WebhookUrl;
use crate::fields::{Fields, Log};

/// How many sinks a trust domain may have.
pub const MAX_AUDIT_SINKS: usize = 16;
const RECORDS_EVERY: Duration = Duration::from_secs(1);
const CHECKPOINTS_EVERY: Duration = Duration::from_secs(10);
const MAX_EVERY: Duration = Duration::from_hours(1);

/// One of `[[audit.sinks]]`.
///
/// ```toml
/// [[audit.sinks]]
/// name = "siem"                          # [a-z0-9-]{1,32}, unique
/// sends = "records"                      # or "checkpoints"
/// format = "ocsf"                        # of records: ocsf, cloudevents, cadf, csv, otlp
/// to = "https://siem.example.org/marque" # see below
/// ca_file = "audit/ca.pem"               # for https and syslog+tls: PEM, below the folder or absolute
/// bearer_file = "/run/secrets/siem"      # for http and https: a line that is sent as `Authorization: Bearer`; may be absent
/// every = "1s"                           # how far apart pushes are at least; may be absent: 1s, of checkpoints 10s; at most 1h
/// ```
///
/// `to` is `file:///var/log/marque/audit` (a folder that is there, in which files are made and added to and nothing is ever
/// changed or removed), an `https` URL, `syslog+tls://host:port` (RFC 5425), or on this machine alone an `http` URL of a
/// loopback address (non-production), `syslog+tcp://` and `syslog+udp://` of one, and `syslog+unix:///dev/log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSink {
    name: String,
    sends: SinkContent,
    to: SinkTarget,
    ca_file: Option<PathBuf>,
    bearer_file: Option<PathBuf>,
    every: Duration,
    line: usize,
}

/// What a sink is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkContent {
    /// The newest signed checkpoint.
    Checkpoints,
    /// Every record, in this form. Text here; whoever pushes knows the forms.
    Records(String),
}

/// Where a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkTarget {
    /// A folder.
    Folder(PathBuf),
    /// An HTTP server.
    Http(WebhookUrl),
    /// A receiver of syslog messages (RFC 5424).
    Syslog(SyslogTarget),
}

/// How syslog messages go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogTarget {
    /// TLS (RFC 5425), by host and port.
    Tls(String, u16),
    /// TCP with octet counting (RFC 6587), by loopback address and port.
    Tcp(IpAddr, u16),
    /// UDP (RFC 5426), by loopback address and port.
    Udp(IpAddr, u16),
    /// Datagrams to a Unix socket.
    Unix(PathBuf),
}

/// The text names no target of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is none of `file:///folder`, an https URL, an http URL of a loopback address, `syslog+tls://host:port`, `syslog+tcp` or \
     `syslog+udp` with a loopback address and a port, and `syslog+unix:///socket`"
)]
pub struct SinkTargetError;

impl AuditSink {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is sent.
    pub fn sends(&self) -> &SinkContent {
        &self.sends
    }

    /// Where it is.
    pub fn to(&self) -> &SinkTarget {
        &self.to
    }

    /// The authorities that its certificate is below; there for everything over TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The file with the token that it is shown.
    pub fn bearer_file(&self) -> Option<&Path> {
        self.bearer_file.as_deref()
    }

    /// How far apart pushes are at least.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl SinkTarget {
    fn is_tls(&self) -> bool {
        match self {
            Self::Http(url) => url.is_https(),
            Self::Syslog(SyslogTarget::Tls(..)) => true,
            Self::Folder(_) | Self::Syslog(_) => false,
        }
    }
}

impl fmt::Display for SinkTarget {
    /// Without path and query of a URL, which may be what it is protected by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file://{}", folder.display()),
            Self::Http(url) => {
                let mut parts = url.as_str().splitn(4, '/');
                let (scheme, authority) = (parts.next(), parts.nth(1));
                write!(f, "{}//{}", scheme.unwrap_or_default(), authority.unwrap_or_default())
            }
            Self::Syslog(SyslogTarget::Tls(host, port)) => write!(f, "syslog+tls://{host}:{port}"),
            Self::Syslog(SyslogTarget::Tcp(ip, port)) => write!(f, "syslog+tcp://{ip}:{port}"),
            Self::Syslog(SyslogTarget::Udp(ip, port)) => write!(f, "syslog+udp://{ip}:{port}"),
            Self::Syslog(SyslogTarget::Unix(path)) => write!(f, "syslog+unix://{}", path.display()),
        }
    }
}

impl FromStr for SinkTarget {
    type Err = SinkTargetError;

    fn from_str(text: &str) -> Result<Self, SinkTargetError> {
        let path = |path: &str| {
            let plain = path.starts_with('/') && !path.contains(char::is_control);
            let inside = !path.split('/').any(|part| part == "..");
            (plain && inside).then(|| PathBuf::from(path)).ok_or(SinkTargetError)
        };
        let Some((scheme, rest)) = text.split_once("://") else { return Err(SinkTargetError) };
        Ok(match scheme {
            "file" => Self::Folder(path(rest)?),
            "http" | "https" => Self::Http(text.parse().map_err(|_no_url| SinkTargetError)?),
            "syslog+tls" => {
                let (host, port) = host_and_port(rest)?;
                Self::Syslog(SyslogTarget::Tls(host.to_owned(), port))
            }
            "syslog+tcp" => {
                let (ip, port) = on_this_machine(rest)?;
                Self::Syslog(SyslogTarget::Tcp(ip, port))
            }
            "syslog+udp" => {
                let (ip, port) = on_this_machine(rest)?;
                Self::Syslog(SyslogTarget::Udp(ip, port))
            }
            "syslog+unix" => Self::Syslog(SyslogTarget::Unix(path(rest)?)),
            _ => return Err(SinkTargetError),
        })
    }
}

fn host_and_port(text: &str) -> Result<(&str, u16), SinkTargetError> {
    let (host, port) = text.rsplit_once(':').ok_or(SinkTargetError)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let named = (1..=253).contains(&host.len()) && host.bytes().all(plain);
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(SinkTargetError)?;
    if named { Ok((host, port)) } else { Err(SinkTargetError) }
}

fn on_this_machine(text: &str) -> Result<(IpAddr, u16), SinkTargetError> {
    let (host, port) = host_and_port(text)?;
    let ip: Option<IpAddr> = host.parse().ok().filter(IpAddr::is_loopback);
    Ok((ip.ok_or(SinkTargetError)?, port))
}

/// Reads `[[audit.sinks]]`.
pub(super) fn read(
    audit: &mut Fields<'_, '_>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> Vec<AuditSink> {
    let tables = audit.tables("sinks", log);
    if let Some(table) = tables.get(MAX_AUDIT_SINKS) {
        log.at(table.line(), format!("more than {MAX_AUDIT_SINKS} tables [audit.sinks]"));
    }
    let mut names = BTreeSet::new();
    tables.into_iter().filter_map(|table| sink(table, environment, &mut names, log)).collect()
}

fn sink(
    mut table: Fields<'_, '_>,
    environment: Option<Environment>,
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<AuditSink> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let sends: Option<Text> = table.text("sends", log);
    let format: Option<Text> = table.optional_text("format", log);
    let to: Option<SinkTarget> = table.text("to", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let bearer_file: Option<Readable> = table.optional_text("bearer_file", log);
    let sends = content(sends, format, line, log);
    let default = match &sends {
        Some(SinkContent::Checkpoints) => CHECKPOINTS_EVERY,
        Some(SinkContent::Records(_)) | None => RECORDS_EVERY,
    };
    let every = duration(&mut table, "every", (default, MAX_EVERY), log);
    table.finish(log);
    let (Name(name), to) = (name?, to?);
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [audit.sinks] is used twice");
    }
    if to.is_tls() != ca_file.is_some() {
        log.at(
            line,
            "`ca_file` in [audit.sinks] belongs to a target over TLS, and to each of them",
        );
    }
    let is_http = matches!(to, SinkTarget::Http(_));
    if bearer_file.is_some() && !is_http {
        log.at(line, "`bearer_file` in [audit.sinks] is for http and https");
    }
    if is_http && !to.is_tls() && environment != Some(Environment::NonProduction) {
        log.at(line, "`to` in [audit.sinks] is https in production");
    }
    Some(AuditSink {
        name,
        sends: sends?,
        to,
        ca_file: ca_file.map(|Readable(file)| file),
        bearer_file: bearer_file.map(|Readable(file)| file),
        every: every?,
        line,
    })
}

fn content(
    sends: Option<Text>,
    format: Option<Text>,
    line: usize,
    log: &mut Log<'_>,
) -> Option<SinkContent> {
    let Text(sends) = sends?;
    match (sends.as_str(), format) {
        ("checkpoints", None) => Some(SinkContent::Checkpoints),
        ("records", Some(Text(format))) => Some(SinkContent::Records(format)),
        ("checkpoints" | "records", _) => {
            log.at(line, "`format` in [audit.sinks] belongs to `sends = \"records\"`, and to each");
            None
        }
        _ => {
            log.at(line, "`sends` in [audit.sinks] is `checkpoints` or `records`");
            None
        }
    }
}

#[cfg(test)]
mod tests;
