//! The risk score as a sum that anyone can follow.

use serde::{Deserialize, Serialize};

/// The factors that were added up. The score itself is the grant's `risk`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskAssessment {
    /// Each factor that added something, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<RiskFactor>,
}

impl RiskAssessment {
    /// Whether nothing was added to the playbook's own risk.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.factors.is_empty()
    }
}

/// One reason why a request is riskier than its playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskFactor {
    /// Its name, as in the playbook's weights.
    pub name: String,
    /// What it added.
    pub points: u32,
    /// The input that it was computed from.
    pub input: String,
}
