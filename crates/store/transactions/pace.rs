//! Pace: refusals counted and put on record, and families of agents that a person lets ask again.

use marque_audit::{Event, EventKind};
use marque_intent::pace::{
    Again, Asked, Counted, Family, Hushed, PaceKey, PaceRow, PaceRows, PaceSettings, Refused,
    Repeated, Turn,
};
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

    /// What comes of a refusal for whoever would hold the intent: another's request is remembered, and costs them nothing.
    pub(super) fn refuse(
        &self,
        turn: &Turn<'_>,
        denial: Denial,
        intent: Option<&IntentId>,
    ) -> Refused {
        match &self.asker {
            Some(_) => turn.refuse_unasked(denial, intent),
            None => turn.refuse(denial, intent),
        }
    }

    /// The same where a person refuses it later on.
    pub(super) fn deny(&self, turn: &Turn<'_>, denial: &Denial) -> Refused {
        match &self.asker {
            Some(_) => turn.deny_unasked(denial.clone()),
            None => turn.deny(denial),
        }
    }

    /// Counts a refusal of what was asked for on another's behalf against whoever asked; what they are told.
    pub(super) fn against_the_asker(
        &self,
        denial: Denial,
        view: &View,
        writes: &mut Writes,
    ) -> Result<Denial, Failure> {
        let Some(asked) = &self.asker else { return Ok(denial) };
        let rows = view.pace(asked.keys())?;
        let turn = Turn { asked, rows: &rows, settings: &self.settings, now: view.now() };
        let refused = turn.deny(&denial);
        writes.pace.extend(refused.rows);
        writes.events.extend(refused.events);
        Ok(refused.told)
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
            let is_open = match view.intent(id) {
                // Nobody can say that it has ended.
                Err(Failure::Damaged { .. }) => true,
                found => found?.is_some_and(|intent| intent.ended_code(view.now()).is_none()),
            };
            if is_open {
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
        keys.pace.insert(PaceKey::Hushed(self.refused.asked.agent.clone(), Repeated::Request));
    }

    fn plan(&self, view: &View) -> Result<Plan<Denial>, Failure> {
        let (told, pace, more) = self.counted(view)?;
        let mut writes = Writes { pace, ..Writes::default() };
        let agent = &self.refused.asked.agent;
        if !told_of((agent, Repeated::Request), &told, view, &mut writes)? {
            writes.events.extend(more);
            return Ok(Plan { answer: told, writes });
        }
        let told = self.refused.told(told);
        writes.events.push(self.refused.event(&told));
        writes.events.extend(more);
        writes.denials.push(self.refused.record(&told));
        Ok(Plan { answer: told, writes })
    }
}

/// Whether the log is told of a refusal by itself; if not, it is counted, and told of in a sum later on.
pub(super) fn told_of(
    (agent, of): (&SpiffeId, Repeated),
    denial: &Denial,
    view: &View,
    writes: &mut Writes,
) -> Result<bool, Failure> {
    if !of.is_hushed(denial.code()) {
        return Ok(true);
    }
    let key = PaceKey::Hushed(agent.clone(), of);
    let before = view.pace([key.clone()])?.hushed(&key);
    let (row, again) = Hushed::after(before, (agent, of), denial, view.now());
    writes.pace.push((key, PaceRow::Hushed(row)));
    Ok(match again {
        Again::Counted => false,
        Again::Told(before) => {
            writes.events.extend(before);
            true
        }
    })
}

/// Records that an agent got no token, in a sum where it is told the same again and again.
#[derive(Debug)]
pub(crate) struct RecordTokenRefusal {
    pub(crate) agent: SpiffeId,
    pub(crate) denial: Denial,
    pub(crate) event: Event,
}

impl Transaction for RecordTokenRefusal {
    type Answer = ();

    fn keys(&self, keys: &mut Keys) {
        keys.pace.insert(PaceKey::Hushed(self.agent.clone(), Repeated::Token));
    }

    fn plan(&self, view: &View) -> Result<Plan<()>, Failure> {
        let mut writes = Writes::default();
        if told_of((&self.agent, Repeated::Token), &self.denial, view, &mut writes)? {
            writes.events.push(self.event.clone());
        }
        Ok(Plan { answer: (), writes })
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
