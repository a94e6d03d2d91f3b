//! What a decision point says about a grant that somebody asks for.

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
