//! `enforcement` and `object`: whether the answer of policy is enforced, and what a request is about.

use serde::{Deserialize, Serialize};

/// Whether what policy and risk say of a request is enforced (M 131).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// It is.
    #[default]
    Enforce,
    /// A refusal is recorded and not enforced. Who somebody is, where they are, kills and blackouts are enforced all the
    /// same.
    Observe,
}

impl Enforcement {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}
