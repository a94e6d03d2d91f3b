//! What clouds have to be told so that they believe a token of ours for exactly one agent under exactly one playbook (M 61).
//!
//! The documents accept access tokens of the token service, which there are only for approved intents, and never JWT-SVIDs, which
//! any workload has. They are made from the trust domain's folder alone. What a cloud cannot check is in [`TrustPolicy::notes`].
//! Absent: sending the documents anywhere.

mod aws;
mod azure;
mod gcp;

use std::collections::BTreeSet;

use marque_exchange::{IssuerUrl, IssuerUrlError};
use marque_intent::{Playbook, PlaybookId, PlaybookSet};
use marque_registry::TrustDomainDocument;
use marque_spiffe::SpiffeId;
use serde::Serialize;
use serde_json::Value;

pub use self::aws::{Aws, TAG_PLAYBOOK};
pub use self::azure::Azure;
pub use self::gcp::Gcp;

/// Whom a cloud is to believe: everything that a policy is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Believed {
    /// The issuer of access tokens.
    pub issuer: IssuerUrl,
    /// The playbook that tokens are issued under.
    pub playbook: PlaybookId,
    /// Whom tokens are for.
    pub audience: String,
    /// The agents, each by its whole SPIFFE ID; at least one.
    pub subjects: BTreeSet<SpiffeId>,
}

/// A document for one cloud.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrustPolicy {
    /// What the cloud is given.
    pub document: Value,
    /// What the cloud cannot check, and what has to hold beside the document.
    pub notes: Vec<String>,
}

/// Why there is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustPolicyError {
    /// There is no such playbook.
    #[error("there is no playbook `{0}`")]
    NoPlaybook(PlaybookId),
    /// The document names no issuer.
    #[error("the trust domain has no `url` in [issuer]: no cloud could find its keys")]
    NoIssuer,
    /// The document names an issuer that is none.
    #[error("`url` in [issuer]")]
    Issuer(#[source] IssuerUrlError),
    /// The cloud takes no such issuer.
    #[error("the issuer `{0}` has a port, and no cloud takes one: put it behind port 443")]
    Port(IssuerUrl),
    /// No agent is named exactly.
    #[error(
        "no registration entry of the folder is an agent that may ask for `{0}`: name one by its whole SPIFFE ID with --agent"
    )]
    NoSubject(PlaybookId),
    /// The agent may not ask for the playbook.
    #[error("`{agent}` may not ask for `{playbook}`")]
    NotForAgent {
        /// The agent.
        agent: SpiffeId,
        /// The playbook.
        playbook: PlaybookId,
    },
    /// The agent is named by a pattern.
    #[error("`{0}` is no single SPIFFE ID: a policy accepts whole ones and no wildcards")]
    Wildcard(String),
    /// The audience follows from parameters.
    #[error(
        "the audience of `{playbook}` is `{audience}`, which depends on parameters: a policy needs one audience"
    )]
    AudienceVaries {
        /// The playbook.
        playbook: PlaybookId,
        /// Its audience.
        audience: String,
    },
    /// The audience has what would mean something else to the cloud.
    #[error(
        "the audience `{0}` has a character that a policy could take for a wildcard, a variable or a quotation mark"
    )]
    Audience(String),
    /// The SPIFFE ID is too long for the cloud.
    #[error(
        "`{agent}` has {length} bytes, more than the {limit} that the cloud takes as a subject"
    )]
    SubjectTooLong {
        /// The agent.
        agent: SpiffeId,
        /// Its length in bytes.
        length: usize,
        /// The cloud's limit.
        limit: usize,
    },
    /// Another playbook issues tokens for the same audience, and the cloud sees nothing else of the grant.
    #[error(
        "the playbook `{other}` permits `{audience}`, too: this cloud sees of a grant nothing but its audience, so that \
         each playbook needs one of its own"
    )]
    AudienceShared {
        /// The other playbook.
        other: PlaybookId,
        /// The audience.
        audience: String,
    },
    /// What names things at the cloud is malformed.
    #[error("`{option}`: `{value}` {rule}")]
    Place {
        /// The option.
        option: &'static str,
        /// What it says.
        value: String,
        /// What it should be.
        rule: &'static str,
    },
}

