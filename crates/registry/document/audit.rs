//! `[audit]`: who may read the log over HTTPS, and where it is pushed.

mod sinks;
mod witnesses;

use std::fmt;
use std::str::FromStr;

use marque_spiffe::{Environment, SpiffeId, SpiffeIdPattern, TrustDomain};

use crate::fields::{Fields, Log};

pub use self::sinks::{
    AuditSink, MAX_AUDIT_SINKS, SinkContent, SinkTarget, SinkTargetError, SyslogTarget,
};
pub use self::witnesses::{MAX_WITNESSES, Witness, WitnessSettings};

/// `[audit]`; everything may be absent. Leaves name agents, people and tickets: they are for readers. The checkpoint and
/// the hashes of the tree name nobody, and let everybody see that one history is shown to all.
///
/// ```toml
/// [audit]
/// hashes = "public"                    # or "readers": who may read the checkpoint and the hash tiles
/// readers = ["spiffe://prod.example.org/service/auditor"]   # who may read the leaves too; patterns, by default nobody
/// reader_groups = ["security"]         # approvers who log in and are in one of these groups may too
/// ```
///
/// `[[audit.sinks]]` is at [`AuditSink`], `[[audit.witnesses]]` at [`WitnessSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditSettings {
    hashes: HashReaders,
    readers: Vec<SpiffeIdPattern>,
    reader_groups: Vec<String>,
    sinks: Vec<AuditSink>,
    witnesses: WitnessSettings,
}

/// Who may read the checkpoint and the hashes of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashReaders {
    /// Whoever asks.
    #[default]
    Public,
    /// Who may read the leaves.
    Readers,
}

/// Why a text does not say who may read hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither `public` nor `readers`")]
pub struct HashReadersError;

impl AuditSettings {
    /// Who may read the checkpoint and the hashes of the tree.
    pub fn hashes(&self) -> HashReaders {
        self.hashes
    }

    /// Where the log is pushed.
    pub fn sinks(&self) -> &[AuditSink] {
        &self.sinks
    }

    /// Who cosigns checkpoints.
    pub fn witnesses(&self) -> &WitnessSettings {
        &self.witnesses
    }

    /// Who may read the leaves: patterns over the SPIFFE IDs of this trust domain.
    pub fn readers(&self) -> &[SpiffeIdPattern] {
        &self.readers
    }

    /// Whether the holder of this identity may read the leaves.
    pub fn is_reader(&self, id: &SpiffeId) -> bool {
        self.readers.iter().any(|pattern| pattern.matches(id))
    }

    /// Whether an approver who is in this group may read the leaves.
    pub fn is_reader_group(&self, group: &str) -> bool {
        self.reader_groups.iter().any(|reader| reader == group)
    }
}

impl HashReaders {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Readers => "readers",
        }
    }
}

impl FromStr for HashReaders {
    type Err = HashReadersError;

    fn from_str(text: &str) -> Result<Self, HashReadersError> {
        match text {
            "public" => Ok(Self::Public),
            "readers" => Ok(Self::Readers),
            _other => Err(HashReadersError),
        }
    }
}

impl fmt::Display for HashReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A group as it is written.
struct Group(String);

/// Why a text is not the name of a group.
#[derive(Debug, thiserror::Error)]
#[error("a group has a name")]
struct GroupError;

impl FromStr for Group {
    type Err = GroupError;

    fn from_str(text: &str) -> Result<Self, GroupError> {
        if text.is_empty() { Err(GroupError) } else { Ok(Self(text.to_owned())) }
    }
}

/// Reads `[audit]` of a trust domain, whose name may itself be wrong.
pub(super) fn read(
    mut table: Fields<'_, '_>,
    trust_domain: Option<&TrustDomain>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> AuditSettings {
    let line = table.line();
    let hashes = table.optional_text("hashes", log).unwrap_or_default();
    let readers: Vec<SpiffeIdPattern> = table.texts("readers", log);
    let groups: Vec<Group> = table.texts("reader_groups", log);
    let sinks = sinks::read(&mut table, environment, log);
    let witnesses = witnesses::read(&mut table, environment, log);
    table.finish(log);
    let foreign =
        |pattern: &&SpiffeIdPattern| trust_domain.is_some_and(|own| own != pattern.trust_domain());
    for pattern in readers.iter().filter(foreign) {
        let pattern = pattern.as_str();
        log.at(line, format!("`{pattern}` in `readers` of [audit] is of another trust domain"));
    }
    let reader_groups = groups.into_iter().map(|Group(name)| name).collect();
    AuditSettings { hashes, readers, reader_groups, sinks, witnesses }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const SHIPPED: &str = include_str!("../folder/tests/trust-domain.toml");

    fn read(more: &str) -> Result<AuditSettings, Vec<Finding>> {
        let text = format!("{SHIPPED}\n{more}");
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text)?;
        Ok(document.audit().clone())
    }

    #[test]
    fn by_default_hashes_are_public_and_nobody_reads_leaves() {
        let settings = read("").unwrap();
        assert_eq!(settings.hashes(), HashReaders::Public);
        let anybody = "spiffe://prod.example.org/service/auditor".parse().unwrap();
        assert!(!settings.is_reader(&anybody) && !settings.is_reader_group("security"));
    }

    #[test]
    fn readers_are_named_by_pattern_and_by_group() {
        let own = read("").map(|_| name()).unwrap();
        let more = format!(
            "[audit]\nhashes = \"readers\"\nreaders = [\"spiffe://{own}/service/*\"]\nreader_groups = [\"security\"]"
        );
        let settings = read(&more).unwrap();
        assert_eq!(settings.hashes(), HashReaders::Readers);
        assert!(settings.is_reader(&format!("spiffe://{own}/service/auditor").parse().unwrap()));
        assert!(!settings.is_reader(&format!("spiffe://{own}/agent/auditor").parse().unwrap()));
        assert!(settings.is_reader_group("security") && !settings.is_reader_group("sec"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            "hashes = \"nobody\"",
            "readers = [\"spiffe://elsewhere.example.org/service/auditor\"]",
            "readers = [\"auditor\"]",
            "reader_groups = [\"\"]",
            "reader = []",
        ] {
            assert!(read(&format!("[audit]\n{wrong}")).is_err(), "{wrong}");
        }
    }

    fn name() -> String {
        let text = SHIPPED.lines().find_map(|line| line.strip_prefix("name = "));
        text.unwrap().trim_matches('"').to_owned()
    }
}
