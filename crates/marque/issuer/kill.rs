//! The kill switch of one trust domain: one call stops issuance and use, and everything that watches learns it.

use std::sync::Arc;

use marque_intent::kill::{KillScope, KillState, NewKill};
use marque_intent::{IntentStore as _, IntentStoreError, Reason};
use marque_spiffe::Clock;
use marque_store::Store;

use super::store::kill_watch;

/// Stops agents, playbooks or the whole trust domain.
#[derive(Debug)]
pub struct KillSwitch {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl KillSwitch {
    pub(super) fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Kills `scope` for `reason`, in the name of `actor`; the state after it.
    ///
    /// # Errors
    /// When neither the journal nor the store can hold the kill.
    pub async fn kill(
        &self,
        scope: KillScope,
        reason: Reason,
        actor: String,
    ) -> Result<Arc<KillState>, IntentStoreError> {
        tracing::warn!(?scope, %actor, "kill switch");
        let state = self.store.kill(NewKill { scope, reason, actor }, self.clock.now()).await?;
        Ok(Arc::new(state))
    }

    /// What is killed now.
    #[must_use]
    pub fn state(&self) -> Arc<KillState> {
        kill_watch(&self.store).borrow().clone()
    }
}
