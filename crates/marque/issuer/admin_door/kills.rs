//! The kill switch, as operators reach it.

use std::sync::Arc;

use futures::future::BoxFuture;
use marque_intent::Reason;
use marque_intent::kill::{KillMode, KillScope, KillState};

use super::super::Issuer;
use super::super::kill::{DrillReport, Impact, LiftAsk};
use crate::grpc::admin::{AdminError, KillDoor, NewKillOrder, Operator};

impl KillDoor for Issuer {
    fn kill(
        &self,
        order: NewKillOrder,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async move { Ok(self.kill_switch.kill(order, operator.to_string()).await?) })
    }

    fn kill_state(&self) -> Arc<KillState> {
        self.kill_switch.state()
    }

    fn kills_kept_here_only(&self) -> bool {
        self.kill_switch.kept_here_only()
    }

    fn kill_impact(
        &self,
        scope: KillScope,
        mode: KillMode,
    ) -> BoxFuture<'_, Result<Impact, AdminError>> {
        Box::pin(
            async move { Ok(self.kill_switch.impact(scope, mode, self.workload.get()).await?) },
        )
    }

    fn kill_drill(&self, operator: Operator) -> BoxFuture<'_, Result<DrillReport, AdminError>> {
        Box::pin(async move {
            let streams = self.minting.follow_state();
            Ok(self.kill_switch.drill(operator.to_string(), streams, &self.tokens).await?)
        })
    }

    fn ask_lift(
        &self,
        kill: String,
        to: Option<KillMode>,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<LiftAsk, AdminError>> {
        Box::pin(async move {
            let who = operator.decider(self.clock.now());
            Ok(self.kill_switch.ask_lift(&kill, to, reason, &who).await?)
        })
    }

    fn lift_asks(&self) -> BoxFuture<'_, Result<Vec<LiftAsk>, AdminError>> {
        Box::pin(async move { Ok(self.kill_switch.lift_asks().await?) })
    }

    fn confirm_lift(
        &self,
        ask: String,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async move {
            let who = operator.decider(self.clock.now());
            Ok(self.kill_switch.confirm_lift(&ask, &who).await?)
        })
    }
}
