//! `[[ticket_systems]]`: where change tickets are looked up, and how an answer is read.
//!
//! A secret is named by its file and is never in the document. Absent: asking, and what a playbook wants of a ticket.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{BundleEndpointUrl, BundleEndpointUrlError};

use super::federation::Readable;
use super::issuer_keys::{Name, duration};
use super::resource_servers::Text;
use crate::fields::{Fields, Lined, Log};

/// How many ticket systems a trust domain may ask.
pub const MAX_TICKET_SYSTEMS: usize = 8;
/// How many fields and how many states one of them may have.
const MAX_ENTRIES: usize = 64;
const PLACE: &str = "{ticket}";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5);
const MAX_MAX_AGE: Duration = Duration::from_secs(60);

/// One of `[[ticket_systems]]`, which is asked by `GET` and answers in JSON.
///
/// ```toml
/// [[ticket_systems]]
/// name = "itsm"                        # [a-z0-9-]{1,32}, unique: the `validator` of playbooks
/// url = "https://itsm.example.org/api/changes/{ticket}"   # or `http`, with the address of a loopback interface
/// ca_file = "itsm/ca.pem"              # for https: PEM, below the folder or absolute
/// timeout = "3s"                       # of one question; may be absent: 3s; at most 10s
/// max_age = "5s"                       # for how long an answer is believed; may be absent: 5s; at most 60s
/// closed = ["closed", "cancelled"]     # the states, by our names, that are an end
///
/// [ticket_systems.header]              # may be absent: what proves who asks
/// name = "authorization"
/// file = "/etc/marque/itsm.header"     # its whole value; absolute or below the folder; read for each question
///
/// [ticket_systems.answer]              # where in the answer it says so: JSON pointers (RFC 6901)
/// state = "/result/state"
/// title = "/result/short_description"  # may be absent
/// planned_from = "/result/start"       # RFC 3339; with `planned_until`, or absent
/// planned_until = "/result/end"
///
/// [ticket_systems.fields]              # what playbooks may bind to; may be absent
/// service = "/result/service"
///
/// [ticket_systems.states]              # its names for states, and ours; may be absent: they are the same
/// "3" = "approved"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketSystem {
    name: String,
    url: TicketUrl,
    ca_file: Option<PathBuf>,
    timeout: Duration,
    max_age: Duration,
    closed: BTreeSet<String>,
    header: Option<(String, PathBuf)>,
    answer: TicketAnswer,
    fields: BTreeMap<String, String>,
    states: Option<BTreeMap<String, String>>,
    line: usize,
}

/// Where an answer says what: JSON pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketAnswer {
    /// The state.
    pub state: String,
    /// The title.
    pub title: Option<String>,
    /// From when and until when the work is planned.
    pub planned: Option<(String, String)>,
}

/// The URL of a ticket, with a place for its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketUrl {
    /// As a URL with `https`, whatever the scheme.
    text: String,
    tls: bool,
}

/// The text is no URL of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketUrlError {
    /// There is not one place for the name, or it is not in the path or query.
    #[error("has not exactly one `{PLACE}`, in its path or query")]
    Place,
    /// It is no URL that may be asked.
    #[error("{0}")]
    Url(BundleEndpointUrlError),
    /// Without TLS, and not on this host.
    #[error("is without TLS, and its host is not the address of a loopback interface")]
    InTheOpen,
}

impl TicketSystem {
    /// What playbooks call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a ticket is.
    pub const fn url(&self) -> &TicketUrl {
        &self.url
    }

    /// The PEM file with the authorities that are believed, where it is asked over TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// How long one question may take.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// For how long an answer is believed.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The states that are an end.
    pub const fn closed(&self) -> &BTreeSet<String> {
        &self.closed
    }

    /// The header that proves who asks, and the file with its value.
    pub fn header(&self) -> Option<(&str, &Path)> {
        self.header.as_ref().map(|(name, file)| (name.as_str(), file.as_path()))
    }

    /// Where an answer says what.
    pub const fn answer(&self) -> &TicketAnswer {
        &self.answer
    }

    /// The fields that playbooks may bind to, and where they are.
    pub const fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    /// Its names for states and ours; `None` where they are the same.
    pub const fn states(&self) -> Option<&BTreeMap<String, String>> {
        self.states.as_ref()
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub const fn line(&self) -> usize {
        self.line
    }
}

impl TicketUrl {
    /// Where this ticket is; every byte of its name that is not plain is percent-encoded.
    ///
    /// # Errors
    /// It would be too long.
    pub fn of(&self, ticket: &str) -> Result<BundleEndpointUrl, BundleEndpointUrlError> {
        let mut encoded = String::new();
        for byte in ticket.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                // Writing to a text never fails.
                let _written = write!(encoded, "%{byte:02X}");
            }
        }
        self.text.replace(PLACE, &encoded).parse()
    }

    /// Whether it is asked over TLS.
    pub const fn tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for TicketUrl {
    type Err = TicketUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tls = !text.starts_with("http://");
        let https = match text.strip_prefix("http://") {
            Some(rest) => format!("https://{rest}"),
            None => text.to_owned(),
        };
        if https.matches(PLACE).count() != 1 {
            return Err(TicketUrlError::Place);
        }
        let url = Self { text: https, tls };
        let example = url.of("T").map_err(TicketUrlError::Url)?;
        let other = url.of("U").map_err(TicketUrlError::Url)?;
        if example.authority() != other.authority() {
            return Err(TicketUrlError::Place);
        }
        let loopback =
            || example.host().to_str().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if tls || loopback() { Ok(url) } else { Err(TicketUrlError::InTheOpen) }
    }
}

