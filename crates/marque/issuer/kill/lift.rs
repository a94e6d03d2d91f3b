//! To let somebody go on again takes two people: one asks, another one confirms what was asked.
//!
//! An ask ends after [`LIFT_ASK_LASTS`]; one that is made anew takes the place of the last. Both are on record. Absent: a
//! way around the second person, also for whoever threw the switch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_intent::kill::{KillId, KillMode, KillOrder, KillState, NewLift};
use marque_intent::{Decider, Digest, Principal, Reason};
use marque_store::{Kept, KeptChange};
use serde::{Deserialize, Serialize};

use super::{KillError, KillSwitch, by_epoch};

/// For how long an ask may be confirmed.
pub const LIFT_ASK_LASTS: Duration = Duration::from_secs(60 * 60);
/// The kind of the rows.
const KIND: &str = "kill-lift";
/// Keeps the digests of asks from being taken for others.
const TAG: &str = "marque/kill-lift/1";

/// Somebody's wish to lift a kill, which another person has to confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftAsk {
    /// Which kill.
    pub kill: KillId,
    /// What it is relaxed to; it ends where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<KillMode>,
    /// Why.
    pub reason: Reason,
    /// Who asked, for people to read.
    pub actor: String,
    /// Who asked, as one person whichever door they come through.
    pub person: String,
    /// What else that person is called, so that nobody confirms their own wish by another name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<Principal>,
    /// When.
    pub at: Timestamp,
    /// Until when it may be confirmed.
    pub until: Timestamp,
}

impl LiftAsk {
    /// Its id, `lift_` and 24 hexadecimal digits: whoever confirms it confirms exactly this.
    #[must_use]
    pub fn id(&self) -> String {
        match Digest::of_document(TAG, self) {
            Ok(digest) => {
                let digits = hex::encode(digest.as_bytes());
                format!("lift_{}", digits.get(..24).unwrap_or_default())
            }
            // It has no number that is none.
            Err(_no_form) => String::new(),
        }
    }
}

impl LiftAsk {
    /// Whether it is this person's own, whichever door they came through then and now.
    fn is_of(&self, who: &Decider) -> bool {
        let theirs = who.names();
        self.person == who.key()
            || self.names.iter().any(|name| theirs.iter().any(|other| name.is(other)))
    }
}

impl KillSwitch {
    /// Asks for a kill, by its id or its epoch, to be lifted or relaxed to a mode that stops less.
    ///
    /// # Errors
    /// No such kill stands, the mode is no step or stops nothing of its scope, or it cannot be kept.
    pub async fn ask_lift(
        &self,
        kill: &str,
        to: Option<KillMode>,
        reason: Reason,
        who: &Decider,
    ) -> Result<LiftAsk, KillError> {
        let state = self.state();
        let id = match kill.parse::<u64>() {
            Ok(epoch) => by_epoch(&state, epoch).map(|kill| kill.id()),
            Err(_id) => kill.parse().ok(),
        };
        let standing = id.and_then(|id| state.find(&id));
        let standing = standing.ok_or_else(|| KillError::NotStanding(kill.to_owned()))?;
        if let Some(to) = to.filter(|to| !to.relaxes(standing.mode)) {
            return Err(KillError::NoStep { from: standing.mode, to });
        }
        if let Some(to) = to {
            super::has_effect(&standing.scope, to)?;
        }
        let now = self.clock.now();
        let ask = LiftAsk {
            kill: standing.id(),
            to,
            reason,
            actor: who.approver.to_string(),
            person: who.key(),
            names: who.names(),
            at: now,
            until: now.saturating_add(LIFT_ASK_LASTS).unwrap_or(Timestamp::MAX),
        };
        let key = ask.kill.to_string();
        let there = self.store.kept(KIND, &key, now).await.map_err(KillError::store)?;
        let change = match &there {
            Some(row) => row.replaced_by(&ask, ask.until),
            None => KeptChange::new(KIND, &key, &ask, ask.until),
        };
        let changes = vec![change.map_err(KillError::store)?];
        let event = asked(&ask, state.epoch);
        match self.store.keep_on_record(changes, event).await.map_err(KillError::store)? {
            true => Ok(ask),
            false => Err(KillError::Raced),
        }
    }

    /// The asks that may be confirmed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn lift_asks(&self) -> Result<Vec<LiftAsk>, KillError> {
        let rows = self.store.all_kept(KIND, self.clock.now()).await.map_err(KillError::store)?;
        let state = self.state();
        let asks: Result<Vec<LiftAsk>, _> = rows.iter().map(Kept::read).collect();
        let mut asks = asks.map_err(KillError::store)?;
        asks.retain(|ask| state.find(&ask.kill).is_some());
        Ok(asks)
    }

    /// Confirms an ask of another person's; the state after it.
    ///
    /// # Errors
    /// Nobody asked for it, the same person did, its kill stands no more or in another mode, or it cannot be kept.
    pub async fn confirm_lift(
        &self,
        ask: &str,
        who: &Decider,
    ) -> Result<Arc<KillState>, KillError> {
        let now = self.clock.now();
        let rows = self.store.all_kept(KIND, now).await.map_err(KillError::store)?;
        let mut found = None;
        for row in &rows {
            let read: LiftAsk = row.read().map_err(KillError::store)?;
            if read.id() == ask {
                found = Some((row, read));
            }
        }
        let (row, asked) = found.ok_or_else(|| KillError::NotAsked(ask.to_owned()))?;
        if asked.is_of(who) {
            return Err(KillError::SamePerson);
        }
        let state = self.state();
        let standing = state.find(&asked.kill);
        let standing = standing.ok_or_else(|| KillError::NotStanding(asked.kill.to_string()))?;
        if let Some(to) = asked.to.filter(|to| !to.relaxes(standing.mode)) {
            return Err(KillError::NoStep { from: standing.mode, to });
        }
        // Taken first: of two who confirm at once, one lifts.
        if !self.store.keep(vec![row.taken_away()]).await.map_err(KillError::store)? {
            return Err(KillError::Raced);
        }
        let LiftAsk { kill: lifts, to, reason, actor, .. } = asked;
        let confirmed_by = Some(who.approver.to_string());
        tracing::warn!(%lifts, ?to, %actor, ?confirmed_by, "a kill is lifted");
        self.order(KillOrder::Lift(NewLift { lifts, to, reason, actor, confirmed_by }), now).await
    }
}

fn asked(ask: &LiftAsk, epoch: u64) -> Event {
    let event = Event::new(EventKind::KillLiftAsked, ask.at)
        .with_actor(ask.actor.clone())
        .with_epoch(epoch)
        .with_expires_at(ask.until)
        .with_detail("ask", ask.id())
        .with_detail("lifts", ask.kill.as_str())
        .with_detail("reason", ask.reason.as_str());
    match ask.to {
        Some(mode) => event.with_detail("mode", mode.as_str()),
        None => event,
    }
}
