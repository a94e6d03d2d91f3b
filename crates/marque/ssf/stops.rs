//! Which stop a leaf or a kill tells of, and what it stops: the side of shared signals that knows the kill switch.

use jiff::Timestamp;
use marque_audit::Event;
use marque_exchange::{TokenRecord, is_live};
use marque_intent::kill::{Kill, KillScope, KillState, NewKill};
use marque_intent::{Intent, Reason, TextTooLong};

/// A kill by itself, without all others that stand.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) scope: KillScope,
    pub(super) actor: String,
    pub(super) at: Timestamp,
    /// What would be stopped if there were no other.
    alone: KillState,
}

impl Stop {
    /// The kill that a leaf is about.
    ///
    /// # Errors
    /// The leaf does not say it in the words that kills are written in.
    pub(super) fn of_event(event: &Event) -> Result<Self, serde_json::Error> {
        let member = |name: &str| event.detail.get(name).cloned().unwrap_or_default();
        let order = NewKill {
            scope: serde_json::from_value(member("kill"))?,
            reason: serde_json::from_value(member("reason"))?,
            actor: event.actor.clone().unwrap_or_default(),
        };
        Ok(Self::new(order, event.time))
    }

    /// A kill that stands.
    pub(super) fn of_kill(kill: &Kill) -> Self {
        let Kill { scope, reason, actor, at, epoch: _ } = kill.clone();
        Self::new(NewKill { scope, reason, actor }, at)
    }

    fn new(order: NewKill, at: Timestamp) -> Self {
        let (scope, actor) = (order.scope.clone(), order.actor.clone());
        Self { scope, actor, at, alone: KillState::default().after(order, at) }
    }

    /// Whether this ends a token that would be live without any kill.
    pub(super) fn ends(&self, token: &TokenRecord, intent: &Intent) -> bool {
        is_live(token, intent, &KillState::default(), self.at).is_ok()
            && is_live(token, intent, &self.alone, self.at).is_err()
    }
}

/// The order that somebody's word comes to.
///
/// # Errors
/// The reason is too long.
pub(super) fn order(scope: KillScope, actor: String, reason: &str) -> Result<NewKill, TextTooLong> {
    Ok(NewKill { scope, reason: Reason::new(reason)?, actor })
}
