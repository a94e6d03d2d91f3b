//! `[[brokers]]`: who may fetch SVIDs for workloads other than itself, and how far that goes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use marque_spiffe::{SpiffeId, SpiffeIdPattern, TrustDomain};

use crate::entry::is_reserved;
use crate::fields::{Fields, Lined, Log};

/// The longest audience, in bytes.
const MAX_AUDIENCE_BYTES: usize = 512;

/// One of `[[brokers]]`: what the holder of one SPIFFE ID may fetch for others (BR-2). What is not listed is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRule {
    spiffe_id: SpiffeId,
    references: BTreeSet<ReferenceType>,
    identities: Arc<[SpiffeIdPattern]>,
    audiences: BTreeSet<String>,
}

/// How a broker may refer to a workload (BR-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferenceType {
    /// By process id.
    Pid,
    /// By a Kubernetes object.
    Kubernetes,
}

/// Why a text is not a type of reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reference type is `pid` or `kubernetes`")]
pub struct ReferenceTypeError;

impl BrokerRule {
    /// Who the broker is.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Whether it may refer to workloads in this way.
    pub fn may_refer_by(&self, reference: ReferenceType) -> bool {
        self.references.contains(&reference)
    }

    /// The identities that it may be given, whatever else the workload has; at least one pattern.
    pub fn identities(&self) -> &Arc<[SpiffeIdPattern]> {
        &self.identities
    }

    /// Whether it may have JWT-SVIDs for this audience.
    pub fn may_ask_for(&self, audience: &str) -> bool {
        self.audiences.contains(audience)
    }
}

impl ReferenceType {
    /// The type as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl FromStr for ReferenceType {
    type Err = ReferenceTypeError;

    fn from_str(text: &str) -> Result<Self, ReferenceTypeError> {
        match text {
            "pid" => Ok(Self::Pid),
            "kubernetes" => Ok(Self::Kubernetes),
            _other => Err(ReferenceTypeError),
        }
    }
}

impl fmt::Display for ReferenceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads every `[[brokers]]` of a trust domain, whose name may itself be wrong.
pub(super) fn brokers(
    tables: Vec<Fields<'_, '_>>,
    trust_domain: Option<&TrustDomain>,
    log: &mut Log<'_>,
) -> Vec<BrokerRule> {
    let mut known = BTreeSet::new();
    let rules = tables.into_iter().filter_map(|table| broker(table, trust_domain, &mut known, log));
    rules.collect()
}

fn broker(
    mut table: Fields<'_, '_>,
    trust_domain: Option<&TrustDomain>,
    known: &mut BTreeSet<SpiffeId>,
    log: &mut Log<'_>,
) -> Option<BrokerRule> {
    let line = table.line();
    let spiffe_id: Option<Lined<SpiffeId>> = table.lined_text("spiffe_id", log);
    let references: Vec<ReferenceType> = table.texts("references", log);
    let identities: Vec<SpiffeIdPattern> = table.texts("identities", log);
    let audiences: Vec<Audience> = table.texts("audiences", log);
    table.finish(log);
    let foreign = |named: &TrustDomain| trust_domain.is_some_and(|own| own != named);
    if references.is_empty() {
        log.at(line, "[brokers] needs at least one of `references`: `pid`, `kubernetes`");
    }
    if identities.is_empty() {
        log.at(line, "[brokers] needs at least one of `identities`: without one it gets nothing");
    }
    for pattern in identities.iter().filter(|pattern| foreign(pattern.trust_domain())) {
        log.at(line, format!("`identities` in [brokers]: `{pattern}` is of another trust domain"));
    }
    let references = unique("references", references, line, log);
    let identities = unique("identities", identities, line, log);
    let audiences: Vec<_> = audiences.into_iter().map(|Audience(audience)| audience).collect();
    let audiences = unique("audiences", audiences, line, log);
    let Lined { value: spiffe_id, line } = spiffe_id?;
    if foreign(spiffe_id.trust_domain()) {
        let message = format!("`spiffe_id` in [brokers]: `{spiffe_id}` is of another trust domain");
        log.at(line, message);
    }
    if !spiffe_id.has_path() || is_reserved(&spiffe_id) {
        let message = format!("`spiffe_id` in [brokers]: no workload can have `{spiffe_id}`");
        log.at(line, message);
    }
    if !known.insert(spiffe_id.clone()) {
        log.at(line, format!("`spiffe_id` in [brokers]: `{spiffe_id}` is used twice"));
    }
    let identities = identities.into_iter().collect();
    Some(BrokerRule { spiffe_id, references, identities, audiences })
}

/// The values as a set; whoever writes one twice may have meant another.
fn unique<T: Ord + fmt::Display>(
    key: &str,
    values: Vec<T>,
    line: usize,
    log: &mut Log<'_>,
) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for value in values {
        if set.contains(&value) {
            log.at(line, format!("`{key}` in [brokers]: `{value}` is there twice"));
        }
        set.insert(value);
    }
    set
}

/// An audience as JWT-SVIDs may carry it, compared as text. There are no wildcards.
struct Audience(String);

impl FromStr for Audience {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused =
            |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\' | '*');
        if text.is_empty() || text.len() > MAX_AUDIENCE_BYTES || text.contains(refused) {
            return Err(
                "is not an audience of 1 to 512 bytes without blanks, quotation marks, `\\` and `*`",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
