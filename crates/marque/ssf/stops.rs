//! Which stop a leaf or a kill tells of, and what it stops: the side of shared signals that knows the kill switch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::Event;
use marque_exchange::{TokenRecord, is_live};
use marque_intent::kill::{Kill, KillMode, KillRecord, KillScope, KillState, NewKill, StopPoint};
use marque_intent::{Digest, Intent, Reason, TextTooLong};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

/// How many kills of one transmitter may stand.
const MOST_STANDING: usize = 1000;
/// How many kills one transmitter may order within [`RATE_WINDOW`].
const MOST_A_MINUTE: usize = 60;
const RATE_WINDOW: Duration = Duration::from_mins(1);

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
        let mut kill = Kill {
            scope: serde_json::from_value(member("kill").unwrap_or(Value::Null))?,
            mode: mode.unwrap_or_default(),
            reason: serde_json::from_value(member("reason").unwrap_or(Value::Null))?,
            actor: event.actor.clone().unwrap_or_default(),
            expires_at: None,
            origin: None,
            hits: Default::default(),
            at: event.time,
            epoch: event.epoch.unwrap_or_default(),
        };
        // Whom it hit is kept with the kill; the leaf does not have it.
        let kept = state.history().iter().find_map(|record| match record {
            KillRecord::Kill(kept) if kept.at == kill.at && kept.scope == kill.scope => Some(kept),
            KillRecord::Kill(_) | KillRecord::Lift(_) => None,
        });
        if let Some(kept) = kept {
            kill.hits = Arc::clone(&kept.hits);
        }
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

    /// Whether this may end a token of a grant. Where it goes by the grant alone that says it; where it goes by tokens or who
    /// holds them, they do.
    pub(super) fn may_end_of(&self, intent: &Intent) -> bool {
        match self.scope {
            KillScope::Grant(_)
            | KillScope::Task(_)
            | KillScope::Session(_)
            | KillScope::PlaybookVersion(_)
            | KillScope::Playbook(_)
            | KillScope::Tool(_)
            | KillScope::Tenant(_) => {
                self.alone.stops_grant(intent.grant(), StopPoint::Use).is_some()
            }
            KillScope::Credential(_)
            | KillScope::Key(_)
            | KillScope::Agent(_)
            | KillScope::Build(_)
            | KillScope::Delegator(_)
            | KillScope::Sponsor(_)
            | KillScope::TrustDomain
            | KillScope::All => true,
        }
    }

    /// Whether this ends a token that would be live without any kill.
    pub(super) fn ends(&self, token: &TokenRecord, intent: &Intent) -> bool {
        is_live(token, intent, &self.none, self.at).is_ok()
            && is_live(token, intent, &self.alone, self.at).is_err()
    }
}

/// What the word of an issuer is known by, wherever it comes: its `iss` and its `jti` name one SET (RFC 8417 §2.2).
pub(super) fn origin(issuer: &str, jti: &str) -> Digest {
    let (issuer_bytes, jti_bytes) = (issuer.len(), jti.len());
    Digest::of(format!("set:{issuer_bytes}:{issuer}{jti_bytes}:{jti}").as_bytes())
}

/// The order that somebody's word comes to.
///
/// # Errors
/// The reason is too long.
pub(super) fn order(
    scope: KillScope,
    (actor, origin): (String, Option<Digest>),
    reason: &str,
) -> Result<NewKill, TextTooLong> {
    let (mode, reason) = (KillMode::default(), Reason::new(reason)?);
    let (expires_at, hits) = (None, Default::default());
    Ok(NewKill { scope, mode, reason, actor, expires_at, origin, hits })
}

/// Why a word stops nobody for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooManyStops {
    /// So many kills of one actor stand.
    #[error("{MOST_STANDING} kills of this transmitter stand: lift some")]
    Standing,
    /// So many were ordered of late.
    #[error("this transmitter stopped {MOST_A_MINUTE} within a minute")]
    Rate,
}

/// Whether one more kill of an actor is within its limits.
///
/// # Errors
/// The limit that is reached.
pub(super) fn admit(actor: &str, state: &KillState, now: Timestamp) -> Result<(), TooManyStops> {
    if state.kills.iter().filter(|kill| kill.actor == actor).count() >= MOST_STANDING {
        return Err(TooManyStops::Standing);
    }
    let is_of_late = |record: &&KillRecord| match record {
        KillRecord::Kill(kill) => kill.actor == actor && kill.at + RATE_WINDOW > now,
        KillRecord::Lift(_) => false,
    };
    if state.history().iter().filter(is_of_late).count() >= MOST_A_MINUTE {
        return Err(TooManyStops::Rate);
    }
    Ok(())
}

/// Who is being stopped: of two who would stop the same at the same time, one does, and the other one hears of it.
#[derive(Debug, Default)]
pub(super) struct Stopping(Mutex<BTreeMap<KillScope, Arc<tokio::sync::Mutex<()>>>>);

impl Stopping {
    /// Waits until nobody else stops this; nobody else does until what is given is dropped.
    pub(super) async fn alone(&self, scope: &KillScope) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(scope.clone()).or_default())
        };
        turn.lock_owned().await
    }
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

#[cfg(test)]
mod tests {
    use marque_testkit::START;

    use super::*;

    const ACTOR: &str = "ssf:idp";

    fn stopped(state: &mut KillState, times: usize, at: Timestamp) {
        for _ in 0..times {
            let order = order(KillScope::TrustDomain, (ACTOR.to_owned(), None), "a test").unwrap();
            *state = state.after(order, at);
        }
    }

    #[test]
    fn a_transmitter_stops_so_many_a_minute_and_so_many_in_all() {
        let mut state = KillState::default();
        stopped(&mut state, MOST_A_MINUTE - 1, START);
        assert_eq!(admit(ACTOR, &state, START), Ok(()));
        stopped(&mut state, 1, START);
        assert_eq!(admit(ACTOR, &state, START), Err(TooManyStops::Rate));
        assert_eq!(admit("ssf:other", &state, START), Ok(()));
        let later = START + RATE_WINDOW;
        assert_eq!(admit(ACTOR, &state, later), Ok(()));
        // Lifting makes room for more to stand, and not for more within a minute.
        let mut lifted = state.clone();
        lifted.kills.clear();
        assert_eq!(admit(ACTOR, &lifted, START), Err(TooManyStops::Rate));
        if let Some(kill) = state.kills.first().cloned() {
            state.kills = vec![kill; MOST_STANDING];
        }
        assert_eq!(admit(ACTOR, &state, later), Err(TooManyStops::Standing));
    }
}
