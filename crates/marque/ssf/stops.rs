//! Which stop a leaf or a kill tells of, and what it stops: the side of shared signals that knows the kill switch.

use jiff::Timestamp;
use marque_audit::Event;
use marque_exchange::{TokenRecord, is_live};
use marque_intent::kill::{Kill, KillMode, KillScope, KillState, NewKill, StopPoint};
use marque_intent::{Intent, Reason, TextTooLong};
use serde_json::Value;

/// A kill by itself, without all others that stand.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) scope: KillScope,
    pub(super) mode: KillMode,
    pub(super) actor: String,
    pub(super) at: Timestamp,
    /// What is stopped where nothing is.
    none: KillState,
    /// What would be stopped if there were no other.
    alone: KillState,
}

impl Stop {
    /// The kill that a leaf is about. `state` knows the agents.
    ///
    /// # Errors
    /// The leaf does not say it in the words that kills are written in.
    pub(super) fn of_event(event: &Event, state: &KillState) -> Result<Self, serde_json::Error> {
        let member = |name: &str| event.detail.get(name).cloned();
        // Leaves from before there were modes have none.
        let mode = member("mode").map(serde_json::from_value).transpose()?;
        let kill = Kill {
            scope: serde_json::from_value(member("kill").unwrap_or(Value::Null))?,
            mode: mode.unwrap_or_default(),
            reason: serde_json::from_value(member("reason").unwrap_or(Value::Null))?,
            actor: event.actor.clone().unwrap_or_default(),
            expires_at: None,
            hits: Default::default(),
            at: event.time,
            epoch: event.epoch.unwrap_or_default(),
        };
        Ok(Self::of_kill(kill, state))
    }

    /// A kill that stands.
    pub(super) fn of_kill(kill: Kill, state: &KillState) -> Self {
        let (scope, mode) = (kill.scope.clone(), kill.mode);
        let (actor, at) = (kill.actor.clone(), kill.at);
        let mut none = state.clone();
        none.kills.clear();
        let mut alone = none.clone();
        alone.kills.push(kill);
        Self { scope, mode, actor, at, none, alone }
    }

    /// Whether this ends a token that would be live without any kill.
    pub(super) fn ends(&self, token: &TokenRecord, intent: &Intent) -> bool {
        is_live(token, intent, &self.none, self.at).is_ok()
            && is_live(token, intent, &self.alone, self.at).is_err()
    }
}

/// The order that somebody's word comes to.
///
/// # Errors
/// The reason is too long.
pub(super) fn order(scope: KillScope, actor: String, reason: &str) -> Result<NewKill, TextTooLong> {
    let (mode, reason) = (KillMode::default(), Reason::new(reason)?);
    Ok(NewKill { scope, mode, reason, actor, expires_at: None, hits: Default::default() })
}

/// Whether all of it is stopped already, until somebody lifts that.
pub(super) fn is_stopped(scope: &KillScope, state: &KillState) -> bool {
    state.kills.iter().any(|kill| {
        kill.scope == *scope
            && kill.expires_at.is_none()
            && kill.mode.stops(StopPoint::Issue)
            && kill.mode.stops(StopPoint::Use)
    })
}
