//! `[decisions]` and `[[decision_points]]`: how far playbooks may be only observed, and who else may refuse.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::Environment;

use super::federation::Readable;
use super::webhooks::WebhookUrl;
use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// How many decision points a trust domain may have: each is asked for each decision.
pub const MAX_DECISION_POINTS: usize = 4;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_NAME: usize = 32;

/// `[decisions]`. Everything may be absent.
///
/// ```toml
/// [decisions]
/// observe_until = "2027-01-01T00:00:00Z"   # until then playbooks with `enforcement = "observe"` are only observed; in
///                                          # production alone: elsewhere they always may be
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecisionSettings {
    observe_until: Option<Timestamp>,
}

impl DecisionSettings {
    /// Until when playbooks may be only observed in production.
    pub const fn observe_until(&self) -> Option<Timestamp> {
        self.observe_until
    }
}

/// One of `[[decision_points]]`: a policy decision point that is asked over AuthZEN (Authorization API 1.0) and may turn
/// yes into no. One that does not answer in time refuses.
///
/// ```toml
/// [[decision_points]]
/// name = "central"                                     # [a-z0-9-]{1,32}, unique
/// url = "https://pdp.example.org/access/v1/evaluation" # http for a loopback address alone
/// ca_file = "pdp-ca.pem"                               # for https: PEM, below the folder or absolute
/// timeout = "1s"                                       # may be absent: 2s; at most 10s
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionPointRule {
    name: String,
    url: WebhookUrl,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    line: usize,
}

impl DecisionPointRule {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its evaluation endpoint.
    pub fn url(&self) -> &WebhookUrl {
        &self.url
    }

    /// The authorities that its certificate is below; there for every `https` URL.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// How long it may take to answer, connection included.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub const fn line(&self) -> usize {
        self.line
    }
}

pub(super) fn settings(
    top: &mut Fields<'_, '_>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> DecisionSettings {
    let Some(mut table) = top.optional_table("decisions", log) else {
        return DecisionSettings::default();
    };
    let until: Option<Lined<Timestamp>> = table.optional_lined_text("observe_until", log);
    table.finish(log);
    if let Some(until) = until.as_ref().filter(|_| environment != Some(Environment::Production)) {
        let message = "`observe_until` in [decisions] is for production; elsewhere playbooks may always be observed";
        log.at(until.line, message);
    }
    DecisionSettings { observe_until: until.map(|until| until.value) }
}

pub(super) fn points(tables: Vec<Fields<'_, '_>>, log: &mut Log<'_>) -> Vec<DecisionPointRule> {
    let mut points: Vec<DecisionPointRule> = Vec::new();
    for table in tables {
        let line = table.line();
        let Some(point) = point(table, log) else { continue };
        if points.iter().any(|other| other.name == point.name) {
            log.at(line, format!("`name` in [decision_points]: `{}` is used twice", point.name));
        }
        if points.len() == MAX_DECISION_POINTS {
            log.at(line, format!("there are more than {MAX_DECISION_POINTS} [decision_points]"));
        }
        points.push(point);
    }
    points
}

fn point(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<DecisionPointRule> {
    let line = table.line();
    let name: Option<String> = table.text("name", log);
    let url: Option<WebhookUrl> = table.text("url", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let timeout: Option<Lined<Lifetime>> = table.optional_lined_text("timeout", log);
    table.finish(log);
    let (name, url) = (name?, url?);
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(fits) {
        let message =
            format!("`name` in [decision_points] is 1 to {MAX_NAME} of `a-z`, `0-9` and `-`");
        log.at(line, message);
    }
    if url.is_https() != ca_file.is_some() {
        let message =
            "`ca_file` in [decision_points] belongs to an https `url`, and to each of them";
        log.at(line, message);
    }
    if let Some(long) = timeout.as_ref().filter(|timeout| timeout.value.as_duration() > MAX_TIMEOUT)
    {
        let message =
            format!("`timeout` in [decision_points] is at most {}s", MAX_TIMEOUT.as_secs());
        log.at(long.line, message);
    }
    let timeout = timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.value.as_duration());
    Some(DecisionPointRule {
        name,
        url,
        ca_file: ca_file.map(|Readable(file)| file),
        timeout,
        line,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str =
        include_str!("../../../trust-domains/prod.example.org/trust-domain.toml");
    const POINT: &str = "\n[[decision_points]]\nname = \"central\"\nurl = \"http://127.0.0.1:9000/access/v1/evaluation\"\n";

    fn read(more: &str) -> Result<TrustDomainDocument, String> {
        let text = format!("{DOCUMENT}{more}");
        TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text)
            .map_err(|findings| findings.iter().map(|one| format!("{one}\n")).collect())
    }

    #[track_caller]
    fn refused(more: &str, because: &str) {
        let found = read(more).unwrap_err();
        assert!(found.contains(because), "{found}");
    }

    #[test]
    fn a_decision_point_is_read_with_its_timeout() {
        let document = read(POINT).unwrap();
        let [point] = document.decision_points() else { panic!() };
        assert_eq!((point.name(), point.timeout()), ("central", Duration::from_secs(2)));
        let document = read(&format!("{POINT}timeout = \"10s\"\n")).unwrap();
        assert_eq!(document.decision_points()[0].timeout(), MAX_TIMEOUT);
        assert_eq!(read("").unwrap().decision_points().len(), 0);
    }

    #[test]
    fn what_could_not_be_asked_safely_is_refused() {
        refused(&format!("{POINT}timeout = \"11s\"\n"), "at most 10s");
        refused(&format!("{POINT}{POINT}"), "used twice");
        refused(&POINT.replace("central", "The PDP"), "`name` in [decision_points]");
        refused(&POINT.replace("127.0.0.1", "pdp.example.org"), "loopback");
        refused(&POINT.replace("http:", "https:"), "`ca_file`");
        let five: String = (0..5).map(|n| POINT.replace("central", &format!("p{n}"))).collect();
        refused(&five, "more than 4");
    }

    #[test]
    fn observing_in_production_has_an_end_and_elsewhere_needs_none() {
        let until = "\n[decisions]\nobserve_until = \"2027-01-01T00:00:00Z\"\n";
        assert!(read(until).unwrap().decisions().observe_until().is_some());
        assert_eq!(read("").unwrap().decisions().observe_until(), None);
        refused("\n[decisions]\nobserve_until = \"always\"\n", "observe_until");
        let dev = DOCUMENT.replacen("\"production\"", "\"non-production\"", 1);
        let found = TrustDomainDocument::parse(Path::new("x"), &format!("{dev}{until}"));
        assert!(found.unwrap_err().iter().any(|one| one.message.contains("is for production")));
    }
}
