//! Intents by the domain's rules, in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_intent::{
    Approval, DecisionRecord, DenialCode, EndReason, Holding, Intent, IntentChange, IntentFilter,
    IntentId, OpenBy, OpenCount, PostureSignal, PostureState, Reason,
};
use marque_spiffe::Clock;

use super::super::super::door::{AdminError, IntentDoor, NewPosture, Operator};
use super::FakeDoor;
use crate::approvers::{Told, Word};
use crate::clock::SystemClock;

impl IntentDoor for FakeDoor {
    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, AdminError>> {
        Box::pin(async move {
            let intents = self.intents.lock().unwrap();
            let fits = |intent: &&Intent| filter.state.is_none_or(|state| state == intent.state());
            Ok(intents.iter().filter(fits).take(filter.effective_limit()).cloned().collect())
        })
    }

    fn intent(&self, id: IntentId) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(async move { self.change(&id, &IntentChange::Expire) })
    }

    fn look_at(
        &self,
        _operator: Operator,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Told, AdminError>> {
        Box::pin(async move { self.change(&id, &IntentChange::Expire).map(told) })
    }

    fn decide(
        &self,
        operator: Operator,
        id: IntentId,
        word: Word,
        _key: Option<String>,
    ) -> BoxFuture<'_, Result<Told, AdminError>> {
        let change = match word {
            Word::Approve { digest, less } => {
                let approval = Approval::new(operator.approver(), digest, SystemClock.now());
                match less {
                    Some(less) => IntentChange::ApproveLess { approval, less },
                    None => IntentChange::Approve { approval },
                }
            }
            Word::Deny { digest: _, reason } => {
                IntentChange::Deny { decider: operator.approver().into(), reason }
            }
            Word::Revoke { reason } => IntentChange::Revoke { actor: operator.to_string(), reason },
        };
        Box::pin(async move { self.change(&id, &change).map(told) })
    }

    fn decisions(&self) -> BoxFuture<'_, Result<Vec<(String, DecisionRecord)>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn open_counts(&self, by: OpenBy) -> BoxFuture<'_, Result<Vec<OpenCount>, AdminError>> {
        let intents = self.intents.lock().unwrap();
        let held = |intent: &Intent| intent.holdings().into_iter().find(|one| one.by == by);
        let counts = intents
            .iter()
            .filter_map(held)
            .map(|holding| OpenCount { name: holding.name, grants: 1 })
            .collect();
        Box::pin(async move { Ok(counts) })
    }

    fn revoke_held(
        &self,
        operator: Operator,
        holding: Holding,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, AdminError>> {
        let intents = self.intents.lock().unwrap().clone();
        let held = intents.iter().filter(|intent| intent.holdings().contains(&holding));
        let ids: Vec<IntentId> = held.map(|intent| intent.id().clone()).collect();
        Box::pin(async move {
            for id in &ids {
                let change = IntentChange::End {
                    why: EndReason::Operator,
                    code: DenialCode::ApprovalDenied,
                    by: operator.to_string(),
                    reason: Some(reason.clone()),
                };
                self.change(id, &change)?;
            }
            Ok(ids)
        })
    }

    fn review(
        &self,
        operator: Operator,
        id: IntentId,
        finding: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        let change = IntentChange::Review { by: operator.approver().into(), finding };
        Box::pin(std::future::ready(self.change(&id, &change)))
    }

    fn erase(
        &self,
        operator: Operator,
        id: IntentId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        let change = IntentChange::Erase { actor: operator.to_string(), reason };
        Box::pin(std::future::ready(self.change(&id, &change)))
    }

    fn payloads(
        &self,
        _operator: Operator,
        _id: IntentId,
    ) -> BoxFuture<'_, Result<Vec<(&'static str, String)>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn set_posture(
        &self,
        order: NewPosture,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        let NewPosture { scope, posture, reason, expires_at } = order;
        let (actor, at) = (operator.to_string(), SystemClock.now());
        let signal = PostureSignal { scope, posture, reason, actor, at, expires_at };
        let state = PostureState::default().after(signal);
        Box::pin(std::future::ready(Ok(Arc::new(state))))
    }

    fn postures(&self) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        Box::pin(std::future::ready(Ok(Arc::default())))
    }
}

fn told(intent: Intent) -> Told {
    Told { intent, owner: None, you: None, held: None, irrevocable: None }
}
