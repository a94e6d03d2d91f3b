//! What approvers are shown of intents and kills beside the admin socket, in the words of the admin API.

use super::super::client::CallError;
use super::messages;
use super::view::{IntentView, KillStateView, LiftAskView};
use crate::approvers::{Standing, Told};
use crate::issuer::kill::LiftAsk;

/// An intent as an approver has to see it.
///
/// # Errors
/// It does not read back.
pub(crate) fn review(told: &Told) -> Result<IntentView, CallError> {
    messages::told(told).try_into()
}

/// The kill switch with all that an operator is told of it.
///
/// # Errors
/// It does not read back.
pub(crate) fn kill_review(standing: &Standing) -> Result<KillStateView, CallError> {
    let Standing { state, kept_here_only, asks } = standing;
    let view: KillStateView = messages::kill_state_of(state, *kept_here_only).try_into()?;
    Ok(KillStateView { asks: asks.iter().map(lift_review).collect(), ..view })
}

/// Somebody's wish to lift a kill, as an operator is told of it.
pub(crate) fn lift_review(ask: &LiftAsk) -> LiftAskView {
    messages::lift_ask(ask).into()
}
