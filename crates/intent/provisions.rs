//! What a grant carries of its playbook's particular provisions: the phase that it is for, the exception that it was made
//! under, what the log must be able to say of it, and who is asked whether its work was done.
//!
//! All of it is in the digest. Absent: who enforces which, see [`crate::resolve()`], [`crate::Intent::redeem`].

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::playbook::{PhaseName, PinnedException};
use crate::post_check::PostCheckUrl;

/// The particular provisions of a grant; most have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisions {
    /// The phase of a staged playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PhaseName>,
    /// The exception that it was made under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<PinnedException>,
    /// What the log must be able to say of it.
    #[serde(default, skip_serializing_if = "LogDemands::is_empty")]
    pub logging: LogDemands,
    /// Who answers for the agent, where the log must say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<String>,
    /// Where somebody else is asked whether the work that its agent reports was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_check: Option<PostCheckUrl>,
}

impl Provisions {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the log must be able to say of a grant, and what it keeps of the agent's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogDemands {
    /// What must be known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub require: BTreeSet<LogField>,
    /// What is kept of the justification.
    #[serde(default, skip_serializing_if = "PromptKept::is_nothing")]
    pub prompt: PromptKept,
}

impl LogDemands {
    /// Whether nothing in particular is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that the log must be able to say of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogField {
    /// Who approved it.
    Approver,
    /// On whose behalf it is used.
    Delegator,
    /// Why the agent asks, in its own words.
    Justification,
    /// What it is for.
    Purpose,
    /// The session.
    Session,
    /// Who answers for the agent.
    Sponsor,
    /// What it touches.
    Target,
    /// The task.
    Task,
    /// The change ticket.
    Ticket,
}

impl LogField {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approver => "approver",
            Self::Delegator => "delegator",
            Self::Justification => "justification",
            Self::Purpose => "purpose",
            Self::Session => "session",
            Self::Sponsor => "sponsor",
            Self::Target => "target",
            Self::Task => "task",
            Self::Ticket => "ticket",
        }
    }
}

impl fmt::Display for LogField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the log keeps of an agent's justification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptKept {
    /// Nothing.
    #[default]
    None,
    /// Its SHA-256, by which somebody who has the text can show that it was this one.
    Hash,
    /// It is sealed beside the log, with the report; neither is kept with an intent that is over.
    Sealed,
}

impl PromptKept {
    fn is_nothing(&self) -> bool {
        *self == Self::None
    }

    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hash => "hash",
            Self::Sealed => "sealed",
        }
    }
}
