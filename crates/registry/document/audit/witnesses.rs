//! `[[audit.witnesses]]`: who cosigns the checkpoints of the log.
//!
//! Deliberately absent: asking them, and what their keys are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marque_spiffe::Environment;

use super::super::federation::Readable;
use super::super::issuer_keys::{Name, duration};
use super::super::oidc_issuers::Text;
use super::super::webhooks::WebhookUrl;
use crate::fields::{Fields, Log};

/// How many witnesses a trust domain may have.
pub const MAX_WITNESSES: usize = 16;
const EVERY: Duration = Duration::from_secs(10);
const MAX_EVERY: Duration = Duration::from_hours(1);

/// Who cosigns checkpoints, and how many of them have to.
///
/// ```toml
/// [audit]
/// witness_quorum = 2                   # how many have to have cosigned a checkpoint; may be absent: more than half
/// witness_every = "10s"                # how far apart the checkpoints are that they are shown; may be absent: 10s; at most 1h
///
/// [[audit.witnesses]]
/// name = "w1"                          # [a-z0-9-]{1,32}, unique
/// url = "https://witness.example.net/marque"   # the submission prefix: `/add-checkpoint` is put behind it
/// key = "witness.example.net/w1+b61ad0dd+BAcH…"   # its verifier key, of the type 0x04
/// ca_file = "audit/witness-ca.pem"     # for https: PEM, below the folder or absolute
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WitnessSettings {
    witnesses: Vec<Witness>,
    quorum: usize,
    every: Duration,
}

/// One of `[[audit.witnesses]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    name: String,
    url: WebhookUrl,
    key: String,
    ca_file: Option<PathBuf>,
    line: usize,
}

impl WitnessSettings {
    /// Who they are.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// How many have to have cosigned a checkpoint.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    /// How far apart the checkpoints are that they are shown.
    pub fn every(&self) -> Duration {
        self.every
    }
}

impl Witness {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its submission prefix.
    pub fn url(&self) -> &WebhookUrl {
        &self.url
    }

    /// Its verifier key. Text here; whoever asks it reads it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The authorities that its certificate is below; there for `https`.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Reads `[[audit.witnesses]]`, `witness_quorum` and `witness_every`.
pub(super) fn read(
    audit: &mut Fields<'_, '_>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> WitnessSettings {
    let line = audit.line();
    let quorum = audit.optional_number("witness_quorum", log);
    let every = duration(audit, "witness_every", (EVERY, MAX_EVERY), log).unwrap_or(EVERY);
    let tables = audit.tables("witnesses", log);
    if let Some(table) = tables.get(MAX_WITNESSES) {
        log.at(table.line(), format!("more than {MAX_WITNESSES} tables [audit.witnesses]"));
    }
    let count = tables.len();
    let mut names = BTreeSet::new();
    let witnesses =
        tables.into_iter().filter_map(|table| witness(table, environment, &mut names, log));
    let witnesses: Vec<_> = witnesses.collect();
    let quorum = match quorum.map(usize::try_from) {
        None => count / 2 + 1,
        Some(Ok(quorum)) if (1..=count).contains(&quorum) => quorum,
        Some(_) => {
            let many = "is at least 1, and at most the number of [[audit.witnesses]]";
            log.at(line, format!("`witness_quorum` in [audit] {many}"));
            count
        }
    };
    WitnessSettings { witnesses, quorum, every }
}

fn witness(
    mut table: Fields<'_, '_>,
    environment: Option<Environment>,
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<Witness> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let url: Option<WebhookUrl> = table.text("url", log);
    let key: Option<Text> = table.text("key", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    table.finish(log);
    let (Name(name), url, Text(key)) = (name?, url?, key?);
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [audit.witnesses] is used twice");
    }
    if url.is_https() != ca_file.is_some() {
        log.at(
            line,
            "`ca_file` in [audit.witnesses] belongs to an https `url`, and to each of them",
        );
    }
    if !url.is_https() && environment != Some(Environment::NonProduction) {
        log.at(line, "`url` in [audit.witnesses] is https in production");
    }
    if url.as_str().contains('?') {
        log.at(line, "`url` in [audit.witnesses] is a prefix: it has no query");
    }
    Some(Witness { name, url, key, ca_file: ca_file.map(|Readable(file)| file), line })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../../folder/tests/trust-domain.toml");

    fn witness(name: &str, more: &str) -> String {
        format!(
            "[[audit.witnesses]]\nname = \"{name}\"\nurl = \"https://{name}.example.net/marque\"\n\
             key = \"{name}+00+BA==\"\nca_file = \"audit/ca.pem\"\n{more}\n"
        )
    }

    fn parse(lines: &str) -> Result<WitnessSettings, Vec<Finding>> {
        let document = format!("{DOCUMENT}\n{lines}\n");
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)?;
        Ok(document.audit().witnesses().clone())
    }

    #[test]
    fn more_than_half_of_the_witnesses_are_enough_unless_a_number_is_said() {
        assert_eq!(parse("").unwrap().witnesses(), []);
        let three = [witness("w1", ""), witness("w2", ""), witness("w3", "")].concat();
        let settings = parse(&three).unwrap();
        assert_eq!((settings.quorum(), settings.every()), (2, EVERY));
        assert_eq!(settings.witnesses()[1].key(), "w2+00+BA==");
        assert_eq!(settings.witnesses()[2].url().as_str(), "https://w3.example.net/marque");
        for quorum in 1..=3 {
            let said =
                format!("[audit]\nwitness_quorum = {quorum}\nwitness_every = \"1h\"\n{three}");
            let settings = parse(&said).unwrap();
            assert_eq!((settings.quorum(), settings.every()), (quorum, MAX_EVERY));
        }
        for quorum in ["0", "4"] {
            assert!(parse(&format!("[audit]\nwitness_quorum = {quorum}\n{three}")).is_err());
        }
        assert!(parse(&format!("[audit]\nwitness_every = \"3601s\"\n{three}")).is_err());
        assert!(parse("[audit]\nwitness_quorum = 1\n").is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let many =
            |count: usize| (0..count).map(|n| witness(&format!("w{n}"), "")).collect::<String>();
        assert!(parse(&many(MAX_WITNESSES)).is_ok());
        assert!(parse(&many(MAX_WITNESSES + 1)).is_err());
        let one = witness("w1", "");
        for (from, to) in [
            ("https://w1.example.net/marque", "http://w1.example.net/marque"),
            ("https://w1.example.net/marque", "https://w1.example.net/marque?key=1"),
            ("ca_file = \"audit/ca.pem\"\n", ""),
            ("name = \"w1\"", "name = \"W 1\""),
            ("key = \"w1+00+BA==\"\n", ""),
            ("name = ", "colour = \"red\"\nname = "),
        ] {
            assert!(one.contains(from) && parse(&one.replace(from, to)).is_err(), "{to}");
        }
        assert!(parse(&[one.clone(), one].concat()).is_err());
    }
}
