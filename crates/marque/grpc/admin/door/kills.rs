//! The kill switch, as operators reach it.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::Reason;
use marque_intent::kill::{KillMode, KillScope, KillState};

use super::{AdminError, Operator};
use crate::issuer::kill::{DrillReport, Impact, LiftAsk};

/// A kill as somebody orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKillOrder {
    /// Whom.
    pub scope: KillScope,
    /// How far.
    pub mode: KillMode,
    /// Why.
    pub reason: Reason,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The kill switch.
pub trait KillDoor {
    /// Stops issuance and use at once.
    fn kill(
        &self,
        order: NewKillOrder,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>>;

    /// What is killed now.
    fn kill_state(&self) -> Arc<KillState>;

    /// Whether something is in force here of which no other replica can hear yet.
    fn kills_kept_here_only(&self) -> bool;

    /// Whom a kill would hit; changes nothing.
    fn kill_impact(
        &self,
        scope: KillScope,
        mode: KillMode,
    ) -> BoxFuture<'_, Result<Impact, AdminError>>;

    /// Measures how fast a kill spreads, with one that hits nobody.
    fn kill_drill(&self, operator: Operator) -> BoxFuture<'_, Result<DrillReport, AdminError>>;

    /// Asks for a kill, by its id or its epoch, to be lifted, or relaxed to a mode that stops less.
    fn ask_lift(
        &self,
        kill: String,
        to: Option<KillMode>,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<LiftAsk, AdminError>>;

    /// Wishes to lift a kill that another person may confirm.
    fn lift_asks(&self) -> BoxFuture<'_, Result<Vec<LiftAsk>, AdminError>>;

    /// Confirms another person's wish.
    fn confirm_lift(
        &self,
        ask: String,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>>;
}
