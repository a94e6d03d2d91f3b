//! Opening and changing intents.

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_intent::pace::{Kept, PaceKey, Refused, Repeated};
use marque_intent::{
    ApprovalLimits, Denial, DenialClass, DenialCode, DenialId, DenialRecord, IdempotencyKey,
    Intent, IntentChange, IntentId, State, StopPoint, Submitted,
};

use marque_spiffe::SpiffeId;

use super::Pace;
use super::approvers;
use super::chain::{above, holds};
use super::exceptions;
use super::open::{admit_new, clock_is_safe, end_below};
use super::pace::told_of;
use crate::Failure;
use crate::rows::{Idempotency, micros};
use crate::transaction::{Keys, Plan, Recent, Transaction, View, Writes};

/// How long an idempotency key stands for its request (specs/intents.md 7).
pub(crate) const IDEMPOTENCY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps a new intent with its events.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) intent: Intent,
    pub(crate) events: Vec<Event>,
    pub(crate) idempotency: Option<IdempotencyKey>,
    pub(crate) pace: Option<Pace>,
    pub(crate) limits: ApprovalLimits,
}

/// Why a new intent was not kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SubmitRefusal {
    IdempotencyConflict,
    /// Its exception has had all its runs.
    NoRunLeft,
    Killed(DenialCode),
    /// Too much is open, or it comes too often, too soon, or is there already.
    Refused(Denial),
}

/// What became of a submission, and the refusal that it soon came after.
pub(crate) type Accepted = (Submitted, Option<DenialCode>);

impl Transaction for Submit {
    type Answer = Result<Accepted, SubmitRefusal>;

    fn keys(&self, keys: &mut Keys) {
        keys.intents.insert(self.intent.id().clone());
        keys.open.extend(self.intent.holdings());
        keys.intents.extend(above(&self.intent));
        keys.below.extend(self.intent.grant().parent.as_ref().map(|parent| parent.id.clone()));
        approvers::keys_of_intent(&self.intent, keys);
        exceptions::keys(&self.intent, keys);
        keys.idempotency.extend(self.idempotency.as_ref().map(named));
        if let Some(pace) = &self.pace {
            pace.keys(keys);
        }
        // How soon after the last one it comes is counted by agent and playbook.
        keys.recent.extend(self.intent.grant().emergency.as_ref().map(|emergency| {
            let back = emergency.cooldown.saturating_add(IDEMPOTENCY_LIFETIME);
            let since = self.intent.created_at().checked_sub(back).unwrap_or(Timestamp::MIN);
            Recent {
                agent: self.intent.agent().clone(),
                playbook: self.intent.grant().playbook.id.clone(),
                since: micros(since),
            }
        }));
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        if let Some(code) = view.kills().stops_grant(self.intent.grant(), StopPoint::Ask) {
            return Ok(Plan::nothing(Err(SubmitRefusal::Killed(code))));
        }
        match answered(self.idempotency.as_ref(), view)? {
            Answered::Before(intent) => {
                return Ok(Plan::nothing(Ok((Submitted::Replayed(*intent), None))));
            }
            Answered::Conflict => {
                return Ok(Plan::nothing(Err(SubmitRefusal::IdempotencyConflict)));
            }
            Answered::Never => {}
        }
        if view.intent(self.intent.id())?.is_some() {
            return Err(Failure::Conflict { table: "intents" });
        }
        if self.intent.state() != State::Denied {
            if let Err(denial) = holds(view, &self.intent, self.intent.created_at())? {
                return Ok(Plan::nothing(Err(SubmitRefusal::Refused(denial))));
            }
            if let Some(denial) = self.intent.too_soon_after(view.intents(), view.now()) {
                return Ok(Plan::nothing(Err(SubmitRefusal::Refused(denial))));
            }
        }
        if let Err(denial) = admit_new(view, &self.intent)? {
            return Ok(Plan::nothing(Err(SubmitRefusal::Refused(denial))));
        }
        let key = self.idempotency.as_ref();
        let mut writes = Writes {
            events: self.events.clone(),
            idempotency: key.map(|key| row(key, self.intent.id(), view)).into_iter().collect(),
            ..Writes::default()
        };
        if !exceptions::take_run(&self.intent, view, &mut writes)? {
            return Ok(Plan::nothing(Err(SubmitRefusal::NoRunLeft)));
        }
        if let Err(denial) = approvers::enqueue(&self.intent, self.limits, view, &mut writes)? {
            return Ok(Plan::nothing(Err(SubmitRefusal::Refused(denial))));
        }
        Ok(match self.counted(view, &mut writes)? {
            Ok((intent, after)) => {
                writes.intents.push(intent.clone());
                Plan { answer: Ok((Submitted::Created(intent), after)), writes }
            }
            Err(refused) => Plan::nothing(Err(SubmitRefusal::Refused(refused))),
        })
    }
}

