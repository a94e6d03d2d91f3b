//! The file format, field by field. Every field that is not an `Option` must be there.

use serde::{Deserialize, Serialize};

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
    pub(super) review_by: String,
    pub(super) tenant: String,
    pub(super) trust_domain: String,
    pub(super) status: PlaybookStatus,
    pub(super) risk: Risk,
    pub(super) who: Who,
    #[expect(dead_code, reason = "read from the untyped document; here so that it must be there")]
    pub(super) parameters: toml::Table,
    pub(super) purpose: Option<String>,
    pub(super) data_classes: Option<Vec<String>>,
    pub(super) resources: Vec<String>,
    pub(super) permits: Vec<Permit>,
    pub(super) delivery: String,
    pub(super) time: Time,
    pub(super) change: Option<Change>,
    pub(super) approval: ApprovalSection,
    pub(super) tools: Option<Vec<Tool>>,
    #[expect(dead_code, reason = "read from the untyped document; here so that it may be there")]
    pub(super) constraints: Option<toml::Table>,
    pub(super) limits: Option<LimitsSection>,
    pub(super) on_behalf: Option<OnBehalfSection>,
    pub(super) workflow: Option<WorkflowSection>,
}

/// Whether a playbook is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaybookStatus {
    /// Being written; nobody may ask for it.
    Draft,
    /// In use.
    Active,
    /// In use, and about to go.
    Deprecated,
    /// Switched off; nobody may ask for it.
    Disabled,
}

impl PlaybookStatus {
    /// Whether anybody may ask for it.
    #[must_use]
    pub const fn is_requestable(self) -> bool {
        match self {
            Self::Active | Self::Deprecated => true,
            Self::Draft | Self::Disabled => false,
        }
    }
}

/// How a playbook is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// By policy, never in production.
    Auto,
    /// By policy, or by a person where policy asks for one.
    Rule,
    /// By a person, whatever policy would approve.
    Always,
}

impl ApprovalMode {
    /// The name in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Rule => "rule",
            Self::Always => "always",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Risk {
    pub(super) base: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    pub(super) agents: Vec<String>,
    pub(super) delegators: Option<DelegatorsSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelegatorsSection {
    pub(super) required: bool,
    pub(super) persons: Vec<PersonsSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonsSection {
    pub(super) issuer: String,
    #[serde(default)]
    pub(super) subjects: Vec<String>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) everybody: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowSection {
    pub(super) required: Vec<WorkflowLabel>,
}

/// Where in a workflow an agent acts, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowLabel {
    /// The session.
    Session,
    /// The task.
    Task,
}

impl WorkflowLabel {
    /// The name in documents and requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Task => "task",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Permit {
    pub(super) audience: String,
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) authorization_details: Vec<Detail>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detail {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) locations: Vec<String>,
    #[serde(default)]
    pub(super) actions: Vec<String>,
    #[serde(default)]
    pub(super) datatypes: Vec<String>,
    pub(super) identifier: Option<String>,
    #[serde(default)]
    pub(super) privileges: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Time {
    pub(super) expected_runtime: String,
    pub(super) retry_buffer: String,
    pub(super) max_duration: String,
    pub(super) uses: u32,
    #[serde(default)]
    pub(super) single_use_tokens: bool,
    pub(super) request_ttl: String,
    pub(super) start_within: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) ticket: Ticket,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ticket {
    pub(super) required: bool,
    pub(super) pattern: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalSection {
    pub(super) mode: ApprovalMode,
    #[serde(default)]
    pub(super) levels: Vec<Level>,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    pub(super) on_timeout: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    pub(super) any: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) approve: u32,
    pub(super) deny: Option<u32>,
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tool {
    pub(super) server: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) sensitive: bool,
    #[serde(default)]
    pub(super) destructive: bool,
    pub(super) max_calls: Option<u32>,
    pub(super) arguments: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsSection {
    pub(super) max_records: Option<u64>,
    pub(super) max_calls: Option<u64>,
    pub(super) max_destructive: Option<u64>,
    pub(super) max_bytes_out: Option<u64>,
    pub(super) min_interval: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OnBehalfSection {
    pub(super) max_depth: u8,
    pub(super) agents: Vec<String>,
    #[serde(default)]
    pub(super) equal: Vec<String>,
}
