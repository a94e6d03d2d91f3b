//! Intents, their refusals and the kill switch, as `marque-intent` wants them stored.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::Event;
use marque_intent::pace::{Asked, Family, Standing};
use marque_intent::{
    ChangeError, Denial, DenialFilter, DenialId, DenialRecord, IdempotencyKey, Intent,
    IntentChange, IntentFilter, IntentId, IntentStore, IntentStoreError, KillOrder, KillState,
    Preview, RefusedRequest, Release, Submitted,
};
use tokio::sync::watch;

use super::Store;
use super::pace::followed;
use crate::Failure;
use crate::transactions::{
    Answered, Change, LookUp, RecordDenial, ReleaseFamily, Submit, SubmitRefusal,
};

impl IntentStore for Store {
    fn submit(
        &self,
        intent: Intent,
        events: Vec<Event>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Submitted, IntentStoreError>> {
        async move {
            let pace = self.pace_of(&intent);
            let grant = Arc::clone(intent.shared_grant());
            let submit =
                Submit { intent, events, idempotency, pace, limits: self.approval_limits() };
            match self.queue.run(submit).await.map_err(intents)? {
                Ok((submitted, after)) => {
                    followed(after, &grant);
                    Ok(submitted)
                }
                Err(SubmitRefusal::IdempotencyConflict) => {
                    Err(IntentStoreError::IdempotencyConflict)
                }
                Err(SubmitRefusal::NoRunLeft) => Err(IntentStoreError::NoRunLeft),
                Err(SubmitRefusal::Killed(code)) => Err(IntentStoreError::Killed(code)),
                Err(SubmitRefusal::Refused(denial)) => Err(IntentStoreError::Refused(denial)),
            }
        }
        .boxed()
    }

    fn answered(
        &self,
        idempotency: IdempotencyKey,
        _now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Intent>, IntentStoreError>> {
        async move {
            match self.queue.run(LookUp { idempotency }).await.map_err(intents)? {
                Answered::Never => Ok(None),
                Answered::Before(intent) => Ok(Some(*intent)),
                Answered::Conflict => Err(IntentStoreError::IdempotencyConflict),
            }
        }
        .boxed()
    }

    fn record_denial(
        &self,
        refused: RefusedRequest,
    ) -> BoxFuture<'_, Result<Denial, IntentStoreError>> {
        let settings = self.pace_settings();
        async move { self.queue.run(RecordDenial { refused, settings }).await.map_err(intents) }
            .boxed()
    }

    fn pace(
        &self,
        asked: Asked,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Preview, IntentStoreError>> {
        async move { self.reader.pace(asked, now).await.map_err(intents) }.boxed()
    }

    fn denials(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, IntentStoreError>> {
        async move { self.reader.denials(filter).await.map_err(intents) }.boxed()
    }

    fn denial(
        &self,
        id: DenialId,
    ) -> BoxFuture<'_, Result<Option<DenialRecord>, IntentStoreError>> {
        async move { self.reader.denial(id).await.map_err(intents) }.boxed()
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, IntentStoreError>> {
        async move { self.reader.standings().await.map_err(intents) }.boxed()
    }

    fn release(&self, order: Release) -> BoxFuture<'_, Result<bool, IntentStoreError>> {
        async move { self.queue.run(ReleaseFamily { order }).await.map_err(intents) }.boxed()
    }

    fn find(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, IntentStoreError>> {
        let (id, read) = (id.clone(), self.reader.intent(id));
        async move {
            let found = self.shared.intents.unreadable().told(read.await).map_err(intents)?;
            self.shared.intents.unreadable().reads(&id);
            Ok(found)
        }
        .boxed()
    }

    fn list(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>> {
        async move { self.reader.intents(filter).await.map_err(intents) }.boxed()
    }

    fn change_once(
        &self,
        id: IntentId,
        change: IntentChange,
        idempotency: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Intent, ChangeError>> {
        async move {
            let stored = |failure| ChangeError::Store(intents(failure));
            let pace = self.pace_of_word(&id, &change).await.map_err(stored)?;
            let changed = self
                .queue
                .run(Change { id, change, idempotency, pace, now, limits: self.approval_limits() })
                .await;
            let (intent, after) = changed
                .map_err(stored)?
                .ok_or(ChangeError::NotFound)?
                .map_err(ChangeError::Refused)?;
            followed(after, intent.grant());
            Ok(intent)
        }
        .boxed()
    }

    fn order(
        &self,
        order: KillOrder,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<KillState, IntentStoreError>> {
        async move { self.throw_kill_switch(order, at).await.map_err(intents) }.boxed()
    }

    fn kill_state(&self) -> watch::Receiver<Arc<KillState>> {
        self.shared.kills.subscribe()
    }
}

fn intents(failure: Failure) -> IntentStoreError {
    IntentStoreError::Unavailable(Box::new(failure))
}
