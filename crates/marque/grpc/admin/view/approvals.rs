//! Approvals and approvers as they are shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Who approved.
    pub approver: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The digest that was approved.
    pub digest: String,
    /// The level that it counts at, from 1.
    #[serde(default)]
    pub level: u32,
    /// The groups that the approver was in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How the approver had shown more than one factor; empty if they had not.
    #[serde(default)]
    pub mfa: String,
    /// What the approver used.
    #[serde(default)]
    pub client: String,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectionView {
    /// Who refused.
    pub approver: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// That an approver took something away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NarrowedView {
    /// Who.
    pub approver: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The digest that they were shown.
    pub from: String,
    /// The digest of what was left.
    pub to: String,
}

/// Whether the operator who asks may approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EligibilityView {
    /// Whether they may.
    pub may_approve: bool,
    /// The groups that they are in now.
    pub groups: Vec<String>,
    /// Why not, as a code.
    pub code: String,
    /// Why not, in words.
    pub detail: String,
}

/// One approver's decisions in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApproverRecordView {
    /// Who.
    pub approver: String,
    /// How many approvals in the last 30 days.
    pub approved: u32,
    /// How many refusals.
    pub refused: u32,
    /// The median time between showing and deciding, in milliseconds.
    pub median_ms: Option<u64>,
    /// Whether that is less than anybody needs to read.
    pub rubber_stamp: bool,
}

impl From<proto::Approval> for ApprovalView {
    fn from(message: proto::Approval) -> Self {
        let proto::Approval { approver, at, digest, level, groups, mfa, client } = message;
        Self { approver, at: at.and_then(from_timestamp), digest, level, groups, mfa, client }
    }
}

impl From<proto::Objection> for ObjectionView {
    fn from(message: proto::Objection) -> Self {
        let proto::Objection { approver, at, reason } = message;
        Self { approver, at: at.and_then(from_timestamp), reason }
    }
}

impl From<proto::Narrowed> for NarrowedView {
    fn from(message: proto::Narrowed) -> Self {
        let proto::Narrowed { approver, at, from, to } = message;
        Self { approver, at: at.and_then(from_timestamp), from, to }
    }
}

impl From<proto::Eligibility> for EligibilityView {
    fn from(message: proto::Eligibility) -> Self {
        let proto::Eligibility { may_approve, groups, code, detail } = message;
        Self { may_approve, groups, code, detail }
    }
}

impl From<proto::ApproverRecord> for ApproverRecordView {
    fn from(message: proto::ApproverRecord) -> Self {
        let proto::ApproverRecord { approver, approved, refused, median_ms, rubber_stamp } =
            message;
        Self { approver, approved, refused, median_ms, rubber_stamp }
    }
}