/// Reads `[[ticket_systems]]`.
pub(super) fn read(tables: Vec<Fields<'_, '_>>, log: &mut Log<'_>) -> Vec<TicketSystem> {
    if let Some(table) = tables.get(MAX_TICKET_SYSTEMS) {
        log.at(table.line(), format!("more than {MAX_TICKET_SYSTEMS} tables [ticket_systems]"));
    }
    let mut names = BTreeSet::new();
    tables.into_iter().filter_map(|table| system(table, &mut names, log)).collect()
}

fn system(
    mut table: Fields<'_, '_>,
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<TicketSystem> {
    let line = table.line();
    let name: Option<Lined<Name>> = table.lined_text("name", log);
    let url: Option<Lined<TicketUrl>> = table.lined_text("url", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let timeout = duration(&mut table, "timeout", (DEFAULT_TIMEOUT, MAX_TIMEOUT), log);
    let max_age = duration(&mut table, "max_age", (DEFAULT_MAX_AGE, MAX_MAX_AGE), log);
    let closed = table.texts::<Text>("closed", log).into_iter().map(Into::into).collect();
    let header = table.optional_table("header", log).and_then(|table| header(table, log));
    let answer = table.table("answer", log).and_then(|table| answer(table, log));
    let fields = table.optional_table("fields", log).map(|table| named::<Pointer>(table, log));
    let states = table.optional_table("states", log).map(|table| named::<Text>(table, log));
    table.finish(log);
    let (name, url) = (name?, url?);
    if url.value.tls() != ca_file.is_some() {
        log.at(url.line, "`ca_file` in [ticket_systems] goes with `https`, and with that alone");
    }
    if !names.insert(name.value.0.clone()) {
        log.at(name.line, "`name` in [ticket_systems] is used twice");
    }
    Some(TicketSystem {
        name: name.value.0,
        url: url.value,
        ca_file: ca_file.map(|Readable(path)| path),
        timeout: timeout?,
        max_age: max_age?,
        closed,
        header,
        answer: answer?,
        fields: fields.unwrap_or_default(),
        states,
        line,
    })
}

fn header(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<(String, PathBuf)> {
    let name: Option<HeaderName> = table.text("name", log);
    let file: Option<Readable> = table.text("file", log);
    table.finish(log);
    Some((name?.0, file?.0))
}

fn answer(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<TicketAnswer> {
    let line = table.line();
    let state: Option<Pointer> = table.text("state", log);
    let title: Option<Pointer> = table.optional_text("title", log);
    let from: Option<Pointer> = table.optional_text("planned_from", log);
    let until: Option<Pointer> = table.optional_text("planned_until", log);
    table.finish(log);
    if from.is_some() != until.is_some() {
        log.at(line, "`planned_from` and `planned_until` in [answer] go together");
    }
    let planned = from.zip(until).map(|(from, until)| (from.0, until.0));
    Some(TicketAnswer { state: state?.0, title: title.map(|Pointer(title)| title), planned })
}

/// A table whose names are the writer's.
fn named<T>(table: Fields<'_, '_>, log: &mut Log<'_>) -> BTreeMap<String, String>
where
    T: FromStr<Err: std::fmt::Display> + Into<String>,
{
    let (line, name) = (table.line(), table.name().to_owned());
    let entries = table.all_texts::<T>(log);
    if entries.len() > MAX_ENTRIES {
        log.at(line, format!("{name} has more than {MAX_ENTRIES} entries"));
    }
    entries.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// A JSON pointer (RFC 6901) that is not the whole document.
struct Pointer(String);

impl FromStr for Pointer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() <= 256 && !text.chars().any(char::is_control);
        if plain && text.len() > 1 && text.starts_with('/') {
            return Ok(Self(text.to_owned()));
        }
        Err("is not a JSON pointer such as `/result/state`")
    }
}

impl From<Pointer> for String {
    fn from(Pointer(text): Pointer) -> Self {
        text
    }
}

/// A header that says who asks, and none by which a message is read or routed.
struct HeaderName(String);

impl FromStr for HeaderName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REFUSED: [&str; 8] = [
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "upgrade",
            "te",
            "trailer",
            "accept",
        ];
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) && !REFUSED.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err("is not a header such as `authorization`, in small letters")
    }
}

#[cfg(test)]
mod tests;
