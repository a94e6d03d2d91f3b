//! Approving at the admin socket: what an operator is shown, what they say, and how long that took.
//!
//! Absent on purpose: the rules of a plan, which are `intent`'s.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use marque_intent::{
    Approval, DecisionRecord, DecisionSummary, Digest, Intent, IntentId, Narrowed, Narrowing,
    Objection,
};
use tonic::{Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::time::{from_duration, timestamp};
use super::door::{ApprovalWord, Operator};
use super::{AdminService, requests};
use crate::error;

/// How many showings are remembered.
const MAX_SHOWN: usize = 4096;

/// When somebody was shown a grant last, so that it is known how long they looked. Lost with the process.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<BTreeMap<(String, IntentId, Digest), Timestamp>>);

impl Shown {
    fn remember(&self, who: &Operator, intent: &Intent, now: Timestamp) {
        let Ok(mut shown) = self.0.lock() else { return };
        if shown.len() >= MAX_SHOWN
            && let Some(oldest) =
                shown.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
        {
            shown.remove(&oldest);
        }
        // The first look counts: looking again does not make a decision hasty.
        let key = (who.to_string(), intent.id().clone(), *intent.grant().digest());
        shown.entry(key).or_insert(now);
    }

    fn took(&self, who: &Operator, id: &IntentId, digest: Digest, now: Timestamp) -> Option<u64> {
        let key = (who.to_string(), id.clone(), digest);
        let at = self.0.lock().ok()?.remove(&key)?;
        u64::try_from(now.duration_since(at).as_millis()).ok()
    }
}

impl AdminService {
    pub(super) async fn shown_intent(
        &self,
        request: Request<proto::GetIntentRequest>,
    ) -> Result<Response<proto::GetIntentResponse>, Status> {
        let (operator, id) = self.operator_for("GetIntent", &request, |body| &body.id).await?;
        let intent = self.door.intent(id).await.map_err(error::admin)?;
        let now = self.door.now();
        let mut message = self.intent(&intent);
        if let Some(level) = intent.open_level() {
            self.shown.remember(&operator, &intent, now);
            let plan = intent.grant().approval.as_ref();
            let refused =
                plan.and_then(|plan| plan.admits(level, &operator.decider(now), now).err());
            message.you = Some(proto::Eligibility {
                may_approve: refused.is_none(),
                groups: operator.groups().iter().map(ToString::to_string).collect(),
                code: refused
                    .as_ref()
                    .map(|why| why.code().as_str().to_owned())
                    .unwrap_or_default(),
                detail: refused.map(|why| why.detail().to_owned()).unwrap_or_default(),
            });
        }
        Ok(Response::new(proto::GetIntentResponse { intent: Some(message) }))
    }

    pub(super) async fn approved(
        &self,
        request: Request<proto::ApproveIntentRequest>,
    ) -> Result<Response<proto::ApproveIntentResponse>, Status> {
        let (operator, id) = self.operator_for("ApproveIntent", &request, |body| &body.id).await?;
        let proto::ApproveIntentRequest { id: _, grant_digest, less } = request.into_inner();
        let digest = requests::digest(&grant_digest)?;
        let less = less.map(narrowing).transpose()?;
        let took_ms = self.shown.took(&operator, &id, digest, self.door.now());
        let word = ApprovalWord { digest, less, took_ms };
        let intent = self.door.approve(operator, id, word).await.map_err(error::admin)?;
        counted("approve", took_ms);
        Ok(Response::new(proto::ApproveIntentResponse { intent: Some(self.intent(&intent)) }))
    }

    pub(super) async fn denied(
        &self,
        request: Request<proto::DenyIntentRequest>,
    ) -> Result<Response<proto::DenyIntentResponse>, Status> {
        let (operator, id) = self.operator_for("DenyIntent", &request, |body| &body.id).await?;
        let proto::DenyIntentRequest { id: _, reason } = request.into_inner();
        let intent =
            self.door.deny(operator, id, requests::reason(&reason)?).await.map_err(error::admin)?;
        counted("deny", None);
        Ok(Response::new(proto::DenyIntentResponse { intent: Some(self.intent(&intent)) }))
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

/// Counts a decision, and how long it took where that is known.
fn counted(decision: &'static str, took_ms: Option<u64>) {
    metrics::counter!("marque_approval_decisions_total", "decision" => decision).increment(1);
    if let Some(took_ms) = took_ms {
        let seconds = std::time::Duration::from_millis(took_ms).as_secs_f64();
        metrics::histogram!("marque_approval_decision_seconds").record(seconds);
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