impl TrustPolicyError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPlaybook(_) => "playbook_unknown",
            Self::NoIssuer | Self::Issuer(_) | Self::Port(_) => "issuer_unusable",
            Self::NoSubject(_) => "subject_missing",
            Self::NotForAgent { .. } => "agent_not_allowed",
            Self::Wildcard(_) => "subject_wildcard",
            Self::AudienceVaries { .. } | Self::Audience(_) => "audience_unusable",
            Self::SubjectTooLong { .. } => "subject_too_long",
            Self::AudienceShared { .. } => "audience_shared",
            Self::Place { .. } => "place_malformed",
        }
    }
}

impl Believed {
    /// Who may have tokens under a playbook: `agents` where some are named, else those `entries` that may ask for it.
    ///
    /// # Errors
    /// See [`TrustPolicyError`].
    pub fn of<'a>(
        document: &TrustDomainDocument,
        playbooks: &PlaybookSet,
        playbook: &PlaybookId,
        agents: &[String],
        entries: impl IntoIterator<Item = &'a SpiffeId>,
    ) -> Result<Self, TrustPolicyError> {
        let found = playbooks.find(playbook);
        let found = found.ok_or_else(|| TrustPolicyError::NoPlaybook(playbook.clone()))?;
        let url = document.hosts().url().ok_or(TrustPolicyError::NoIssuer)?;
        let issuer: IssuerUrl = url.parse().map_err(TrustPolicyError::Issuer)?;
        if has_port(&issuer) {
            return Err(TrustPolicyError::Port(issuer));
        }
        let mut subjects = BTreeSet::new();
        for agent in agents {
            let agent: SpiffeId =
                agent.parse().map_err(|_no_id| TrustPolicyError::Wildcard(agent.clone()))?;
            if !found.is_for(&agent) || agent.trust_domain() != document.name() {
                let playbook = playbook.clone();
                return Err(TrustPolicyError::NotForAgent { agent, playbook });
            }
            subjects.insert(agent);
        }
        if agents.is_empty() {
            subjects.extend(entries.into_iter().filter(|id| found.is_for(id)).cloned());
        }
        if subjects.is_empty() {
            return Err(TrustPolicyError::NoSubject(playbook.clone()));
        }
        let audience = audience_of(found);
        if audience.contains("{{") {
            let playbook = playbook.clone();
            return Err(TrustPolicyError::AudienceVaries { playbook, audience });
        }
        let plain =
            |c: char| c.is_ascii_graphic() && !matches!(c, '*' | '?' | '$' | '\'' | '"' | '\\');
        if !audience.chars().all(plain) {
            return Err(TrustPolicyError::Audience(audience));
        }
        Ok(Self { issuer, playbook: playbook.clone(), audience, subjects })
    }

    /// The subjects, where none is longer than a cloud takes.
    fn within(&self, limit: usize) -> Result<Vec<&str>, TrustPolicyError> {
        if let Some(long) = self.subjects.iter().find(|id| id.as_str().len() > limit) {
            let (agent, length) = (long.clone(), long.as_str().len());
            return Err(TrustPolicyError::SubjectTooLong { agent, length, limit });
        }
        Ok(self.subjects.iter().map(SpiffeId::as_str).collect())
    }
}

/// The audience of a playbook's tokens; with the names of parameters where it depends on them.
fn audience_of(playbook: &Playbook) -> String {
    let permissions = playbook.permissions();
    let audience = permissions.iter().find_map(|one| one.strip_prefix("audience "));
    audience.unwrap_or_default().to_owned()
}

fn has_port(issuer: &IssuerUrl) -> bool {
    let authority = issuer.origin().trim_start_matches("https://");
    authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

/// `value`, if all its characters are of those and it is no longer than the limit.
fn named(
    option: &'static str,
    value: &str,
    limit: usize,
    rule: &'static str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), TrustPolicyError> {
    if !value.is_empty() && value.len() <= limit && value.chars().all(allowed) {
        return Ok(());
    }
    Err(TrustPolicyError::Place { option, value: value.to_owned(), rule })
}

/// What every cloud is told beside its document.
fn common_notes(believed: &Believed) -> Vec<String> {
    vec![
        format!(
            "the cloud fetches the keys of `{}` and may keep them for a day; a kill or a revocation is not asked for there: keep \
             tokens short",
            believed.issuer
        ),
        "tokens that an agent gets on behalf of a person have that person as their subject and are refused".to_owned(),
        "a token that an agent handed on to another keeps the first one as its subject and says `act` beside it: Google Cloud refuses \
         it, AWS and Entra cannot see it, so let no agent hand tokens of this playbook on (`may_delegate = false` in its entry)"
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests;
