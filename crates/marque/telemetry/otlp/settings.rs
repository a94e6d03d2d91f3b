//! Where to send, by the environment variables of the OpenTelemetry specification ("OpenTelemetry Protocol Exporter" and
//! "General SDK Configuration").
//!
//! Of the headers nothing is ever shown: they may hold a token. Plain HTTP is for loopback addresses.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;

use crate::clock::SystemClock;
use crate::federation::{web, web_authorities};
use crate::outgoing::Destination;

/// Where Debian, and the container images made from it, keep the certificate authorities of the Web.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long one export may take unless it is said, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// How far apart metrics are sent unless it is said, in milliseconds.
const INTERVAL_MS: u64 = 60_000;

/// Where each signal goes.
pub(super) struct Settings {
    pub(super) traces: Option<Destination>,
    pub(super) metrics: Option<Destination>,
    pub(super) logs: Option<Destination>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) timeout: Duration,
    pub(super) interval: Duration,
    attributes: Vec<(String, String)>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("traces", &self.traces).finish_non_exhaustive()
    }
}

/// What a variable says; the name comes without `OTEL_`.
type Variable = fn(&str) -> Option<String>;

impl Settings {
    /// Reads them; `None` where no signal has an endpoint.
    pub(super) fn read(endpoint: Option<&str>, variable: Variable) -> anyhow::Result<Option<Self>> {
        let disabled =
            variable("SDK_DISABLED").is_some_and(|said| said.eq_ignore_ascii_case("true"));
        let base = endpoint.map(str::to_owned).or_else(|| variable("EXPORTER_OTLP_ENDPOINT"));
        let signals = [("TRACES", "traces"), ("METRICS", "metrics"), ("LOGS", "logs")];
        let urls = signals.map(|(name, path)| url(name, path, base.as_deref(), variable));
        if disabled || urls.iter().all(Option::is_none) {
            return Ok(None);
        }
        if let Some(protocol) = variable("EXPORTER_OTLP_PROTOCOL") {
            ensure!(
                protocol == "http/protobuf",
                "$OTEL_EXPORTER_OTLP_PROTOCOL is `{protocol}`; only `http/protobuf` is offered, which collectors take on port 4318"
            );
        }
        let authorities = variable("EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from);
        let [traces, metrics, logs] =
            urls.map(|url| url.map(|url| destination(&url, authorities.as_ref())).transpose());
        let name = variable("SERVICE_NAME").unwrap_or_else(|| "marque".to_owned());
        let mut attributes = pairs(variable, "RESOURCE_ATTRIBUTES")?;
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), name));
        attributes.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        Ok(Some(Self {
            traces: traces?,
            metrics: metrics?,
            logs: logs?,
            headers: headers(variable)?,
            timeout: milliseconds(variable, "EXPORTER_OTLP_TIMEOUT", TIMEOUT_MS)?,
            interval: milliseconds(variable, "METRIC_EXPORT_INTERVAL", INTERVAL_MS)?,
            attributes,
        }))
    }

    /// Who sends.
    pub(super) fn resource(&self) -> Resource {
        let attributes = self.attributes.iter().map(|(key, value)| text(key, value)).collect();
        Resource { attributes, ..Resource::default() }
    }
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// An attribute.
pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A signal's own endpoint as it stands, or the common one with the signal's path; none where the signal is turned off.
fn url(name: &str, path: &str, base: Option<&str>, variable: Variable) -> Option<String> {
    if variable(&format!("{name}_EXPORTER")).is_some_and(|exporter| exporter == "none") {
        return None;
    }
    let own = variable(&format!("EXPORTER_OTLP_{name}_ENDPOINT"));
    own.or_else(|| base.map(|base| format!("{}/v1/{path}", base.trim_end_matches('/'))))
}

fn destination(url: &str, authorities: Option<&PathBuf>) -> anyhow::Result<Destination> {
    let refused = || format!("`{url}` as the endpoint of a collector");
    let uri: Uri = url.parse().with_context(refused)?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let tls = match uri.scheme_str() {
        Some("http") if loopback => None,
        Some("http") => bail!("{}: plain HTTP is for loopback addresses; write https", refused()),
        Some("https") => {
            let system = PathBuf::from(SYSTEM_AUTHORITIES);
            let roots = web_authorities(authorities.unwrap_or(&system)).with_context(refused)?;
            Some(web(roots, Arc::new(SystemClock)).with_context(refused)?)
        }
        _ => bail!("{}: it begins with neither https:// nor http://", refused()),
    };
    Destination::new(url, tls).with_context(refused)
}

