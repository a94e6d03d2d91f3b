//! `[[ssf_streams]]` and `[[ssf_transmitters]]`: who is told what was stopped, and whose word stops somebody here (Shared
//! Signals Framework 1.0).
//!
//! Deliberately absent: events, delivery, and what a word comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{BundleEndpointUrl, Environment, SpiffeIdPattern, TrustDomain};

use super::federation::Readable;
use super::issuer_keys::{self, IssuerKeys, Name, duration};
use super::oidc_issuers::{OidcIssuer, Text};
use super::webhooks::WebhookUrl;
use crate::fields::{Fields, Lined, Log};

/// How many streams a trust domain may have.
pub const MAX_SSF_STREAMS: usize = 32;
/// How many transmitters it may listen to.
pub const MAX_SSF_TRANSMITTERS: usize = 16;
const MAX_LISTED: usize = 64;
const MAX_AGE: Duration = Duration::from_hours(7 * 24);
const DEFAULT_AGE: Duration = Duration::from_hours(1);

/// One of `[[ssf_streams]]`.
///
/// ```toml
/// [[ssf_streams]]
/// name = "crm"                           # [a-z0-9-]{1,32}, unique
/// audience = "https://crm.example.org"   # `aud` of what is told
/// delivery = "push"                      # RFC 8935; or "poll", RFC 8936
/// endpoint = "https://crm.example.org/ssf/events"   # of push: https; in non-production also http to a loopback address
/// ca_file = "ssf/ca.pem"                 # for https: PEM, below the folder or absolute
/// secret_file = "/run/secrets/ssf-crm"   # the bearer token: sent with a push, demanded of a poll
/// events = ["session-revoked"]           # or "credential-change"; may be absent: both
/// agents = ["spiffe://prod.example.org/agent/crm/*"]   # about whom; may be absent: about all
/// audiences = ["https://crm.example.org"]   # of which grants and tokens; may be absent: of all
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsfStream {
    name: String,
    audience: String,
    delivery: SsfDelivery,
    secret_file: PathBuf,
    events: BTreeSet<SsfTold>,
    agents: Vec<SpiffeIdPattern>,
    audiences: BTreeSet<String>,
}

/// How a stream is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SsfDelivery {
    /// We call.
    Push {
        /// Where.
        endpoint: WebhookUrl,
        /// For https, whom we believe.
        ca_file: Option<PathBuf>,
    },
    /// They call.
    Poll,
}

/// What streams tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SsfTold {
    /// What somebody had is worth nothing any more.
    SessionRevoked,
    /// Somebody gets no credentials any more.
    CredentialChange,
}

/// One of `[[ssf_transmitters]]`.
///
/// ```toml
/// [[ssf_transmitters]]
/// name = "corp-idp"                      # [a-z0-9-]{1,32}, unique: the last part of its URL
/// environment = "production"             # must be the own one
/// issuer = "https://login.example.org"   # exactly the `iss` of what it tells
/// audience = "https://issuer.example.org/ssf/events/corp-idp"   # who we are to it
/// jwks_uri = "https://login.example.org/jwks"   # or `jwks_file`, below the folder
/// ca_file = "ssf/idp-ca.pem"             # for `jwks_uri`: PEM, below the folder or absolute
/// max_staleness = "1h"                   # of keys that were fetched; may be absent: 1h; at most 24h
/// secret_file = "/run/secrets/ssf-corp-idp"   # the bearer token that it shows
/// agents = ["spiffe://prod.example.org/agent/*"]   # whom it may stop; may be absent: no agent
/// persons = ["corp"]                     # whose persons it may stop: names of [[oidc_issuers]]; may be absent: nobody
/// max_age = "1h"                         # since `iat`; may be absent: 1h; at most 7d
///
/// [ssf_transmitters.effects]             # may be absent: bad news stops; "record" only writes it down
/// risk-level-change = "record"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsfTransmitter {
    name: String,
    key_name: String,
    issuer: String,
    audience: String,
    keys: IssuerKeys,
    secret_file: PathBuf,
    agents: Vec<SpiffeIdPattern>,
    persons: BTreeMap<String, String>,
    max_age: Duration,
    effects: BTreeMap<SsfHeard, SsfEffect>,
}

/// What may stop somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SsfHeard {
    /// `session-revoked`
    SessionRevoked,
    /// `credential-change`
    CredentialChange,
    /// `assurance-level-change`
    AssuranceLevelChange,
    /// `device-compliance-change`
    DeviceComplianceChange,
    /// `risk-level-change`
    RiskLevelChange,
}

/// What bad news comes to. There is nothing that would allow anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SsfEffect {
    /// Whom it is about is stopped.
    #[default]
    Stop,
    /// It is written down.
    Record,
}

