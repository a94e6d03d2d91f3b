//! The file format at its top level. Every field that is not an `Option` must be there.

use serde::Deserialize;

use super::sections::approval::ApprovalSection;
use super::sections::change::ChangeSection;
use super::sections::concurrency::ConcurrencySection;
use super::sections::demands::{ConfidenceSection, JustificationSection};
use super::sections::ends::{LivenessSection, OnCompleteSection};
use super::sections::enforcement::Enforcement;
use super::sections::head::PlaybookStatus;
use super::sections::limits::LimitsSection;
use super::sections::logging::LoggingSection;
use super::sections::on_behalf::OnBehalfSection;
use super::sections::permits::PermitSection;
use super::sections::risk::RiskSection;
use super::sections::staged::PhaseSection;
use super::sections::time::TimeSection;
use super::sections::tools::ToolSection;
use super::sections::who::WhoSection;
use super::sections::workflow::WorkflowSection;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) title: String,
    pub(super) owner: String,
    pub(super) author: Option<String>,
    pub(super) review_by: String,
    pub(super) tenant: String,
    pub(super) trust_domain: String,
    pub(super) status: PlaybookStatus,
    pub(super) risk: RiskSection,
    pub(super) who: WhoSection,
    #[expect(dead_code, reason = "read from the untyped document; here so that it must be there")]
    pub(super) parameters: toml::Table,
    pub(super) purpose: Option<String>,
    pub(super) data_classes: Option<Vec<String>>,
    pub(super) resources: Vec<String>,
    pub(super) permits: Vec<PermitSection>,
    pub(super) delivery: String,
    pub(super) time: TimeSection,
    pub(super) change: Option<ChangeSection>,
    pub(super) approval: ApprovalSection,
    pub(super) tools: Option<Vec<ToolSection>>,
    #[expect(dead_code, reason = "read from the untyped document; here so that it may be there")]
    pub(super) constraints: Option<toml::Table>,
    pub(super) limits: Option<LimitsSection>,
    pub(super) on_behalf: Option<OnBehalfSection>,
    pub(super) workflow: Option<WorkflowSection>,
    pub(super) logging: Option<LoggingSection>,
    pub(super) staged: Option<Vec<PhaseSection>>,
    pub(super) liveness: Option<LivenessSection>,
    pub(super) on_complete: Option<OnCompleteSection>,
    pub(super) concurrency: Option<ConcurrencySection>,
    pub(super) enforcement: Option<Enforcement>,
    pub(super) object: Option<String>,
    pub(super) confidence: Option<ConfidenceSection>,
    pub(super) justification: Option<JustificationSection>,
    pub(super) emergency: Option<toml::Value>,
}
