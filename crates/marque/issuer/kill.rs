//! The kill switch of one trust domain: one call stops issuance and use, and everything that watches learns it.

use std::sync::Arc;

use marque_intent::kill::{Agents, KillState, NewKill};
use marque_intent::{Digest, IntentStore as _, IntentStoreError};
use marque_registry::{Entry, Registry};
use marque_spiffe::{Clock, SpiffeId};
use marque_store::Store;

use super::store::kill_watch;
use crate::grpc::admin::NewKillOrder;

/// Stops agents, grants, playbooks, people or the whole trust domain.
#[derive(Debug)]
pub struct KillSwitch {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl KillSwitch {
    pub(super) fn new(store: Arc<Store>, registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        store.know_agents(Arc::new(Registered(registry)));
        Self { store, clock }
    }

    /// Throws the switch as `order` says, in the name of `actor`; the state after it.
    ///
    /// # Errors
    /// When neither the journal nor the store can hold the kill.
    pub async fn kill(
        &self,
        order: NewKillOrder,
        actor: String,
    ) -> Result<Arc<KillState>, IntentStoreError> {
        let NewKillOrder { scope, mode, reason, expires_at } = order;
        tracing::warn!(%scope, %mode, %actor, "kill switch");
        let kill = NewKill { scope, mode, reason, actor, expires_at };
        Ok(Arc::new(self.store.kill(kill, self.clock.now()).await?))
    }

    /// What is killed now.
    #[must_use]
    pub fn state(&self) -> Arc<KillState> {
        kill_watch(&self.store).borrow().clone()
    }
}

/// What the registration entries say of agents.
#[derive(Debug)]
struct Registered(Arc<Registry>);

impl Registered {
    fn entry(&self, agent: &SpiffeId) -> Option<Arc<Entry>> {
        self.0.snapshot().entry_by_spiffe_id(agent).cloned()
    }
}

impl Agents for Registered {
    fn has_sponsor(&self, agent: &SpiffeId, sponsor: &str) -> bool {
        self.entry(agent).is_some_and(|entry| entry.owner() == sponsor)
    }

    fn is_of_build(&self, agent: &SpiffeId, build: &Digest) -> bool {
        let digits = hex::encode(build.as_bytes());
        let pins = |entry: Arc<Entry>| {
            entry.selectors().iter().any(|selector| selector.value().contains(&digits))
        };
        self.entry(agent).is_some_and(pins)
    }
}
