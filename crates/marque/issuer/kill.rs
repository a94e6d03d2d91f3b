//! The kill switch of one trust domain: one call stops issuance and use, and everything that watches learns it.
//!
//! A kill takes effect on one person's word; it is lifted on two people's (`lift`), or ends by the clock. Absent: how a
//! kill is kept and travels, which is the store's.

mod drill;
mod error;
mod impact;
mod lift;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_intent::kill::{
    Agents, Kill, KillMode, KillOrder, KillRecord, KillScope, KillState, NewKill, NewLift,
};
use marque_intent::{DenialCode, Digest, IntentStore as _, Reason, StopPoint};
use marque_registry::{Entry, Registry};
use marque_spiffe::{Clock, SpiffeId};
use marque_store::Store;
use tokio_util::sync::CancellationToken;

pub use self::drill::{DrillReport, Heard};
pub use self::error::KillError;
pub use self::impact::{Impact, Named};
pub use self::lift::{LIFT_ASK_LASTS, LiftAsk};

use super::store::kill_watch;
use crate::grpc::admin::NewKillOrder;

/// Who the log says lifted a kill whose own end came.
const CLOCK: &str = "clock";
/// How soon the end of a kill is tried again that could not be kept.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Stops agents, grants, playbooks, people or the whole trust domain.
#[derive(Debug)]
pub struct KillSwitch {
    store: Arc<Store>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

impl KillSwitch {
    pub(super) fn new(store: Arc<Store>, registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        store.know_agents(Arc::new(Registered(Arc::clone(&registry))));
        Self { store, registry, clock }
    }

    /// Throws the switch as `order` says, in the name of `actor`; the state after it.
    ///
    /// # Errors
    /// Its end is not in the future, its mode stops nothing of its scope, or neither the journal nor the store can hold it; it
    /// is in force all the same then.
    pub async fn kill(
        &self,
        order: NewKillOrder,
        actor: String,
    ) -> Result<Arc<KillState>, KillError> {
        let NewKillOrder { scope, mode, reason, expires_at } = order;
        let now = self.clock.now();
        if let Some(end) = expires_at.filter(|end| *end <= now) {
            return Err(KillError::EndsBefore(end));
        }
        has_effect(&scope, mode)?;
        tracing::warn!(%scope, %mode, %actor, "kill switch");
        let kill = NewKill {
            scope,
            mode,
            reason,
            actor,
            expires_at,
            origin: None,
            hits: Default::default(),
        };
        self.order(KillOrder::Kill(kill), now).await
    }

    /// An agent's own word to be stopped: it stops this SPIFFE ID and nothing else. An agent that is stopped already by its
    /// id is told so, and nothing is added.
    ///
    /// # Errors
    /// As for [`Self::kill`].
    pub async fn stop_self(&self, agent: &SpiffeId, reason: Reason) -> Result<Kill, KillError> {
        let stands = |state: &KillState| {
            let own = |kill: &&Kill| {
                let whole = matches!(kill.mode, KillMode::Stop | KillMode::StopAndRevokeUpstream);
                whole && kill.expires_at.is_none() && kill.scope == KillScope::Agent(agent.clone())
            };
            state.kills.iter().find(own).cloned()
        };
        if let Some(kill) = stands(&self.state()) {
            // What would not outlive the process is no answer: it is tried again, as the very order that it was.
            if !self.store.keeps(&kill) {
                let record = KillRecord::Kill(kill.clone());
                self.order(record.order(), record.at()).await?;
            }
            return Ok(kill);
        }
        let order = NewKillOrder {
            scope: KillScope::Agent(agent.clone()),
            mode: KillMode::Stop,
            reason,
            expires_at: None,
        };
        let state = self.kill(order, agent.to_string()).await?;
        stands(&state).ok_or(KillError::Raced)
    }

    /// What is killed now.
    #[must_use]
    pub fn state(&self) -> Arc<KillState> {
        kill_watch(&self.store).borrow().clone()
    }

    /// Whether something is in force here of which no other replica can hear yet: the database has not taken it.
    #[must_use]
    pub fn kept_here_only(&self) -> bool {
        self.store.keeps_kills_here_only()
    }

    /// Why an agent's use of the doors is stopped, if it is.
    #[must_use]
    pub fn stops(&self, agent: &SpiffeId) -> Option<DenialCode> {
        self.state().stops_agent(agent, StopPoint::Use)
    }

    async fn order(&self, order: KillOrder, at: Timestamp) -> Result<Arc<KillState>, KillError> {
        Ok(Arc::new(self.store.order(order, at).await.map_err(KillError::store)?))
    }

    /// Ends the kills whose own end comes, until `stop`. Every replica does; what they order is one and the same.
    pub(super) async fn end_by_the_clock(self: Arc<Self>, stop: CancellationToken) {
        let mut kills = kill_watch(&self.store);
        loop {
            let now = self.clock.now();
            let failed = self.end_due(now).await;
            let state = kills.borrow_and_update().clone();
            let ends = state.kills.iter().filter_map(|kill| kill.expires_at);
            let next = match failed {
                true => now.checked_add(TRY_AGAIN).ok(),
                false => ends.min(),
            };
            let wake = async {
                match next {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake => {}
                changed = kills.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Ends what is due; whether some of it could not be kept.
    async fn end_due(&self, now: Timestamp) -> bool {
        let mut failed = false;
        for kill in &self.state().kills {
            let Some(end) = kill.expires_at.filter(|end| *end <= now) else { continue };
            match self.order(ended(kill), end).await {
                Ok(_) => tracing::info!(kill = %kill.id(), scope = %kill.scope, "a kill ended"),
                Err(error) => {
                    failed = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the end of a kill could not be kept");
                }
            }
        }
        failed
    }
}

/// Whether a kill of this scope stops anything in this mode.
fn has_effect(scope: &KillScope, mode: KillMode) -> Result<(), KillError> {
    match scope.can_be(mode) {
        true => Ok(()),
        false => Err(KillError::NoEffect { mode, scope: scope.kind() }),
    }
}

/// The order by which a kill ends by itself: the same at every replica.
fn ended(kill: &Kill) -> KillOrder {
    let reason = Reason::new("its own end has come").unwrap_or_else(|_short| kill.reason.clone());
    KillOrder::Lift(NewLift {
        lifts: kill.id(),
        to: None,
        reason,
        actor: CLOCK.to_owned(),
        confirmed_by: None,
    })
}

/// The kills among the records of a state, for whoever asks for one by its epoch.
fn by_epoch(state: &KillState, epoch: u64) -> Option<Kill> {
    state.history().iter().find_map(|record| match record {
        KillRecord::Kill(kill) if kill.epoch == epoch => Some(kill.clone()),
        KillRecord::Kill(_) | KillRecord::Lift(_) => None,
    })
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
        self.entry(agent).is_some_and(|entry| pins(&entry, build))
    }

    fn within(&self, scope: &KillScope) -> BTreeSet<SpiffeId> {
        let is_hit = |entry: &&Arc<Entry>| match scope {
            KillScope::Sponsor(sponsor) => entry.owner() == sponsor.as_str(),
            KillScope::Build(build) => pins(entry, build),
            _ => false,
        };
        let known = self.0.snapshot();
        known.entries().iter().filter(is_hit).map(|entry| entry.spiffe_id().clone()).collect()
    }
}

/// Whether the agent of an entry has to be of this build.
fn pins(entry: &Entry, build: &Digest) -> bool {
    let digits = hex::encode(build.as_bytes());
    entry.selectors().iter().any(|selector| selector.value().contains(&digits))
}

#[cfg(test)]
mod tests;
