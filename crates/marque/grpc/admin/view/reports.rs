//! What reports say, as it is shown.

use serde::Serialize;
use serde_json::Value;

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::fields::json;

/// One thing that a report says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportView {
    /// Which report.
    pub report: String,
    /// What it is about.
    pub subject: String,
    /// Who answers for that; empty when nobody is known to.
    pub owner: String,
    /// One sentence.
    pub summary: String,
    /// Whether somebody has to act; the others are figures.
    pub act: bool,
    /// The figures.
    pub facts: Value,
}

impl TryFrom<proto::ReportFinding> for ReportView {
    type Error = CallError;

    fn try_from(message: proto::ReportFinding) -> Result<Self, CallError> {
        let proto::ReportFinding { report, subject, owner, summary, act, facts_json } = message;
        Ok(Self { report, subject, owner, summary, act, facts: json("facts_json", &facts_json)? })
    }
}
