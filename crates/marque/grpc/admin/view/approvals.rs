//! Approvals as they are shown.

use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;
use super::{
    ApprovalView, ApproverRecordView, EligibilityView, HeldView, NarrowedView, ObjectionView,
};

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

impl From<proto::Held> for HeldView {
    fn from(message: proto::Held) -> Self {
        let proto::Held { intents, audiences, scopes, resources, tools } = message;
        Self { intents, audiences, scopes, resources, tools }
    }
}

impl From<proto::ApproverRecord> for ApproverRecordView {
    fn from(message: proto::ApproverRecord) -> Self {
        let proto::ApproverRecord { approver, approved, refused, median_ms, rubber_stamp } =
            message;
        Self { approver, approved, refused, median_ms, rubber_stamp }
    }
}
