//! `[[federation]]`: the other trust domains whose SVIDs some of the workloads here verify.
//!
//! Where the bundle of each comes from is written out and never inferred (FE-4): a file of the folder, an endpoint with
//! its profile, or both. The environment that is stated has to be the own one: no bundle crosses the firebreak. Absent:
//! fetching anything.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{BundleEndpointUrl, Environment, SpiffeId, TrustDomain};

use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// How many other trust domains one may federate with.
pub const MAX_FEDERATIONS: usize = 64;
/// How long a bundle that cannot be refreshed is used where nothing is said: over a weekend, and no longer.
pub const DEFAULT_STALENESS: Duration = Duration::from_hours(72);
/// The bounds of what may be said: several turns of fetching, and a month.
pub const STALENESS: RangeInclusive<Duration> =
    Duration::from_mins(5)..=Duration::from_hours(30 * 24);

/// One of `[[federation]]`: another trust domain of the same environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    trust_domain: TrustDomain,
    bundle: Option<PathBuf>,
    endpoint: Option<BundleEndpoint>,
    line: usize,
}

/// Where the bundle of another trust domain is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEndpoint {
    /// The address.
    pub url: BundleEndpointUrl,
    /// How its server proves who it is.
    pub profile: BundleEndpointProfile,
    /// How long the bundle is used after it was fetched last.
    pub max_staleness: Duration,
}

/// How a bundle endpoint proves who it is (FE-3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleEndpointProfile {
    /// `https_web`: by a certificate for the host of the URL.
    HttpsWeb {
        /// The PEM file with the authorities that are believed: absolute, or below the trust domain's folder.
        ca_file: PathBuf,
    },
    /// `https_spiffe`: by an X.509-SVID.
    HttpsSpiffe {
        /// The only SPIFFE ID that is believed.
        endpoint_spiffe_id: SpiffeId,
    },
}

impl Federation {
    /// The other trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The file with its bundle document, below the trust domain's folder; where there is an endpoint, the bundle to
    /// begin with.
    pub fn bundle(&self) -> Option<&Path> {
        self.bundle.as_deref()
    }

    /// Where the bundle is fetched. There is an endpoint, a file, or both.
    pub fn endpoint(&self) -> Option<&BundleEndpoint> {
        self.endpoint.as_ref()
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The trust domain whose bundle is needed to believe the endpoint.
    fn believed_by(&self) -> Option<&TrustDomain> {
        match &self.endpoint.as_ref()?.profile {
            BundleEndpointProfile::HttpsWeb { .. } => None,
            BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id } => {
                Some(endpoint_spiffe_id.trust_domain())
            }
        }
    }
}

/// Reads `[[federation]]`; `own` is what the document says of itself, as far as it could be read.
pub(super) fn federations(
    tables: Vec<Fields<'_, '_>>,
    own: (Option<&TrustDomain>, Option<Environment>),
    log: &mut Log<'_>,
) -> Vec<Federation> {
    if let Some(table) = tables.get(MAX_FEDERATIONS) {
        log.at(table.line(), format!("more than {MAX_FEDERATIONS} tables [federation]"));
    }
    let mut seen = BTreeSet::new();
    let read = tables.into_iter().filter_map(|table| federation(table, own, &mut seen, log));
    let read: Vec<_> = read.collect();
    for federation in &read {
        let Some(believed_by) = federation.believed_by() else { continue };
        let themselves = believed_by == &federation.trust_domain;
        if themselves && federation.bundle.is_none() {
            log.at(
                federation.line,
                "`bundle` in [federation] is missing: without one to begin with, nobody at the endpoint could be believed",
            );
        } else if !themselves && own.0 != Some(believed_by) && !seen.contains(believed_by) {
            let message = format!(
                "`endpoint_spiffe_id` in [federation]: `{believed_by}` is in no [federation], so nothing could verify it"
            );
            log.at(federation.line, message);
        }
    }
    read
}

fn federation(
    mut table: Fields<'_, '_>,
    own: (Option<&TrustDomain>, Option<Environment>),
    seen: &mut BTreeSet<TrustDomain>,
    log: &mut Log<'_>,
) -> Option<Federation> {
    let line = table.line();
    let trust_domain: Option<Lined<TrustDomain>> = table.lined_text("trust_domain", log);
    let environment: Option<Lined<Environment>> = table.lined_text("environment", log);
    let is_fetched = table.has("url");
    let bundle: Option<Below> =
        if is_fetched { table.optional_text("bundle", log) } else { table.text("bundle", log) };
    let endpoint = endpoint(&mut table, log);
    table.finish(log);
    let (name, environment) = (trust_domain?, environment?);
    let (own_name, own_environment) = own;
    if own_environment.is_some_and(|own| own != environment.value) {
        log.at(environment.line, boundary(&name.value, environment.value));
        return None;
    }
    if own_name == Some(&name.value) {
        log.at(
            name.line,
            "`trust_domain` in [federation] is the own one: nobody else speaks for it",
        );
        return None;
    }
    if !seen.insert(name.value.clone()) {
        log.at(name.line, "`trust_domain` in [federation] is used twice");
        return None;
    }
    let bundle = bundle.map(|Below(path)| path);
    (bundle.is_some() || endpoint.is_some()).then_some(Federation {
        trust_domain: name.value,
        bundle,
        endpoint,
        line,
    })
}

