//! Opening and changing intents.

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_intent::{
    Denial, DenialCode, IdempotencyKey, Intent, IntentChange, IntentId, Submitted,
};

use super::open::{admit_new, clock_is_safe, end_below};
use crate::Failure;
use crate::rows::Idempotency;
use crate::transaction::{Keys, Plan, Transaction, View, Writes};

/// How long an idempotency key stands for its request (specs/intents.md 7).
pub(crate) const IDEMPOTENCY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps a new intent with its events.
#[derive(Debug)]
pub(crate) struct Submit {
    pub(crate) intent: Intent,
    pub(crate) events: Vec<Event>,
    pub(crate) idempotency: Option<IdempotencyKey>,
}

/// Why a new intent was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubmitRefusal {
    IdempotencyConflict,
    Killed(DenialCode),
    Refused(Denial),
}

impl Transaction for Submit {
    type Answer = Result<Submitted, SubmitRefusal>;

    fn keys(&self, keys: &mut Keys) {
        keys.intents.insert(self.intent.id().clone());
        keys.open.extend(self.intent.holdings());
        if let Some(parent) = &self.intent.grant().parent {
            keys.intents.insert(parent.id.clone());
            keys.below.insert(parent.id.clone());
        }
        if let Some(key) = &self.idempotency {
            keys.idempotency.insert((key.agent().to_string(), key.key().to_owned()));
        }
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        if let Some(code) = view.kills().stops_grant(self.intent.grant()) {
            return Ok(Plan::nothing(Err(SubmitRefusal::Killed(code))));
        }
        if let Some(answer) = self.earlier_answer(view)? {
            return Ok(Plan::nothing(answer));
        }
        if view.intent(self.intent.id())?.is_some() {
            return Err(Failure::Conflict { table: "intents" });
        }
        if let Err(denial) = admit_new(view, &self.intent)? {
            return Ok(Plan::nothing(Err(SubmitRefusal::Refused(denial))));
        }
        let idempotency = self.idempotency.as_ref().map(|key| Idempotency {
            agent: key.agent().clone(),
            key: key.key().to_owned(),
            body: *key.body(),
            intent: self.intent.id().clone(),
            created_at: view.now(),
        });
        let writes = Writes {
            events: self.events.clone(),
            intents: vec![self.intent.clone()],
            idempotency: idempotency.into_iter().collect(),
            ..Writes::default()
        };
        Ok(Plan { answer: Ok(Submitted::Created(self.intent.clone())), writes })
    }
}

impl Submit {
    /// What the same key was answered before.
    fn earlier_answer(
        &self,
        view: &View,
    ) -> Result<Option<<Self as Transaction>::Answer>, Failure> {
        let Some(key) = &self.idempotency else { return Ok(None) };
        let Some(earlier) = view.idempotency(key.agent(), key.key())? else { return Ok(None) };
        let ends = earlier.created_at.checked_add(IDEMPOTENCY_LIFETIME).unwrap_or(Timestamp::MAX);
        if view.now() >= ends {
            return Ok(None);
        }
        if earlier.body != *key.body() {
            return Ok(Some(Err(SubmitRefusal::IdempotencyConflict)));
        }
        match view.intent(&earlier.intent)? {
            Some(intent) => Ok(Some(Ok(Submitted::Replayed(intent.clone())))),
            None => Err(Failure::damaged("idempotency", key.key(), "its intent is not there")),
        }
    }
}

/// Applies one change to an intent; none where there is no such intent.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: IntentId,
    pub(crate) change: IntentChange,
    pub(crate) now: Timestamp,
}

impl Transaction for Change {
    type Answer = Option<Result<Intent, Denial>>;

    fn keys(&self, keys: &mut Keys) {
        keys.intents.insert(self.id.clone());
        keys.below.insert(self.id.clone());
    }

    fn plan(&self, view: &View) -> Result<Plan<Self::Answer>, Failure> {
        let Some(intent) = view.intent(&self.id)? else { return Ok(Plan::nothing(None)) };
        let mut writes = Writes::default();
        let intent = expired_first(intent, self.now, &mut writes);
        end_below(view, &intent, self.now, &mut writes)?;
        let applied = match self.stopped(view, &intent) {
            Some(denial) => Err(denial),
            None => intent.apply(&self.change, self.now),
        };
        let answer = match applied {
            // No event: nothing changed, and nothing is to be stored.
            Ok((next, events)) => {
                if !events.is_empty() {
                    writes.events.extend(events);
                    writes.intents.push(next.clone());
                    end_below(view, &next, self.now, &mut writes)?;
                }
                Ok(next)
            }
            Err(denial) => {
                writes.events.push(self.refused(&intent, &denial));
                Err(denial)
            }
        };
        Ok(Plan { answer: Some(answer), writes })
    }
}

impl Change {
    /// What a kill stops is not approved any more. It may still be refused, withdrawn or ended.
    fn stopped(&self, view: &View, intent: &Intent) -> Option<Denial> {
        let IntentChange::Approve { .. } = &self.change else { return None };
        if let Err(denial) = clock_is_safe(view, self.now) {
            return Some(denial);
        }
        let code = view.kills().stops_grant(intent.grant())?;
        Some(Denial::new(code, "stopped by the kill switch"))
    }

    /// The leaf of a change that was refused.
    fn refused(&self, intent: &Intent, denial: &Denial) -> Event {
        let (kind, change, actor) = match &self.change {
            IntentChange::Approve { approval } => {
                (EventKind::ApprovalRefused, "approve", Some(approval.approver().to_string()))
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
