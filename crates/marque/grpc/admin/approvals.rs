//! Approving at the admin socket: what an operator is shown, and what they say.
//!
//! Absent on purpose: what comes of it, which is the approval desk's.

use marque_intent::{
    Approval, DecisionRecord, DecisionSummary, IntentId, Narrowed, Narrowing, Objection,
};
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::{from_duration, timestamp};
use super::door::Operator;
use super::{AdminService, messages, requests};
use crate::approvers::{Eligibility, Held, Word};
use crate::error;
use crate::irrevocable::Irrevocable;

impl AdminService {
    pub(super) async fn shown_intent(
        &self,
        request: Request<proto::GetIntentRequest>,
    ) -> Result<Response<proto::GetIntentResponse>, Status> {
        let (operator, id) = self.operator_for("GetIntent", &request, |body| &body.id).await?;
        let told = self.door.look_at(operator, id).await.map_err(error::admin)?;
        Ok(Response::new(proto::GetIntentResponse { intent: Some(messages::told(&told)) }))
    }

    pub(super) async fn approved(
        &self,
        request: Request<proto::ApproveIntentRequest>,
    ) -> Result<Response<proto::ApproveIntentResponse>, Status> {
        let (operator, id) = self.operator_for("ApproveIntent", &request, |body| &body.id).await?;
        let proto::ApproveIntentRequest { id: _, grant_digest, less, idempotency_key } =
            request.into_inner();
        let digest = requests::digest(&grant_digest)?;
        let less = less.map(narrowing).transpose()?;
        let intent =
            self.decided(operator, id, Word::Approve { digest, less }, idempotency_key).await?;
        Ok(Response::new(proto::ApproveIntentResponse { intent: Some(intent) }))
    }

    pub(super) async fn denied(
        &self,
        request: Request<proto::DenyIntentRequest>,
    ) -> Result<Response<proto::DenyIntentResponse>, Status> {
        let (operator, id) = self.operator_for("DenyIntent", &request, |body| &body.id).await?;
        let proto::DenyIntentRequest { id: _, reason, text, idempotency_key } =
            request.into_inner();
        let reason = requests::deny_reason(&reason, &text)?;
        let word = Word::Deny { digest: None, reason };
        let intent = self.decided(operator, id, word, idempotency_key).await?;
        Ok(Response::new(proto::DenyIntentResponse { intent: Some(intent) }))
    }

    pub(super) async fn revoked(
        &self,
        request: Request<proto::RevokeIntentRequest>,
    ) -> Result<Response<proto::RevokeIntentResponse>, Status> {
        let (operator, id) = self.operator_for("RevokeIntent", &request, |body| &body.id).await?;
        let proto::RevokeIntentRequest { id: _, reason, idempotency_key } = request.into_inner();
        let word = Word::Revoke { reason: requests::reason(&reason)? };
        let intent = self.decided(operator, id, word, idempotency_key).await?;
        Ok(Response::new(proto::RevokeIntentResponse { intent: Some(intent) }))
    }

    async fn decided(
        &self,
        operator: Operator,
        id: IntentId,
        word: Word,
        key: String,
    ) -> Result<proto::Intent, Status> {
        let key = Some(key).filter(|key| !key.is_empty());
        let told = self.door.decide(operator, id, word, key).await.map_err(error::admin)?;
        Ok(messages::told(&told))
    }

    pub(super) async fn approvers(
        &self,
        request: Request<proto::ListApproversRequest>,
    ) -> Result<Response<proto::ListApproversResponse>, Status> {
        self.operator("ListApprovers", &request).await?;
        let proto::ListApproversRequest {} = request.into_inner();
        let decisions = self.door.decisions().await.map_err(error::admin)?;
        let approvers = decisions.into_iter().map(record).collect();
        Ok(Response::new(proto::ListApproversResponse { approvers }))
    }
}

fn record((approver, record): (String, DecisionRecord)) -> proto::ApproverRecord {
    let summary = record.summary();
    let DecisionSummary { approved, refused, median_ms } = summary;
    let rubber_stamp = summary.is_rubber_stamp();
    proto::ApproverRecord { approver, approved, refused, median_ms, rubber_stamp }
}

fn narrowing(message: proto::Narrowing) -> Result<Narrowing, Status> {
    let proto::Narrowing { uses, max_duration, start_within, without_scopes, without_tools } =
        message;
    let seconds = |name: &'static str, length: Option<prost_types::Duration>| match length {
        None => Ok(None),
        Some(length) => from_duration(length)
            .map(|length| Some(length.as_secs()))
            .ok_or_else(|| error::missing_field(name)),
    };
    Ok(Narrowing {
        uses,
        max_duration_s: seconds("max_duration", max_duration)?,
        start_within_s: seconds("start_within", start_within)?,
        without_scopes: requests::all("without_scopes", &without_scopes)?,
        without_tools: requests::all("without_tools", &without_tools)?,
    })
}

/// From 1; 0 for none.
pub(super) fn level(level: Option<usize>) -> u32 {
    level.map_or(0, |level| u32::try_from(level + 1).unwrap_or(u32::MAX))
}

pub(super) fn approval(approval: &Approval) -> proto::Approval {
    proto::Approval {
        approver: approval.approver().to_string(),
        at: Some(timestamp(approval.at())),
        digest: approval.digest().to_string(),
        level: level(Some(approval.level())),
        groups: approval.groups().iter().map(ToString::to_string).collect(),
        mfa: approval.mfa().map(|shown| shown.told()).unwrap_or_default(),
        client: approval.client().unwrap_or_default().to_owned(),
    }
}

pub(super) fn objection(objection: &Objection) -> proto::Objection {
    let Objection { decider, reason, digest: _, at } = objection;
    proto::Objection {
        approver: decider.approver.to_string(),
        at: Some(timestamp(*at)),
        reason: reason.to_string(),
    }
}

pub(super) fn narrowed(narrowed: &Narrowed) -> proto::Narrowed {
    let Narrowed { by, from, to, at, approvals: _ } = narrowed;
    proto::Narrowed {
        approver: by.to_string(),
        at: Some(timestamp(*at)),
        from: from.to_string(),
        to: to.to_string(),
    }
}

pub(super) fn eligibility(you: &Eligibility) -> proto::Eligibility {
    let Eligibility { groups, refused } = you;
    let (code, detail) = match refused {
        Some(denial) => (denial.code().as_str().to_owned(), denial.detail().to_owned()),
        None => (String::new(), String::new()),
    };
    let groups = groups.iter().map(ToString::to_string).collect();
    proto::Eligibility { may_approve: refused.is_none(), groups, code, detail }
}

pub(super) fn irrevocable(irrevocable: &Irrevocable) -> proto::Irrevocable {
    let Irrevocable { audiences, until } = irrevocable;
    proto::Irrevocable { audiences: audiences.clone(), until: until.map(timestamp) }
}

pub(super) fn held(held: &Held) -> proto::Held {
    let Held { intents, audiences, scopes, resources, tools } = held;
    proto::Held {
        intents: intents.iter().map(ToString::to_string).collect(),
        audiences: audiences.iter().cloned().collect(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        resources: resources.iter().cloned().collect(),
        tools: tools.iter().map(ToString::to_string).collect(),
    }
}
