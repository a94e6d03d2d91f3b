//! The kill switch.

use marque_intent::kill::KillMode;

use super::super::super::time::from_timestamp;
use super::super::door::NewKillOrder;
use super::super::messages;
use super::super::view::{IrrevocableView, KillStateView, KilledView, LiftAskView};
use super::{AdminClient, CallError, proto, timestamp};

impl AdminClient {
    /// Stops issuance and use at once.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn kill(&mut self, order: &NewKillOrder) -> Result<KilledView, CallError> {
        let NewKillOrder { scope, mode, reason, expires_at } = order;
        let request = proto::KillRequest {
            scope: Some(messages::kill_scope(scope)),
            reason: reason.to_string(),
            mode: mode.to_string(),
            expires_at: expires_at.map(timestamp),
        };
        let proto::KillResponse { state, irrevocable_at: audiences, irrevocable_until } =
            self.inner.kill(request).await?.into_inner();
        let state = state.ok_or(CallError::Malformed("state"))?.try_into()?;
        let until = irrevocable_until.and_then(from_timestamp);
        let irrevocable = Some(IrrevocableView { audiences, until });
        Ok(KilledView { state, irrevocable: irrevocable.filter(|of| !of.audiences.is_empty()) })
    }

    /// What is killed now.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn kill_state(&mut self) -> Result<KillStateView, CallError> {
        let answer = self.inner.get_kill_state(proto::GetKillStateRequest {}).await?.into_inner();
        let proto::GetKillStateResponse { state, asks, asks_unknown } = answer;
        let state: KillStateView = state.ok_or(CallError::Malformed("state"))?.try_into()?;
        let asks = asks.into_iter().map(Into::into).collect();
        Ok(KillStateView { asks, asks_unknown, ..state })
    }

    /// Whom a kill would hit, as a JSON object; changes nothing.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn preview_kill(&mut self, order: &NewKillOrder) -> Result<String, CallError> {
        let scope = Some(messages::kill_scope(&order.scope));
        let request = proto::PreviewKillRequest { scope, mode: order.mode.to_string() };
        let proto::PreviewKillResponse { impact_json } =
            self.inner.preview_kill(request).await?.into_inner();
        Ok(impact_json)
    }

    /// Measures how fast a kill spreads, as a JSON object.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn drill_kill(&mut self) -> Result<String, CallError> {
        let answer = self.inner.drill_kill(proto::DrillKillRequest {}).await?.into_inner();
        let proto::DrillKillResponse { report_json } = answer;
        Ok(report_json)
    }

    /// Asks for a kill, by its id or its epoch, to be lifted, or relaxed to a mode that stops less.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn ask_lift(
        &mut self,
        kill: String,
        to: Option<KillMode>,
        reason: String,
    ) -> Result<LiftAskView, CallError> {
        let mode = to.map(|mode| mode.to_string()).unwrap_or_default();
        let request = proto::AskLiftRequest { kill, mode, reason };
        let proto::AskLiftResponse { ask } = self.inner.ask_lift(request).await?.into_inner();
        Ok(ask.ok_or(CallError::Malformed("ask"))?.into())
    }

    /// Confirms another person's wish to lift a kill.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn confirm_lift(&mut self, ask: String) -> Result<KillStateView, CallError> {
        let request = proto::ConfirmLiftRequest { ask };
        let proto::ConfirmLiftResponse { state } =
            self.inner.confirm_lift(request).await?.into_inner();
        state.ok_or(CallError::Malformed("state"))?.try_into()
    }
}
