//! Where the keys of an issuer are, of ID tokens as of grants: written out, never discovered.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::BundleEndpointUrl;

use super::federation::{Below, Readable};
use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// The longest name of an issuer.
pub const MAX_ISSUER_NAME: usize = 32;
const MAX_STALENESS: Duration = Duration::from_hours(24);
pub(super) const DEFAULT_STALENESS: Duration = Duration::from_hours(1);

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKeys {
    /// In a JWK Set below the trust domain's folder.
    File(PathBuf),
    /// At a URL.
    Fetched {
        /// The URL of the JWK Set.
        url: BundleEndpointUrl,
        /// The PEM file with the authorities that are believed: absolute, or below the trust domain's folder.
        ca_file: PathBuf,
        /// How old keys may be that could not be fetched again; older ones verify nothing.
        max_staleness: Duration,
    },
}

impl IssuerKeys {
    /// The file, below the folder.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Fetched { .. } => None,
        }
    }

    /// The file with the authorities that are believed where they are fetched.
    pub fn ca_file(&self) -> Option<&Path> {
        match self {
            Self::File(_) => None,
            Self::Fetched { ca_file, .. } => Some(ca_file),
        }
    }
}

/// The fields that say where keys are.
pub(super) const KEY_FIELDS: [&str; 4] = ["jwks_file", "jwks_uri", "ca_file", "max_staleness"];

/// `jwks_file` alone, or `jwks_uri` with `ca_file`.
pub(super) fn read(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<IssuerKeys> {
    read_keys(table, false, log)
}

/// As [`read`], in a table whose `ca_file` is for other URLs, too.
pub(super) fn read_beside_ca(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<IssuerKeys> {
    read_keys(table, true, log)
}

fn read_keys(
    table: &mut Fields<'_, '_>,
    ca_file_is_for_others: bool,
    log: &mut Log<'_>,
) -> Option<IssuerKeys> {
    let (line, name) = (table.line(), table.name().to_owned());
    let [has_file, has_url, has_ca_file, has_staleness] = KEY_FIELDS.map(|key| table.has(key));
    let file: Option<Below> = table.optional_text("jwks_file", log);
    let url: Option<BundleEndpointUrl> = table.optional_text("jwks_uri", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let staleness = (DEFAULT_STALENESS, MAX_STALENESS);
    let max_staleness = duration(table, "max_staleness", staleness, log);
    match (has_file, has_url) {
        (true, false) if (has_ca_file && !ca_file_is_for_others) || has_staleness => {
            log.at(line, format!("`ca_file` and `max_staleness` in {name} are for a `jwks_uri`"));
            None
        }
        (true, false) => Some(IssuerKeys::File(file?.0)),
        (false, true) if !has_ca_file => {
            log.at(line, format!("`ca_file` in {name} is missing: `jwks_uri` needs it"));
            None
        }
        (false, true) => Some(IssuerKeys::Fetched {
            url: url?,
            ca_file: ca_file?.0,
            max_staleness: max_staleness?,
        }),
        (true, true) | (false, false) => {
            log.at(line, format!("{name} needs exactly one of `jwks_file` and `jwks_uri`"));
            None
        }
    }
}

/// A length of time that may be absent.
pub(super) fn duration(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    (default, most): (Duration, Duration),
    log: &mut Log<'_>,
) -> Option<Duration> {
    if !table.has(key) {
        return Some(default);
    }
    let name = table.name().to_owned();
    let field: Lined<Lifetime> = table.optional_lined_text(key, log)?;
    let length = field.value.as_duration();
    if length > most {
        let most = Lifetime::try_from(most).map_or_else(|e| e.to_string(), |l| l.to_string());
        log.at(field.line, format!("`{key}` in {name} must be at most {most}"));
        return None;
    }
    Some(length)
}

/// The name of an issuer.
pub(super) struct Name(pub(super) String);

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        // `spiffe:…` is how workloads are called.
        if (1..=MAX_ISSUER_NAME).contains(&text.len()) && text.bytes().all(fits) && text != "spiffe"
        {
            return Ok(Self(text.to_owned()));
        }
        Err("is not 1 to 32 characters of `a-z`, `0-9` and `-`, or is `spiffe`")
    }
}
