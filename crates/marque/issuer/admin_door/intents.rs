//! Intents, the decisions about them and the posture that is decided by, as operators reach them.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_intent::{
    DecisionRecord, Denial, DenialCode, EndReason, Holding, Intent, IntentChange, IntentFilter,
    IntentId, IntentStore, OpenBy, OpenCount, OpenIntents as _, PostureSignal, PostureState,
    Reason,
};

use super::super::Issuer;
use crate::approvers::{Told, Word};
use crate::grpc::admin::{AdminError, IntentDoor, NewPosture, Operator};

impl Issuer {
    async fn change(&self, id: IntentId, change: IntentChange) -> Result<Intent, AdminError> {
        let changed = self.store.change(id.clone(), change, self.clock.now()).await;
        changed.map_err(|error| AdminError::of_change(&id, error))
    }
}

impl IntentDoor for Issuer {
    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, AdminError>> {
        Box::pin(async move { Ok(self.store.list(filter).await?) })
    }

    fn intent(&self, id: IntentId) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(async move {
            let found = self.store.find(&id).await?;
            let intent =
                found.ok_or_else(|| AdminError::NotFound { what: "intent", id: id.to_string() })?;
            match intent.expire_if_due(self.clock.now()) {
                Some(_) => self.change(id, IntentChange::Expire).await,
                None => Ok(intent),
            }
        })
    }

    fn look_at(&self, operator: Operator, id: IntentId) -> BoxFuture<'_, Result<Told, AdminError>> {
        let decider = operator.decider(self.clock.now());
        Box::pin(async move {
            let told = self.approval_desk.looked_at(&decider, &id).await;
            told.map_err(|error| AdminError::of_decision(&id, error))
        })
    }

    fn decide(
        &self,
        operator: Operator,
        id: IntentId,
        word: Word,
        key: Option<String>,
    ) -> BoxFuture<'_, Result<Told, AdminError>> {
        let decider = operator.decider(self.clock.now());
        Box::pin(async move {
            let told = self.approval_desk.decide(&decider, &id, word, key.as_deref()).await;
            told.map_err(|error| AdminError::of_decision(&id, error))
        })
    }

    fn decisions(&self) -> BoxFuture<'_, Result<Vec<(String, DecisionRecord)>, AdminError>> {
        Box::pin(async move {
            let decisions = self.store.approver_decisions(self.clock.now()).await;
            decisions.map_err(|error| AdminError::Unavailable(Box::new(error)))
        })
    }

    fn open_counts(&self, by: OpenBy) -> BoxFuture<'_, Result<Vec<OpenCount>, AdminError>> {
        Box::pin(async move { Ok(self.store.open_counts(by, self.clock.now()).await?) })
    }

    fn revoke_held(
        &self,
        operator: Operator,
        holding: Holding,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, AdminError>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            loop {
                let before = ended.len();
                for intent in self.store.held(holding.clone()).await? {
                    let change = IntentChange::End {
                        why: EndReason::Operator,
                        code: DenialCode::ApprovalDenied,
                        by: operator.to_string(),
                        reason: Some(reason.clone()),
                    };
                    match self.change(intent.id().clone(), change).await {
                        Ok(_) => ended.push(intent.id().clone()),
                        // It ended meanwhile, by itself or by somebody else.
                        Err(AdminError::Refused(_) | AdminError::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                // What was asked for meanwhile is found by another look.
                if ended.len() == before {
                    return Ok(ended);
                }
            }
        })
    }

    fn review(
        &self,
        operator: Operator,
        id: IntentId,
        finding: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(
            self.change(
                id,
                IntentChange::Review { by: operator.decider(self.clock.now()), finding },
            ),
        )
    }

    fn erase(
        &self,
        operator: Operator,
        id: IntentId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(async move {
            let actor = operator.to_string();
            let change = IntentChange::Erase { actor: actor.clone(), reason: reason.clone() };
            let intent = self.change(id, change).await?;
            let erased = self.intents.payloads.erase(intent.id(), &actor, reason.as_str()).await;
            erased.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            Ok(intent)
        })
    }

    fn payloads(
        &self,
        operator: Operator,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Vec<(&'static str, String)>, AdminError>> {
        Box::pin(async move {
            let read = self.intents.payloads.read(&id, &operator.to_string()).await;
            read.map_err(|error| AdminError::Unavailable(Box::new(error)))
        })
    }

    fn set_posture(
        &self,
        order: NewPosture,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        Box::pin(async move {
            let NewPosture { scope, posture, reason, expires_at } = order;
            let (actor, at) = (operator.to_string(), self.clock.now());
            if expires_at.is_some_and(|end| end <= at) {
                let denial =
                    Denial::new(DenialCode::InvalidRequest, "the signal has ended already");
                return Err(AdminError::Refused(denial));
            }
            let signal = PostureSignal { scope, posture, reason, actor, at, expires_at };
            let set = self.intents.postures.set(signal).await;
            set.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            self.postures().await
        })
    }

    fn postures(&self) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        Box::pin(async move {
            let state = self.intents.postures.now(self.clock.now()).await;
            state.map_err(|error| AdminError::Unavailable(Box::new(error)))
        })
    }
}
