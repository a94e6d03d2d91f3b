//! Why something was refused: stable codes, their classes, what to do next (specs/intents.md 5).
//!
//! A [`Denial`] has two readers. The agent learns code, class, retry and remediation ([`Denial::to_problem`]); operators
//! also learn what exactly failed. Absent: HTTP types. The numbers here are what an edge should answer, nothing more.

mod codes;
mod guide;
mod id;
mod problem;
mod record;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::codes::{DenialClass, DenialCode, UnknownDenialCode};
pub use self::id::{DenialId, DenialIdError};
pub use self::problem::{DENIALS_PAGE, Problem, ProblemPolicy, ProblemRemediation, ProblemRetry};
pub use self::record::{DenialFilter, DenialRecord, RefusedRequest};
use crate::digest::Digest;
use crate::id::IntentId;
use crate::text::bounded;

/// How long the operators' detail of a denial may be, in characters.
pub const MAX_DETAIL_CHARS: usize = 512;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub struct Denial {
    code: DenialCode,
    detail: String,
    rules: Vec<String>,
    policy_set: Option<Digest>,
    /// What few refusals have: a refusal is handed on by value, and is to be small.
    more: Option<Box<More>>,
}

/// What is known beyond code and detail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct More {
    /// What was wanted and what was found, for operators.
    expected: Option<String>,
    actual: Option<String>,
    /// Where these are known better than by the code.
    after_s: Option<u64>,
    tries_left: Option<u32>,
    /// The intent that it is about: the open one of which this is a duplicate, or the one whose refusal this repeats.
    about: Option<IntentId>,
    /// What operators find it by, once it is on record.
    record: Option<DenialId>,
}

/// A refusal as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    code: DenialCode,
    detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy_set: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tries_left: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<IntentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<DenialId>,
}

impl From<Parts> for Denial {
    fn from(parts: Parts) -> Self {
        let Parts {
            code,
            detail,
            rules,
            policy_set,
            expected,
            actual,
            after_s,
            tries_left,
            about,
            record,
        } = parts;
        let more = More { expected, actual, after_s, tries_left, about, record };
        let more = (more != More::default()).then(|| Box::new(more));
        Self { code, detail, rules, policy_set, more }
    }
}

impl From<Denial> for Parts {
    fn from(denial: Denial) -> Self {
        let Denial { code, detail, rules, policy_set, more } = denial;
        let More { expected, actual, after_s, tries_left, about, record } =
            more.map(|more| *more).unwrap_or_default();
        Self {
            code,
            detail,
            rules,
            policy_set,
            expected,
            actual,
            after_s,
            tries_left,
            about,
            record,
        }
    }
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
            more: None,
        }
    }

    fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Says what operators find it by.
    #[must_use]
    pub fn recorded_as(mut self, record: DenialId) -> Self {
        self.more_mut().record = Some(record);
        self
    }

    /// What operators find it by, if it is on record.
    #[must_use]
    pub fn record(&self) -> Option<&DenialId> {
        self.more.as_ref()?.record.as_ref()
    }

    /// Says to operators what was wanted and what was found; both are cut to [`MAX_DETAIL_CHARS`].
    #[must_use]
    pub fn expecting(mut self, expected: &str, actual: &str) -> Self {
        self.more_mut().expected = Some(bounded(expected, MAX_DETAIL_CHARS));
        self.more_mut().actual = Some(bounded(actual, MAX_DETAIL_CHARS));
        self
    }

    /// Says how long to wait, in whole seconds and at least one.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.more_mut().after_s = Some(whole.max(1));
        self
    }

    /// Says how many further tries there are.
    #[must_use]
    pub fn with_tries_left(mut self, tries: u32) -> Self {
        self.more_mut().tries_left = Some(tries);
        self
    }

    /// Names the intent that it is about.
    #[must_use]
    pub fn about(mut self, intent: IntentId) -> Self {
        self.more_mut().about = Some(intent);
        self
    }

    /// The intent that it is about, if it is about another than the request's own.
    #[must_use]
    pub fn subject(&self) -> Option<&IntentId> {
        self.more.as_ref()?.about.as_ref()
    }

    /// What was wanted, for operators.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.more.as_ref()?.expected.as_deref()
    }

    /// What was found, for operators.
    #[must_use]
    pub fn actual(&self) -> Option<&str> {
        self.more.as_ref()?.actual.as_deref()
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
    pub fn retry(&self) -> Retry {
        let rule = self.code.retry();
        let known = self.more.as_ref();
        let (after_s, tries_left) =
            (known.and_then(|more| more.after_s), known.and_then(|more| more.tries_left));
        Retry {
            allowed: rule.allowed && tries_left != Some(0),
            after: after_s.map(Duration::from_secs).or(rule.after),
            max: tries_left.or(rule.max),
        }
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