fn headers(variable: Variable) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let read = pairs(variable, "EXPORTER_OTLP_HEADERS")?.into_iter().map(|(key, value)| {
        let name = HeaderName::try_from(key).ok()?;
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    });
    // What it says is not repeated: it may be a secret.
    read.collect::<Option<_>>().context("$OTEL_EXPORTER_OTLP_HEADERS has what is no header")
}

/// `key1=value1,key2=value2`, the values percent-encoded (W3C Baggage).
fn pairs(variable: Variable, name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let Some(text) = variable(name) else { return Ok(Vec::new()) };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim().to_owned(), value.into_owned()))
    };
    let read = text.split(',').filter(|one| !one.trim().is_empty()).map(pair);
    read.collect::<Option<_>>()
        .with_context(|| format!("$OTEL_{name} is not `key=value,key=value`"))
}

fn milliseconds(variable: Variable, name: &str, default: u64) -> anyhow::Result<Duration> {
    let read = variable(name).map(|text| text.trim().parse::<u64>()).transpose();
    let read = read.ok().flatten().unwrap_or(default);
    match variable(name) {
        Some(text) if text.trim().parse() != Ok(read) || read == 0 => {
            bail!("$OTEL_{name} is `{text}`, which is no number of milliseconds")
        }
        _ => Ok(Duration::from_millis(read)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variable: Variable) -> anyhow::Result<Option<Settings>> {
        Settings::read(None, variable)
    }

    fn refusal(variable: Variable) -> String {
        format!("{:#}", read(variable).unwrap_err())
    }

    #[test]
    fn nothing_is_sent_unless_an_endpoint_is_named() {
        assert!(read(|_| None).unwrap().is_none());
        assert!(read(|name| (name == "SERVICE_NAME").then(|| "x".to_owned())).unwrap().is_none());
        let off: Variable = |name| match name {
            "EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4318".to_owned()),
            "SDK_DISABLED" => Some("true".to_owned()),
            _ => None,
        };
        assert!(read(off).unwrap().is_none());
    }

    #[test]
    fn a_signal_has_the_common_endpoint_or_its_own_or_none() {
        let variable: Variable = |name| match name {
            "EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4318/".to_owned()),
            "METRICS_EXPORTER" => Some("none".to_owned()),
            "EXPORTER_OTLP_LOGS_ENDPOINT" => Some("http://[::1]:9/own".to_owned()),
            _ => None,
        };
        let base = variable("EXPORTER_OTLP_ENDPOINT");
        let url = |name, path| url(name, path, base.as_deref(), variable);
        assert_eq!(url("TRACES", "traces").unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(url("METRICS", "metrics"), None);
        assert_eq!(url("LOGS", "logs").unwrap(), "http://[::1]:9/own");
        let settings = read(variable).unwrap().unwrap();
        assert!(settings.metrics.is_none() && settings.logs.is_some());
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_what_to_do() {
        let plain =
            |endpoint: &str| format!("{:#}", Settings::read(Some(endpoint), |_| None).unwrap_err());
        assert!(plain("http://collector.example.org:4318").contains("write https"));
        assert!(plain("ftp://127.0.0.1").contains("neither https"));
        let grpc: Variable = |name| match name {
            "EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4317".to_owned()),
            "EXPORTER_OTLP_PROTOCOL" => Some("grpc".to_owned()),
            _ => None,
        };
        assert!(refusal(grpc).contains("http/protobuf"));
        let hurried: Variable = |name| match name {
            "EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4318".to_owned()),
            "EXPORTER_OTLP_TIMEOUT" => Some("soon".to_owned()),
            _ => None,
        };
        assert!(refusal(hurried).contains("milliseconds"));
    }

    #[test]
    fn headers_are_decoded_and_never_shown() {
        let variable: Variable = |name| match name {
            "EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4318".to_owned()),
            "EXPORTER_OTLP_HEADERS" => Some("authorization=Bearer%20canary, x-team=a".to_owned()),
            _ => None,
        };
        let settings = read(variable).unwrap().unwrap();
        assert_eq!(settings.headers.len(), 2);
        assert_eq!(settings.headers[0].1, "Bearer canary");
        assert!(!format!("{settings:?} {:?}", settings.headers).contains("canary"));
        let broken: Variable = |name| match name {
            "EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4318".to_owned()),
            "EXPORTER_OTLP_HEADERS" => Some("canary".to_owned()),
            _ => None,
        };
        assert!(!refusal(broken).contains("canary"));
    }
}
