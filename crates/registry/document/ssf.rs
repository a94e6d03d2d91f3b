//! `[[ssf_streams]]` and `[[ssf_transmitters]]`: who is told what was stopped, and whose word stops somebody here (Shared
//! Signals Framework 1.0).
//!
//! Deliberately absent: events, delivery, and what a word comes to.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use marque_spiffe::SpiffeIdPattern;

use super::issuer_keys::IssuerKeys;
use super::webhooks::WebhookUrl;

pub(super) use read::{streams, transmitters};

/// How many streams a trust domain may have.
pub const MAX_SSF_STREAMS: usize = 32;
/// How many transmitters it may listen to.
pub const MAX_SSF_TRANSMITTERS: usize = 16;

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

#[cfg(test)]
mod tests;
