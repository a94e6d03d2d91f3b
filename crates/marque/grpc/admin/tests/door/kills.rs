//! Kills by the domain's rules, in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_intent::Reason;
use marque_intent::kill::{KillMode, KillScope, KillState, NewKill};
use marque_spiffe::Clock;

use super::super::super::door::{AdminError, KillDoor, NewKillOrder, Operator};
use super::FakeDoor;
use crate::clock::SystemClock;
use crate::issuer::kill::{DrillReport, Impact, KillError, LiftAsk};

impl KillDoor for FakeDoor {
    fn kill(
        &self,
        order: NewKillOrder,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async move {
            let mut kills = self.kills.lock().unwrap();
            let NewKillOrder { scope, mode, reason, expires_at } = order;
            let order = NewKill {
                scope,
                mode,
                reason,
                actor: operator.to_string(),
                expires_at,
                origin: None,
                hits: Default::default(),
            };
            *kills = Arc::new(kills.after(order, SystemClock.now()));
            Ok(Arc::clone(&kills))
        })
    }

    fn kill_state(&self) -> Arc<KillState> {
        Arc::clone(&self.kills.lock().unwrap())
    }

    fn kills_kept_here_only(&self) -> bool {
        false
    }

    fn kill_impact(
        &self,
        _scope: KillScope,
        _mode: KillMode,
    ) -> BoxFuture<'_, Result<Impact, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn kill_drill(&self, _operator: Operator) -> BoxFuture<'_, Result<DrillReport, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn ask_lift(
        &self,
        _kill: String,
        _to: Option<KillMode>,
        _reason: Reason,
        _operator: Operator,
    ) -> BoxFuture<'_, Result<LiftAsk, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn lift_asks(&self) -> BoxFuture<'_, Result<Vec<LiftAsk>, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn confirm_lift(
        &self,
        ask: String,
        _operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async { Err(KillError::NotAsked(ask).into()) })
    }
}