impl SsfStream {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `aud` of what is told.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// How it is delivered.
    pub fn delivery(&self) -> &SsfDelivery {
        &self.delivery
    }

    /// The file with the bearer token.
    pub fn secret_file(&self) -> &Path {
        &self.secret_file
    }

    /// Whether this is told at all.
    pub fn tells(&self, what: SsfTold) -> bool {
        self.events.is_empty() || self.events.contains(&what)
    }

    /// About which agents something is told; about all when empty.
    pub fn agents(&self) -> &[SpiffeIdPattern] {
        &self.agents
    }

    /// About grants and tokens of which audiences something is told; about all when empty.
    pub fn audiences(&self) -> &BTreeSet<String> {
        &self.audiences
    }
}

impl SsfTransmitter {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its keys are called among those of all issuers.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// Its issuer identifier, compared byte by byte.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who we are to it.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Where its keys are.
    pub fn keys(&self) -> &IssuerKeys {
        &self.keys
    }

    /// The file with the bearer token that it shows.
    pub fn secret_file(&self) -> &Path {
        &self.secret_file
    }

    /// The agents that it may stop.
    pub fn agents(&self) -> &[SpiffeIdPattern] {
        &self.agents
    }

    /// Whose persons it may stop: the name of an issuer of ID tokens by its issuer identifier.
    pub fn persons(&self) -> &BTreeMap<String, String> {
        &self.persons
    }

    /// How long after `iat` it is believed.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// What bad news of this kind comes to.
    pub fn effect(&self, heard: SsfHeard) -> SsfEffect {
        self.effects.get(&heard).copied().unwrap_or_default()
    }
}

impl SsfHeard {
    /// Everything that may stop somebody.
    pub const ALL: [Self; 5] = [
        Self::SessionRevoked,
        Self::CredentialChange,
        Self::AssuranceLevelChange,
        Self::DeviceComplianceChange,
        Self::RiskLevelChange,
    ];

    /// Its name, as CAEP has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionRevoked => "session-revoked",
            Self::CredentialChange => "credential-change",
            Self::AssuranceLevelChange => "assurance-level-change",
            Self::DeviceComplianceChange => "device-compliance-change",
            Self::RiskLevelChange => "risk-level-change",
        }
    }
}

struct Delivery(bool);

impl FromStr for Delivery {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "push" => Ok(Self(true)),
            "poll" => Ok(Self(false)),
            _ => Err("is neither `push` nor `poll`"),
        }
    }
}

impl FromStr for SsfTold {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "session-revoked" => Ok(Self::SessionRevoked),
            "credential-change" => Ok(Self::CredentialChange),
            _ => Err("is neither `session-revoked` nor `credential-change`"),
        }
    }
}

impl FromStr for SsfEffect {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "stop" => Ok(Self::Stop),
            "record" => Ok(Self::Record),
            _ => Err("is neither `stop` nor `record`"),
        }
    }
}

/// Reads `[[ssf_streams]]`.
pub(super) fn streams(
    tables: Vec<Fields<'_, '_>>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    log: &mut Log<'_>,
) -> Vec<SsfStream> {
    if let Some(table) = tables.get(MAX_SSF_STREAMS) {
        log.at(table.line(), format!("more than {MAX_SSF_STREAMS} tables [ssf_streams]"));
    }
    let mut names = BTreeSet::new();
    let read = |table| stream(table, (own, environment), &mut names, log);
    tables.into_iter().filter_map(read).collect()
}

fn stream(
    mut table: Fields<'_, '_>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<SsfStream> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let audience: Option<Text> = table.text("audience", log);
    let pushes: Option<Delivery> = table.text("delivery", log);
    let endpoint: Option<WebhookUrl> = table.optional_text("endpoint", log);
    let ca_file: Option<Readable> = table.optional_text("ca_file", log);
    let secret_file: Option<Readable> = table.text("secret_file", log);
    let events = table.texts("events", log);
    let agents = patterns(&mut table, own, log);
    let audiences: Vec<Text> = table.texts("audiences", log);
    table.finish(log);
    let Name(name) = name?;
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [ssf_streams] is used twice");
    }
    if audiences.len() > MAX_LISTED {
        log.at(line, format!("`audiences` in [ssf_streams] has at most {MAX_LISTED} entries"));
    }
    let delivery = match (pushes?, endpoint) {
        (Delivery(true), Some(endpoint)) => {
            if !endpoint.is_https() && environment != Some(Environment::NonProduction) {
                log.at(line, "`endpoint` in [ssf_streams] is https in production");
            }
            if endpoint.is_https() != ca_file.is_some() {
                let message = "`ca_file` in [ssf_streams] belongs to an https `endpoint`, and to each of them";
                log.at(line, message);
            }
            SsfDelivery::Push { endpoint, ca_file: ca_file.map(|Readable(file)| file) }
        }
        (Delivery(false), None) if ca_file.is_none() => SsfDelivery::Poll,
        (Delivery(_), _) => {
            let message = "[ssf_streams] needs an `endpoint` where `delivery` is \"push\", and has neither that nor a `ca_file` where it is \"poll\"";
            log.at(line, message);
            return None;
        }
    };
    Some(SsfStream {
        name,
        audience: audience?.0,
        delivery,
        secret_file: secret_file?.0,
        events: events.into_iter().collect(),
        agents,
        audiences: audiences.into_iter().map(|Text(audience)| audience).collect(),
    })
}