impl Submit {
    /// Counts the request, and the refusal where it is one already. The intent as it is to be kept, or why it is not.
    fn counted(
        &self,
        view: &View,
        writes: &mut Writes,
    ) -> Result<Result<(Intent, Option<DenialCode>), Denial>, Failure> {
        let record = |intent: &Intent, denial: &Denial, writes: &mut Writes| {
            writes.denials.push(DenialRecord::of_intent(intent, denial, view.now()));
        };
        let id = DenialId::of_intent(self.intent.id());
        let refusal = self.intent.denial().cloned();
        let Some(pace) = &self.pace else {
            let Some(told) = refusal else { return Ok(Ok((self.intent.clone(), None))) };
            let intent = self.intent.clone().refused_as(told.clone().recorded_as(id));
            record(&intent, &told, writes);
            return Ok(Ok((intent, None)));
        };
        let rows = pace.rows(view)?;
        let turn = pace.turn(&rows, view);
        if let Some(denial) = refusal {
            let Refused { told, rows, events } = pace.refuse(&turn, denial, Some(self.intent.id()));
            if told.class() == DenialClass::Pace {
                return Ok(Err(told));
            }
            writes.pace.extend(rows);
            writes.events.extend(events);
            let told = pace.against_the_asker(told, view, writes)?.recorded_as(id);
            let intent = self.intent.clone().refused_as(told.clone());
            record(&intent, &told, writes);
            return Ok(Ok((intent, None)));
        }
        let is_open = pace.open(&rows, view)?;
        if let Err(denial) = turn.admit(&is_open) {
            return Ok(Err(denial));
        }
        let Kept { rows, after } = turn.keep(self.intent.state() == State::Approved, &is_open);
        writes.pace.extend(rows);
        Ok(Ok((self.intent.clone(), after)))
    }
}

/// A key's row, as it is found.
fn named(key: &IdempotencyKey) -> (String, String) {
    (key.caller().to_owned(), key.key().to_owned())
}

fn row(key: &IdempotencyKey, intent: &IntentId, view: &View) -> Idempotency {
    Idempotency {
        caller: key.caller().to_owned(),
        key: key.key().to_owned(),
        body: *key.body(),
        intent: intent.clone(),
        created_at: view.now(),
    }
}

/// What the same key was answered before.
#[derive(Debug)]
pub(crate) enum Answered {
    Never,
    /// The intent as it stands.
    Before(Box<Intent>),
    /// The key came with another body.
    Conflict,
}

pub(crate) fn answered(key: Option<&IdempotencyKey>, view: &View) -> Result<Answered, Failure> {
    let Some(key) = key else { return Ok(Answered::Never) };
    let Some(earlier) = view.idempotency(key.caller(), key.key())? else {
        return Ok(Answered::Never);
    };
    let ends = earlier.created_at.checked_add(IDEMPOTENCY_LIFETIME).unwrap_or(Timestamp::MAX);
    if view.now() >= ends {
        return Ok(Answered::Never);
    }
    if earlier.body != *key.body() {
        return Ok(Answered::Conflict);
    }
    match view.intent(&earlier.intent)? {
        Some(intent) => Ok(Answered::Before(Box::new(intent.clone()))),
        None => Err(Failure::damaged("idempotency", key.key(), "its intent is not there")),
    }
}

