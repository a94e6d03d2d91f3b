//! `[[webhooks]]`: who is told what happens, in the form of Standard Webhooks.
//!
//! Deliberately absent: sending, and which names of events there are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use marque_spiffe::Environment;

use super::federation::Readable;
use super::issuer_keys::Name;
use super::oidc_issuers::Text;
use crate::fields::{Fields, Log};

/// How many webhooks a trust domain may have.
pub const MAX_WEBHOOKS: usize = 32;
const MAX_EVENTS: usize = 32;
const MAX_URL: usize = 512;

/// One of `[[webhooks]]`.
///
/// ```toml
/// [[webhooks]]
/// name = "change-bus"                    # [a-z0-9-]{1,32}, unique: what a playbook's `notify` says
/// url = "https://hooks.example.org/marque"   # https; in non-production also http to a loopback address
/// ca_file = "webhooks/ca.pem"            # for https: PEM, below the folder or absolute
/// secret_file = "/run/secrets/change-bus"    # `whsec_` and Base64, as Standard Webhooks writes it
/// events = ["intent.pending", "intent.ended"]   # may be absent: only what playbooks send here
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    name: String,
    url: WebhookUrl,
    ca_file: Option<PathBuf>,
    secret_file: PathBuf,
    events: BTreeSet<String>,
    line: usize,
}

/// Where something is sent: an absolute `https` URL, or one of `http` to a loopback address; no user information, no
/// fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    is_https: bool,
}

/// The text is no URL for a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither an https URL nor an http URL of a loopback address, of at most 512 bytes and without user information or fragment"
)]
pub struct WebhookUrlError;

impl Webhook {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn url(&self) -> &WebhookUrl {
        &self.url
    }

    /// The authorities that its certificate is below; there for every `https` URL.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The file with its signing secret.
    pub fn secret_file(&self) -> &Path {
        &self.secret_file
    }

    /// What it is told of. Text here; whoever sends checks the names.
    pub fn events(&self) -> &BTreeSet<String> {
        &self.events
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl WebhookUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is an `https` URL.
    pub fn is_https(&self) -> bool {
        self.is_https
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(WebhookUrlError),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let good = text.len() <= MAX_URL
            && plain
            && !text.contains(['#'])
            && !authority.contains('@')
            && !host.is_empty()
            && (is_https || loopback);
        if good { Ok(Self { text: text.to_owned(), is_https }) } else { Err(WebhookUrlError) }
    }
}

/// Reads `[[webhooks]]`.
pub(super) fn read(
    tables: Vec<Fields<'_, '_>>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> Vec<Webhook> {
    if let Some(table) = tables.get(MAX_WEBHOOKS) {
        log.at(table.line(), format!("more than {MAX_WEBHOOKS} tables [webhooks]"));
    }
    let mut names = BTreeSet::new();
    tables.into_iter().filter_map(|table| webhook(table, environment, &mut names, log)).collect()
}

fn webhook(
    mut table: Fields<'_, '_>,
    environment: Option<Environment>,
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<Webhook> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let url: Option<WebhookUrl> = table.text("url", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let secret_file: Option<Readable> = table.text("secret_file", log);
    let events: Vec<Text> = table.texts("events", log);
    table.finish(log);
    let (Name(name), url) = (name?, url?);
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [webhooks] is used twice");
    }
    if !url.is_https() && environment != Some(Environment::NonProduction) {
        log.at(line, "`url` in [webhooks] is https in production");
    }
    if url.is_https() != ca_file.is_some() {
        log.at(line, "`ca_file` in [webhooks] belongs to an https `url`, and to each of them");
    }
    if events.len() > MAX_EVENTS {
        log.at(line, format!("`events` in [webhooks] has at most {MAX_EVENTS} entries"));
    }
    Some(Webhook {
        name,
        url,
        ca_file: ca_file.map(|Readable(file)| file),
        secret_file: secret_file?.0,
        events: events.into_iter().map(|Text(event)| event).collect(),
        line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
    const WEBHOOK: &str = r#"
[[webhooks]]
name = "change-bus"
url = "https://hooks.example.org/marque"
ca_file = "webhooks/ca.pem"
secret_file = "/run/secrets/change-bus"
events = ["intent.pending"]
"#;

    fn parse(lines: &str) -> Result<Vec<Webhook>, Vec<Finding>> {
        let document = format!("{DOCUMENT}\n{lines}\n");
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)?;
        Ok(document.webhooks().to_vec())
    }

    #[test]
    fn a_webhook_is_read() {
        let webhooks = parse(WEBHOOK).unwrap();
        assert_eq!(webhooks[0].name(), "change-bus");
        assert_eq!(webhooks[0].url().as_str(), "https://hooks.example.org/marque");
        assert!(webhooks[0].events().contains("intent.pending"));
    }

    #[test]
    fn a_webhook_goes_to_https_or_to_this_machine() {
        for good in ["https://a.example.org", "http://127.0.0.1:80/x?y", "http://[::1]:80/"] {
            assert!(good.parse::<WebhookUrl>().is_ok(), "{good}");
        }
        for bad in [
            "http://a.example.org/",
            "http://localhost/",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1@example.org/",
            "https://user@example.org/",
            "https://example.org/#x",
            "https:///x",
            "https://example.org/\\x",
            "ftp://example.org/",
            "example.org",
            "https://example.org/ x",
        ] {
            assert!(bad.parse::<WebhookUrl>().is_err(), "{bad}");
        }
        assert!(format!("https://e/{}", "a".repeat(502)).parse::<WebhookUrl>().is_ok());
        assert!(format!("https://e/{}", "a".repeat(503)).parse::<WebhookUrl>().is_err());
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        for (from, to, because) in [
            ("name = \"change-bus\"", "name = \"Bus\"", "a-z"),
            ("url = \"https://hooks.example.org/marque\"", "", "`url`"),
            ("ca_file = \"webhooks/ca.pem\"", "", "`ca_file`"),
            ("https://hooks.example.org/marque", "http://127.0.0.1:1/", "`ca_file`"),
            ("secret_file = \"/run/secrets/change-bus\"", "", "`secret_file`"),
            ("name", "redirects = 3\nname", "unknown field"),
        ] {
            assert!(WEBHOOK.contains(from), "{from}");
            let findings = parse(&WEBHOOK.replacen(from, to, 1)).unwrap_err();
            let said = findings.iter().any(|finding| finding.to_string().contains(because));
            assert!(said, "{to}: {findings:?}");
        }
        assert!(
            parse(&format!("{WEBHOOK}{WEBHOOK}")).unwrap_err()[0].to_string().contains("twice")
        );
        let many: String = (0..=MAX_WEBHOOKS)
            .map(|at| WEBHOOK.replace("change-bus\"\nurl", &format!("b{at}\"\nurl")))
            .collect();
        assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 32"));
        let plain = WEBHOOK
            .replace("https://hooks.example.org/marque", "http://127.0.0.1:1/")
            .replace("ca_file = \"webhooks/ca.pem\"\n", "");
        parse(&plain).unwrap();
        let production = DOCUMENT.replace("non-production", "production");
        let document = format!("{production}\n{plain}");
        let findings = TrustDomainDocument::parse(Path::new("a"), &document).unwrap_err();
        assert!(findings.iter().any(|finding| finding.to_string().contains("https in production")));
    }
}