/// `url`, `profile` and what the profile wants: all of it, and nothing else.
fn endpoint(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<BundleEndpoint> {
    let line = table.line();
    let [has_url, has_profile, has_id, has_ca] =
        ["url", "profile", "endpoint_spiffe_id", "ca_file"].map(|key| table.has(key));
    let url: Option<BundleEndpointUrl> = table.optional_text("url", log);
    let profile: Option<Profile> = table.optional_text("profile", log);
    let endpoint_spiffe_id: Option<Lined<SpiffeId>> =
        table.optional_lined_text("endpoint_spiffe_id", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let has_staleness = table.has("max_staleness");
    let max_staleness = max_staleness(table, log);
    if !has_url {
        for (key, there) in [
            ("profile", has_profile),
            ("endpoint_spiffe_id", has_id),
            ("ca_file", has_ca),
            ("max_staleness", has_staleness),
        ] {
            if there {
                log.at(line, format!("`{key}` in [federation] is for a `url`, and there is none"));
            }
        }
        return None;
    }
    if !has_profile {
        log.at(line, "`profile` in [federation] is missing: `https_web` or `https_spiffe`, as the other side says");
    }
    let profile = profile?;
    let (wanted, has_wanted, other, has_other) = match profile {
        Profile::HttpsWeb => ("ca_file", has_ca, "endpoint_spiffe_id", has_id),
        Profile::HttpsSpiffe => ("endpoint_spiffe_id", has_id, "ca_file", has_ca),
    };
    if !has_wanted {
        log.at(line, format!("`{wanted}` in [federation] is missing: `{profile}` needs it"));
    }
    if has_other {
        log.at(line, format!("`{other}` in [federation] has no meaning with `{profile}`"));
    }
    let profile = match profile {
        Profile::HttpsWeb => BundleEndpointProfile::HttpsWeb { ca_file: ca_file?.0 },
        Profile::HttpsSpiffe => {
            let Lined { value, line } = endpoint_spiffe_id?;
            if !value.has_path() {
                log.at(
                    line,
                    format!("`endpoint_spiffe_id` in [federation]: no server can have `{value}`"),
                );
            }
            BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id: value }
        }
    };
    Some(BundleEndpoint { url: url?, profile, max_staleness: max_staleness? })
}

fn max_staleness(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<Duration> {
    if !table.has("max_staleness") {
        return Some(DEFAULT_STALENESS);
    }
    let Lined { value, line }: Lined<Lifetime> = table.optional_lined_text("max_staleness", log)?;
    if STALENESS.contains(&value.as_duration()) {
        return Some(value.as_duration());
    }
    let [least, most] = [STALENESS.start(), STALENESS.end()]
        .map(|bound| Lifetime::try_from(*bound).map_or_else(|e| e.to_string(), |l| l.to_string()));
    log.at(line, format!("`max_staleness` in [federation] must be from {least} to {most}"));
    None
}

/// What a finding says of a trust domain across the firebreak.
pub fn boundary(trust_domain: &TrustDomain, environment: Environment) -> String {
    format!(
        "environment_boundary: `{trust_domain}` is {environment}, and no bundle crosses from one environment to the other"
    )
}

/// The name of a profile.
#[derive(Clone, Copy)]
enum Profile {
    HttpsWeb,
    HttpsSpiffe,
}

impl FromStr for Profile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "https_web" => Ok(Self::HttpsWeb),
            "https_spiffe" => Ok(Self::HttpsSpiffe),
            _other => Err("is neither `https_web` nor `https_spiffe`"),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpsWeb => "https_web",
            Self::HttpsSpiffe => "https_spiffe",
        })
    }
}

/// A path below the folder: relative, and nowhere upwards.
pub(super) struct Below(pub(super) PathBuf);

impl FromStr for Below {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        let below = path.components().all(|part| matches!(part, Component::Normal(_)));
        if text.is_empty() || text.contains('\0') || !below {
            return Err("is not a path below the trust domain's folder");
        }
        Ok(Self(path.to_owned()))
    }
}

/// A path below the folder, or an absolute one.
pub(super) struct Readable(pub(super) PathBuf);

impl FromStr for Readable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if Path::new(text).is_absolute() && !text.contains('\0') {
            return Ok(Self(text.into()));
        }
        let Below(path) = text.parse().map_err(
            |_not_below| "is neither absolute nor a path below the trust domain's folder",
        )?;
        Ok(Self(path))
    }
}