/// Reads `[[ssf_transmitters]]`; `people` are the issuers of ID tokens.
pub(super) fn transmitters(
    tables: Vec<Fields<'_, '_>>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    people: &[OidcIssuer],
    log: &mut Log<'_>,
) -> Vec<SsfTransmitter> {
    if let Some(table) = tables.get(MAX_SSF_TRANSMITTERS) {
        log.at(table.line(), format!("more than {MAX_SSF_TRANSMITTERS} tables [ssf_transmitters]"));
    }
    let mut names = BTreeSet::new();
    let read = |table| transmitter(table, (own, environment), people, &mut names, log);
    tables.into_iter().filter_map(read).collect()
}

fn transmitter(
    mut table: Fields<'_, '_>,
    (own, environment): (Option<&TrustDomain>, Option<Environment>),
    people: &[OidcIssuer],
    names: &mut BTreeSet<String>,
    log: &mut Log<'_>,
) -> Option<SsfTransmitter> {
    let line = table.line();
    let name: Option<Name> = table.text("name", log);
    let stated: Option<Lined<Environment>> = table.lined_text("environment", log);
    let issuer: Option<BundleEndpointUrl> = table.text("issuer", log);
    let audience: Option<Text> = table.text("audience", log);
    let keys = issuer_keys::read(&mut table, log);
    let secret_file: Option<Readable> = table.text("secret_file", log);
    let agents = patterns(&mut table, own, log);
    let persons: Vec<Text> = table.texts("persons", log);
    let max_age = duration(&mut table, "max_age", (DEFAULT_AGE, MAX_AGE), log);
    let effects = table.optional_table("effects", log).map(|table| effects(table, log));
    table.finish(log);
    let (Name(name), stated) = (name?, stated?);
    if environment.is_some_and(|own| own != stated.value) {
        let message = format!(
            "environment_boundary: `{name}` is of {}, and nobody's word crosses from one environment to the other",
            stated.value
        );
        log.at(stated.line, message);
        return None;
    }
    if !names.insert(name.clone()) {
        log.at(line, "`name` in [ssf_transmitters] is used twice");
    }
    if agents.is_empty() && persons.is_empty() {
        log.at(line, "[ssf_transmitters] needs `agents` or `persons`: it could stop nobody");
    }
    let mut known = BTreeMap::new();
    for Text(person) in persons {
        match people.iter().find(|issuer| issuer.name() == person) {
            Some(issuer) => drop(known.insert(issuer.issuer().to_owned(), person)),
            None => log.at(
                line,
                format!("`persons` in [ssf_transmitters]: there is no [[oidc_issuers]] `{person}`"),
            ),
        }
    }
    Some(SsfTransmitter {
        // A colon is in no name of an issuer.
        key_name: format!("ssf:{name}"),
        name,
        issuer: issuer?.as_str().to_owned(),
        audience: audience?.0,
        keys: keys?,
        secret_file: secret_file?.0,
        agents,
        persons: known,
        max_age: max_age?,
        effects: effects.unwrap_or_default(),
    })
}

fn effects(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> BTreeMap<SsfHeard, SsfEffect> {
    let mut effects = BTreeMap::new();
    for heard in SsfHeard::ALL {
        if let Some(effect) = table.optional_text(heard.as_str(), log) {
            effects.insert(heard, effect);
        }
    }
    table.finish(log);
    effects
}

/// `agents`: patterns of the own trust domain.
fn patterns(
    table: &mut Fields<'_, '_>,
    own: Option<&TrustDomain>,
    log: &mut Log<'_>,
) -> Vec<SpiffeIdPattern> {
    let (line, name) = (table.line(), table.name().to_owned());
    let agents: Vec<SpiffeIdPattern> = table.texts("agents", log);
    if agents.len() > MAX_LISTED {
        log.at(line, format!("`agents` in {name} has at most {MAX_LISTED} entries"));
    }
    for agent in agents.iter().filter(|agent| own.is_some_and(|own| own != agent.trust_domain())) {
        log.at(line, format!("`agents` in {name}: `{agent}` is of another trust domain"));
    }
    agents
}

#[cfg(test)]
mod tests;
