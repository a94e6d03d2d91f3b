//! Pace: refusals counted and put on record, and families of agents that a person lets ask again.

use marque_audit::{Event, EventKind};
use marque_intent::pace::{Asked, Counted, Family, PaceKey, PaceRow, PaceRows, PaceSettings, Turn};
use marque_intent::{Denial, IntentId, RefusedRequest, Release};
use marque_spiffe::SpiffeId;

use crate::Failure;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// What is counted of one request.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    pub(crate) asked: Asked,
    /// The same as a request of the agent that asked for it on the other's behalf, where that is of another family.
    pub(crate) asker: Option<Asked>,
    pub(crate) settings: PaceSettings,
}

impl Pace {
    pub(super) fn keys(&self, keys: &mut Keys) {
        keys.pace.extend(self.asked.keys());
        keys.pace.extend(self.asker.iter().flat_map(Asked::keys));
    }

    /// Counts a refusal of what was asked for on another's behalf against whoever asked.
    pub(super) fn against_the_asker(
        &self,
        denial: &Denial,
        view: &View,
        writes: &mut Writes,
    ) -> Result<(), Failure> {
        let Some(asked) = &self.asker else { return Ok(()) };
        let rows = view.pace(asked.keys())?;
        let turn = Turn { asked, rows: &rows, settings: &self.settings, now: view.now() };
        let refused = turn.deny(denial);
        writes.pace.extend(refused.rows);
        writes.events.extend(refused.events);
        Ok(())
    }

    pub(super) fn rows(&self, view: &View) -> Result<PaceRows, Failure> {
        view.pace(self.asked.keys())
    }

    pub(super) fn turn<'a>(&'a self, rows: &'a PaceRows, view: &View) -> Turn<'a> {
        Turn { asked: &self.asked, rows, settings: &self.settings, now: view.now() }
    }

    /// Which of the intents that were open are open still.
    pub(super) fn open(
        &self,
        rows: &PaceRows,
        view: &View,
    ) -> Result<impl Fn(&IntentId) -> bool + use<>, Failure> {
        let mut open = std::collections::BTreeSet::new();
        for id in rows.open_intents() {
            if view.intent(id)?.is_some_and(|intent| intent.ended_code(view.now()).is_none()) {
                open.insert(id.clone());
            }
        }
        Ok(move |id: &IntentId| open.contains(id))
    }
}

/// Records a refusal of which no intent came, and counts it where there are settings to count by.
#[derive(Debug)]
pub(crate) struct RecordDenial {
    pub(crate) refused: RefusedRequest,
    pub(crate) settings: Option<PaceSettings>,
}

impl RecordDenial {
    fn counted(&self, view: &View) -> Result<(Denial, Counted, Vec<Event>), Failure> {
        let Some(settings) = &self.settings else {
            return Ok((self.refused.denial.clone(), Vec::new(), Vec::new()));
        };
        let asked = &self.refused.asked;
        let rows = view.pace(asked.keys())?;
        let turn = Turn { asked, rows: &rows, settings, now: view.now() };
        let refused = turn.refuse(self.refused.denial.clone(), None);
        Ok((refused.told, refused.rows, refused.events))
    }
}

impl Transaction for RecordDenial {
    type Answer = Denial;

    fn keys(&self, keys: &mut Keys) {
        if self.settings.is_some() {
            keys.pace.extend(self.refused.asked.keys());
        }
    }

    fn plan(&self, view: &View) -> Result<Plan<Denial>, Failure> {
        let (told, pace, more) = self.counted(view)?;
        let told = self.refused.told(told);
        let mut events = vec![self.refused.event(&told)];
        events.extend(more);
        let denials = vec![self.refused.record(&told)];
        Ok(Plan { answer: told, writes: Writes { events, pace, denials, ..Writes::default() } })
    }
}

/// Lets a family ask again; whether it was held.
#[derive(Debug)]
pub(crate) struct ReleaseFamily {
    pub(crate) order: Release,
}

impl Transaction for ReleaseFamily {
    type Answer = bool;

    fn keys(&self, keys: &mut Keys) {
        keys.pace.insert(PaceKey::Family(self.order.family.clone()));
    }

    fn plan(&self, view: &View) -> Result<Plan<bool>, Failure> {
        let Release { family, actor, reason, now } = &self.order;
        let key = PaceKey::Family(family.clone());
        let standing = view.pace([key.clone()])?.standing(family);
        let Some(released) = standing.released(view.now()) else {
            return Ok(Plan::nothing(false));
        };
        let event = Event::new(EventKind::QuarantineReleased, *now)
            .with_actor(actor.clone())
            .with_detail("family", family.as_str())
            .with_detail("quarantined", standing.quarantine.is_some())
            .with_detail("reason", reason.as_str());
        let pace = vec![(key, PaceRow::Family(released))];
        Ok(Plan { answer: true, writes: Writes { events: vec![event], pace, ..Writes::default() } })
    }
}

/// Whether an agent gets tokens: one in quarantine has its baseline identity alone.
pub(super) fn may_exchange(agent: &SpiffeId, view: &View) -> Result<Result<(), Denial>, Failure> {
    let family = Family::of(agent);
    let standing = view.pace([PaceKey::Family(family.clone())])?.standing(&family);
    Ok(standing.may_exchange(&family))
}