/// Looks up what a key was answered before, and writes nothing.
#[derive(Debug)]
pub(crate) struct LookUp {
    pub(crate) idempotency: IdempotencyKey,
}

impl Transaction for LookUp {
    type Answer = Answered;

    fn keys(&self, keys: &mut Keys) {
        keys.idempotency.insert(named(&self.idempotency));
    }

    fn plan(&self, view: &View) -> Result<Plan<Answered>, Failure> {
        answered(Some(&self.idempotency), view).map(Plan::nothing)
    }
}

/// Applies one change to an intent; none where there is no such intent.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: IntentId,
    pub(crate) change: IntentChange,
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// Where it is a person's word on the request.
    pub(crate) pace: Option<Pace>,
    pub(crate) now: Timestamp,
    pub(crate) limits: ApprovalLimits,
}

/// The intent after a change, and the refusal of its target that it was granted soon after.
pub(crate) type Changed = (Intent, Option<DenialCode>);

impl Transaction for Change {
    type Answer = Option<Result<Changed, Denial>>;

    fn keys(&self, keys: &mut Keys) {
        keys.intents.insert(self.id.clone());
        keys.below.insert(self.id.clone());
        keys.idempotency.extend(self.idempotency.as_ref().map(named));
        if let Some(pace) = &self.pace {
            pace.keys(keys);
        }
        approvers::keys_of_change(&self.change, keys);
        let hushed = self.agent().map(|agent| PaceKey::Hushed(agent.clone(), Repeated::Change));
        keys.pace.extend(hushed);
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        let Some(intent) = view.intent(&self.id)? else { return Ok(Plan::nothing(None)) };
        let mut writes = Writes::default();
        match answered(self.idempotency.as_ref(), view)? {
            Answered::Before(intent) => return Ok(Plan::nothing(Some(Ok((*intent, None))))),
            Answered::Conflict => {
                let detail = "the key came with another request before";
                let denial = Denial::new(DenialCode::IdempotencyConflict, detail);
                writes.events.push(self.refused(intent, &denial));
                return Ok(Plan { answer: Some(Err(denial)), writes });
            }
            Answered::Never => {}
        }
        let intent = expired_first(intent, self.now, &mut writes);
        end_below(view, &intent, self.now, &mut writes)?;
        let applied = match self.stopped(view, &intent) {
            Some(denial) => Err(denial),
            None => intent.apply(&self.change, self.now),
        };
        let applied = match applied {
            Ok((next, events)) if !events.is_empty() => {
                approvers::may_decide(&self.change, self.limits, view, self.now)?
                    .map(|()| (next, events))
            }
            applied => applied,
        };
        let answer = match applied {
            // No event: nothing changed, and nothing is to be stored.
            Ok((next, events)) => {
                let key = self.idempotency.as_ref();
                writes.idempotency.extend(key.map(|key| row(key, &self.id, view)));
                if events.is_empty() {
                    Ok((next, None))
                } else {
                    writes.events.extend(events);
                    let (next, after) = self.counted(next, view, &mut writes)?;
                    writes.intents.push(next.clone());
                    end_below(view, &next, self.now, &mut writes)?;
                    approvers::decided(&self.change, &next, view, &mut writes, self.now)?;
                    Ok((next, after))
                }
            }
            Err(denial) => {
                let told = match self.agent() {
                    None => true,
                    Some(agent) => told_of((agent, Repeated::Change), &denial, view, &mut writes)?,
                };
                if told {
                    writes.events.push(self.refused(&intent, &denial));
                }
                Err(denial)
            }
        };
        Ok(Plan { answer: Some(answer), writes })
    }
}

