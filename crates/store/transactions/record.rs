//! What is only kept: events without another effect, kills, authorities and checkpoints.

use marque_audit::{Event, EventKind, StoredCheckpoint};
use marque_authority::AuthorityRecord;
use marque_intent::KillScope;

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

/// Records a kill that is in force already; recording it twice changes nothing.
#[derive(Debug)]
pub(crate) struct RecordKill {
    pub(crate) order: Order,
}

impl Transaction for RecordKill {
    type Answer = ();

    fn keys(&self, _: &mut Keys) {}

    fn plan(&self, view: &View) -> Result<Plan<()>, Failure> {
        let recorded = view.recorded_kills();
        if recorded.kills.iter().any(|kill| self.order.became(kill)) {
            return Ok(Plan::nothing(()));
        }
        let event = kill_event(&self.order, recorded.epoch + 1)?;
        let writes =
            Writes { events: vec![event], kills: vec![self.order.clone()], ..Writes::default() };
        Ok(Plan { answer: (), writes })
    }
}

fn kill_event(order: &Order, epoch: u64) -> Result<Event, Failure> {
    let Order { kill, at } = order;
    // `{"scope": …, "selector": …}`, as the kill itself is written.
    let scope = serde_json::to_value(&kill.scope).map_err(Failure::encode)?;
    let event = Event::new(EventKind::Kill, *at)
        .with_actor(kill.actor.clone())
        .with_epoch(epoch)
        .with_detail("kill", scope)
        .with_detail("reason", kill.reason.as_str());
    Ok(match &kill.scope {
        KillScope::Agent(agent) => event.with_agent(agent.clone()),
        KillScope::Playbook(_) | KillScope::TrustDomain | KillScope::All => event,
    })
}

/// Keeps the record of an authority, unless its slot has one: the first stays.
#[derive(Debug)]
pub(crate) struct SaveAuthority {
    pub(crate) record: AuthorityRecord,
}

impl Transaction for SaveAuthority {
    type Answer = ();

    fn keys(&self, _: &mut Keys) {}

    fn plan(&self, _: &View) -> Result<Plan<()>, Failure> {
        let writes = Writes { authorities: vec![self.record.clone()], ..Writes::default() };
        Ok(Plan { answer: (), writes })
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
