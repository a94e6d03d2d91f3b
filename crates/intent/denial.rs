//! Why something was refused: stable codes, their classes, what to do next (specs/intents.md 5).
//!
//! A [`Denial`] has two readers. The agent learns code, class, retry and remediation ([`Denial::to_problem`]); operators
//! also learn what exactly failed. Absent: HTTP types. The numbers here are what an edge should answer, nothing more.

mod codes;
mod problem;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::codes::{DenialClass, DenialCode, UnknownDenialCode};
pub use self::problem::{Problem, ProblemPolicy, ProblemRemediation, ProblemRetry};
use crate::digest::Digest;
use crate::text::bounded;

/// How long the operators' detail of a denial may be, in characters.
pub const MAX_DETAIL_CHARS: usize = 512;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    code: DenialCode,
    detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_set: Option<Digest>,
}

impl Denial {
    /// A refusal; `detail` is for operators and is cut to [`MAX_DETAIL_CHARS`].
    #[must_use]
    pub fn new(code: DenialCode, detail: impl AsRef<str>) -> Self {
        Self {
            code,
            detail: bounded(detail.as_ref(), MAX_DETAIL_CHARS),
            rules: Vec::new(),
            policy_set: None,
        }
    }

    /// Names the policies that decided, and the set they are from.
    #[must_use]
    pub fn by_policy(mut self, policy_set: Digest, rules: Vec<String>) -> Self {
        self.policy_set = Some(policy_set);
        self.rules = rules;
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> DenialCode {
        self.code
    }

    /// The class, which drives the retry budget.
    #[must_use]
    pub const fn class(&self) -> DenialClass {
        self.code.class()
    }

    /// What failed, for operators.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The ids of the policies that decided; empty if no policy did.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// The digest of the policy set that decided, if one did.
    #[must_use]
    pub const fn policy_set(&self) -> Option<&Digest> {
        self.policy_set.as_ref()
    }

    /// Whether and when to try again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.code.retry()
    }

    /// Who can repair this, and how.
    #[must_use]
    pub const fn remediation(&self) -> Remediation {
        self.code.remediation()
    }

    /// The agent's view of this refusal.
    #[must_use]
    pub fn to_problem(&self) -> Problem {
        Problem::of(self)
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Denial {}

/// Whether an agent may ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Whether asking again can help at all.
    pub allowed: bool,
    /// The least time to wait first.
    pub after: Option<Duration>,
    /// How many further tries the class allows; `None` is without a count, and only where nobody is asked anew.
    pub max: Option<u32>,
}

/// Who can repair a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remediation {
    /// The agent sends a corrected request.
    FixRequest,
    /// The agent names a valid change ticket.
    ProvideTicket,
    /// The agent waits.
    Wait,
    /// The agent asks for a new intent.
    RequestNewIntent,
    /// The host's operator repairs the agent's attestation.
    RepairAttestation,
    /// A person with the right to approve decides.
    AskApprover,
    /// The playbook's owner changes the playbook or policy.
    ContactOwner,
    /// An operator of the trust domain acts.
    ContactOperator,
    /// Nothing: the refusal is meant to stay.
    None,
}

impl Remediation {
    /// One sentence for the agent.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::FixRequest => "Correct the request and send it again.",
            Self::ProvideTicket => "Name a change ticket that this playbook accepts.",
            Self::Wait => "Wait, then try again.",
            Self::RequestNewIntent => "Ask for a new intent.",
            Self::RepairAttestation => {
                "Ask the operator of this host to check the registration entry."
            }
            Self::AskApprover => "Wait for an approver; do not ask again.",
            Self::ContactOwner => "Ask the owner of the playbook.",
            Self::ContactOperator => "Ask an operator of the trust domain.",
            Self::None => "There is nothing to do: stop.",
        }
    }
}

#[cfg(test)]
mod tests;
