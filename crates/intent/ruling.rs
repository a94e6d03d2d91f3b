//! What a decision point says about a grant that somebody asks for, and why.

use serde::{Deserialize, Serialize};

use crate::denial::DenialCode;

/// The answer of a decision point, with the ids of the policies that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ruling", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ruling {
    /// Approved without a person.
    Approve {
        /// The policies that permit.
        rules: Vec<String>,
    },
    /// A person has to approve.
    AskApproval {
        /// The policies that permit asking.
        rules: Vec<String>,
    },
    /// Refused.
    Deny {
        /// Why.
        code: DenialCode,
        /// The policies that forbid; empty if none permits.
        rules: Vec<String>,
    },
}

impl Ruling {
    /// The ids of the policies that decided.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        match self {
            Self::Approve { rules } | Self::AskApproval { rules } | Self::Deny { rules, .. } => {
                rules
            }
        }
    }
}

/// A ruling with its reasons, and what was ruled though it is not enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What is enforced.
    pub ruling: Ruling,
    /// Why, in the words of the policies that decided (`@reason`), in the order of their ids.
    pub reasons: Vec<String>,
    /// What was ruled, where the playbook is only observed and the request would have been refused (M 131).
    pub shadow: Option<Ruling>,
}

impl From<Ruling> for Verdict {
    fn from(ruling: Ruling) -> Self {
        Self { ruling, reasons: Vec::new(), shadow: None }
    }
}

impl Ruling {
    /// Refused for one reason that is no policy's.
    #[must_use]
    pub const fn refused(code: DenialCode) -> Self {
        Self::Deny { code, rules: Vec::new() }
    }
}