impl Change {
    /// Counts what a person's word makes of the request: a refusal is one like any other, and a grant may have come after
    /// one.
    fn counted(&self, next: Intent, view: &View, writes: &mut Writes) -> Result<Changed, Failure> {
        let Some(pace) = &self.pace else { return Ok((next, None)) };
        let rows = pace.rows(view)?;
        let turn = pace.turn(&rows, view);
        match (next.state(), next.denial().cloned()) {
            (State::Denied, Some(denial)) => {
                let Refused { told, rows, events } = pace.deny(&turn, &denial);
                writes.pace = rows;
                writes.events.extend(events);
                let told = pace.against_the_asker(told, view, writes)?;
                let told = told.recorded_as(DenialId::of_intent(next.id()));
                let next = next.refused_as(told.clone());
                writes.denials.push(DenialRecord::of_intent(&next, &told, view.now()));
                Ok((next, None))
            }
            (State::Approved, _) => {
                let Kept { rows, after } = turn.grant();
                writes.pace = rows;
                Ok((next, after))
            }
            _ => Ok((next, None)),
        }
    }

    /// What a kill stops is not approved any more. It may still be refused, withdrawn or ended.
    fn stopped(&self, view: &View, intent: &Intent) -> Option<Denial> {
        let (IntentChange::Approve { .. } | IntentChange::ApproveLess { .. }) = &self.change else {
            return None;
        };
        if let Err(denial) = clock_is_safe(view, self.now) {
            return Some(denial);
        }
        let code = view.kills().stops_grant(intent.grant(), StopPoint::Ask)?;
        Some(Denial::new(code, "stopped by the kill switch"))
    }

    /// The agent whose own word it is.
    fn agent(&self) -> Option<&SpiffeId> {
        match &self.change {
            IntentChange::Cancel { by }
            | IntentChange::Complete { by, .. }
            | IntentChange::Heard { by: Some(by) } => Some(by),
            _ => None,
        }
    }

    /// The leaf of a change that was refused.
    fn refused(&self, intent: &Intent, denial: &Denial) -> Event {
        let (kind, change, actor) = match &self.change {
            IntentChange::Approve { approval } => {
                (EventKind::ApprovalRefused, "approve", Some(approval.approver().to_string()))
            }
            IntentChange::ApproveLess { approval, .. } => {
                (EventKind::ApprovalRefused, "approve_less", Some(approval.approver().to_string()))
            }
            IntentChange::Deny { decider, .. } => {
                (EventKind::ApprovalRefused, "deny", Some(decider.approver.to_string()))
            }
            IntentChange::Cancel { by } => {
                (EventKind::ChangeRefused, "cancel", Some(by.to_string()))
            }
            IntentChange::Complete { by, .. } => {
                (EventKind::ChangeRefused, "complete", Some(by.to_string()))
            }
            IntentChange::Revoke { actor, .. } => {
                (EventKind::ChangeRefused, "revoke", Some(actor.clone()))
            }
            IntentChange::End { by, .. } => (EventKind::ChangeRefused, "end", Some(by.clone())),
            IntentChange::Repin { .. } => (EventKind::ChangeRefused, "repin", None),
            IntentChange::Heard { by } => {
                (EventKind::ChangeRefused, "heartbeat", by.as_ref().map(ToString::to_string))
            }
            IntentChange::Review { by, .. } => {
                (EventKind::ChangeRefused, "review", Some(by.approver.to_string()))
            }
            IntentChange::Erase { actor, .. } => {
                (EventKind::ChangeRefused, "erase", Some(actor.clone()))
            }
            IntentChange::PostCheck { .. } => (EventKind::ChangeRefused, "post_check", None),
            IntentChange::Expire => (EventKind::ChangeRefused, "expire", None),
        };
        let event = Event::new(kind, self.now)
            .with_intent(self.id.as_str())
            .with_agent(intent.agent().clone())
            .with_denial(denial.code().as_str(), denial.class().as_str())
            .with_detail("change", change);
        match actor {
            Some(actor) => event.with_actor(actor),
            None => event,
        }
    }
}

/// The intent with a clock that has run out applied; that much is written whatever becomes of the rest.
pub(super) fn expired_first(intent: &Intent, now: Timestamp, writes: &mut Writes) -> Intent {
    match intent.expire_if_due(now) {
        Some((expired, event)) => {
            writes.events.push(event);
            writes.intents.push(expired.clone());
            expired
        }
        None => intent.clone(),
    }
}
