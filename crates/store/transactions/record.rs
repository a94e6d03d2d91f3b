//! What is only kept: events without another effect, kills, authorities and checkpoints.

use jiff::Timestamp;
use marque_audit::{Event, EventKind, StoredCheckpoint};
use marque_authority::{AuthorityDecision, AuthorityOrder, OrderRefusal};
use marque_intent::{KillOrder, KillRecord, KillScope, KillState, NewKill, NewLift};

use crate::Failure;
use crate::journal::Order;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// Appends an event, and answers its number.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) event: Event,
}

impl Transaction for Append {
    type Answer = u64;

    fn keys(&self, _: &mut Keys) {}

    fn plan(&self, view: &View) -> Result<Plan<u64>, Failure> {
        let writes = Writes { events: vec![self.event.clone()], ..Writes::default() };
        Ok(Plan { answer: view.next_seq(), writes })
    }
}

/// Records a kill or a lift that is in force already; recording it twice changes nothing.
#[derive(Debug)]
pub(crate) struct RecordKill {
    pub(crate) order: Order,
}

impl Transaction for RecordKill {
    type Answer = ();

    fn keys(&self, _: &mut Keys) {}

    fn plan(&self, view: &View) -> Result<Plan<()>, Failure> {
        let recorded = view.recorded_kills();
        if recorded.history().iter().any(|record| self.order.became(record)) {
            return Ok(Plan::nothing(()));
        }
        let event = event_of(&self.order, recorded)?;
        let writes =
            Writes { events: vec![event], kills: vec![self.order.clone()], ..Writes::default() };
        Ok(Plan { answer: (), writes })
    }
}

fn event_of(order: &Order, recorded: &KillState) -> Result<Event, Failure> {
    let epoch = recorded.epoch + 1;
    match &order.what {
        KillOrder::Kill(kill) => {
            let event = kill_event(kill, order.at, epoch)?;
            Ok(match order.what.clone().record(order.at, epoch) {
                KillRecord::Kill(kill) => event.with_detail("id", kill.id().as_str()),
                KillRecord::Lift(_) => event,
            })
        }
        KillOrder::Lift(lift) => lift_event(lift, order.at, recorded, epoch),
    }
}

fn kill_event(kill: &NewKill, at: Timestamp, epoch: u64) -> Result<Event, Failure> {
    let NewKill { scope, mode, reason, actor, expires_at, origin: _, hits: _ } = kill;
    let event = Event::new(EventKind::Kill, at)
        .with_actor(actor.clone())
        .with_epoch(epoch)
        .with_detail("kill", scope_value(scope)?)
        .with_detail("mode", mode.as_str())
        .with_detail("reason", reason.as_str());
    let event = match expires_at {
        Some(end) => event.with_detail("ends_at", end.to_string()),
        None => event,
    };
    Ok(about(event, scope))
}

fn lift_event(
    lift: &NewLift,
    at: Timestamp,
    recorded: &KillState,
    epoch: u64,
) -> Result<Event, Failure> {
    let NewLift { lifts, to, reason, actor, confirmed_by } = lift;
    let event = Event::new(EventKind::KillLifted, at)
        .with_actor(actor.clone())
        .with_epoch(epoch)
        .with_detail("lifts", lifts.as_str())
        .with_detail("reason", reason.as_str());
    let event = match to {
        Some(mode) => event.with_detail("mode", mode.as_str()),
        None => event,
    };
    let event = match confirmed_by {
        Some(person) => event.with_detail("confirmed_by", person.as_str()),
        None => event,
    };
    match recorded.find(lifts) {
        Some(kill) => {
            let event = event
                .with_detail("kill", scope_value(&kill.scope)?)
                .with_detail("kill_epoch", kill.epoch);
            Ok(about(event, &kill.scope))
        }
        None => Ok(event),
    }
}

/// `{"scope": …, "selector": …}`, as the kill itself is written.
fn scope_value(scope: &KillScope) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(scope).map_err(Failure::encode)
}

/// The event with what of the scope records have fields for.
fn about(event: Event, scope: &KillScope) -> Event {
    match scope {
        KillScope::Agent(agent) => event.with_agent(agent.clone()),
        KillScope::Grant(intent) => event.with_intent(intent.as_str()),
        KillScope::Credential(token) => event.with_token_id(token.as_str()),
        _ => event,
    }
}

/// Takes a step in the life of an authority, by its own rules.
#[derive(Debug)]
pub(crate) struct OrderAuthority {
    pub(crate) order: AuthorityOrder,
}

impl Transaction for OrderAuthority {
    type Answer = Result<(), OrderRefusal>;

    fn keys(&self, keys: &mut Keys) {
        keys.authorities = true;
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        match self.order.decide(view.authorities()) {
            Ok(AuthorityDecision { put, remove, event }) => {
                let writes = Writes {
                    authorities: put,
                    deleted_authorities: remove.into_iter().collect(),
                    events: vec![event],
                    ..Writes::default()
                };
                Ok(Plan { answer: Ok(()), writes })
            }
            Err(refusal) => Ok(Plan::nothing(Err(refusal))),
        }
    }
}

/// Keeps a checkpoint unless a newer one is kept.
#[derive(Debug)]
pub(crate) struct SaveCheckpoint {
    pub(crate) checkpoint: StoredCheckpoint,
}

impl Transaction for SaveCheckpoint {
    type Answer = ();

    fn keys(&self, _: &mut Keys) {}

    fn plan(&self, _: &View) -> Result<Plan<()>, Failure> {
        let writes = Writes { checkpoint: Some(self.checkpoint.clone()), ..Writes::default() };
        Ok(Plan { answer: (), writes })
    }
}
