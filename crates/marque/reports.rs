//! What operators should know of and nobody asked about: reports over the log, the playbooks and the registry.
//!
//! A report is a list of findings of one shape, so that each can be read by a program and none needs a form of its own.
//! What happened comes from the log, which is complete; what is in force comes from the folder. Everything is bounded, and
//! says over which period. Absent: the shared identities, which have a report of their own beside these.

mod approvals;
mod break_glass;
mod denials;
mod grants;
mod ledger;
mod ownership;
mod rights;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use marque_audit::{LogError, LogStore};
use marque_intent::PlaybookSet;
use marque_registry::{Snapshot, TrustDomainDocument};
use serde_json::Value;

pub(crate) use self::ledger::{Ledger, Told};

/// The most findings of one report.
const MAX_FINDINGS: usize = 1000;

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    /// The same grant, renewed again and again.
    Renewed,
    /// Playbooks that are in force most of the time.
    NearPermanent,
    /// What is past its review.
    Exceptions,
    /// Where an agent may do more than a person with the same job.
    OverGrant,
    /// What became of what was refused.
    Denials,
    /// What nobody answers for.
    Unowned,
    /// How people decide.
    Approvals,
    /// Every glass that was broken, and what was found afterwards.
    BreakGlass,
}

impl Which {
    /// Every report.
    pub(crate) const ALL: [Self; 8] = [
        Self::Renewed,
        Self::NearPermanent,
        Self::Exceptions,
        Self::OverGrant,
        Self::Denials,
        Self::Unowned,
        Self::Approvals,
        Self::BreakGlass,
    ];

    /// The name on the command line and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::NearPermanent => "near-permanent",
            Self::Exceptions => "exceptions",
            Self::OverGrant => "over-grant",
            Self::Denials => "denials",
            Self::Unowned => "unowned",
            Self::Approvals => "approvals",
            Self::BreakGlass => "break-glass",
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a report")]
pub(crate) struct UnknownReport;

impl FromStr for Which {
    type Err = UnknownReport;

    fn from_str(text: &str) -> Result<Self, UnknownReport> {
        Self::ALL.into_iter().find(|which| which.as_str() == text).ok_or(UnknownReport)
    }
}

/// One thing that a report says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) report: Which,
    /// What it is about.
    pub(crate) subject: String,
    /// Who answers for that, as far as anybody does.
    pub(crate) owner: String,
    /// One sentence.
    pub(crate) summary: String,
    /// Whether somebody has to act; the others are figures.
    pub(crate) act: bool,
    pub(crate) facts: BTreeMap<&'static str, Value>,
}

impl Finding {
    fn new(report: Which, subject: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            report,
            subject: subject.into(),
            owner: String::new(),
            summary: summary.into(),
            act: true,
            facts: BTreeMap::new(),
        }
    }

    fn owned_by(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// It is a figure, and nobody has to act.
    fn figure(mut self) -> Self {
        self.act = false;
        self
    }

    fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.insert(name, value.into());
        self
    }
}

/// What a report looks at.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) document: &'a TrustDomainDocument,
    pub(crate) playbooks: &'a PlaybookSet,
    pub(crate) registry: &'a Snapshot,
    pub(crate) ledger: &'a Ledger,
    pub(crate) now: Timestamp,
}

/// Makes these reports over what was recorded since then.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn make(
    which: &[Which],
    (document, playbooks, registry): (&TrustDomainDocument, &PlaybookSet, &Snapshot),
    log: &dyn LogStore,
    (since, now): (Timestamp, Timestamp),
) -> Result<Vec<Finding>, LogError> {
    let ledger = Ledger::read(log, since, now).await?;
    let sources = Sources { document, playbooks, registry, ledger: &ledger, now };
    let mut findings = Vec::new();
    for which in which {
        let mut found = sources.findings(*which);
        if ledger.is_cut() {
            let told = "the log has more than a report reads at once; name a shorter period";
            found.insert(0, Finding::new(*which, "the period", told));
        }
        found.truncate(MAX_FINDINGS);
        findings.extend(found);
    }
    Ok(findings)
}

impl Sources<'_> {
    fn findings(&self, which: Which) -> Vec<Finding> {
        match which {
            Which::Renewed => grants::renewed(self),
            Which::NearPermanent => grants::near_permanent(self),
            Which::Exceptions => ownership::past_review(self),
            Which::OverGrant => rights::over_grant(self),
            Which::Denials => denials::quality(self),
            Which::Unowned => ownership::unowned(self),
            Which::Approvals => approvals::decisions(self),
            Which::BreakGlass => break_glass::all(self),
        }
    }

    /// Who answers for a playbook that is still there.
    fn owner_of(&self, playbook: &str) -> String {
        let found = playbook.parse().ok().and_then(|id| self.playbooks.find(&id));
        found.map(|playbook| playbook.owner().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
