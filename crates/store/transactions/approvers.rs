//! What is kept of approvers: their decisions, and what waits for them. It is written with the decision itself.

use marque_intent::{
    ApprovalLimits, ApprovalQueue, Decider, DecisionMark, DecisionRecord, Denial, Intent,
    IntentChange, State,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::transaction::{Keys, View, Writes};
use crate::{Failure, Kept};

/// One row for each approver.
pub(crate) const DECISIONS: &str = "approver_decisions";
/// One row.
const QUEUE: &str = "approver_queue";
const EVERYBODY: &str = "all";

/// Names the rows that a new intent looks at.
pub(super) fn keys_of_intent(intent: &Intent, keys: &mut Keys) {
    if intent.state() == State::Pending {
        keys.kept.insert((QUEUE.to_owned(), EVERYBODY.to_owned()));
    }
}

/// Names the rows that a change looks at.
pub(super) fn keys_of_change(change: &IntentChange, keys: &mut Keys) {
    match change {
        // None of these ends the wait for an approver.
        IntentChange::Heard { .. }
        | IntentChange::PostCheck { .. }
        | IntentChange::Complete { .. }
        | IntentChange::Revoke { .. } => return,
        _ => drop(keys.kept.insert((QUEUE.to_owned(), EVERYBODY.to_owned()))),
    }
    if let Some((decider, _)) = decision(change) {
        keys.kept.insert((DECISIONS.to_owned(), decider.key()));
    }
}

/// Puts a new intent in the queue of its approvers, if it waits for any.
pub(super) fn enqueue(
    intent: &Intent,
    limits: ApprovalLimits,
    view: &View,
    writes: &mut Writes,
) -> Result<Result<(), Denial>, Failure> {
    let (State::Pending, Some(plan), Some(until)) =
        (intent.state(), &intent.grant().approval, intent.expires_at())
    else {
        return Ok(Ok(()));
    };
    let (queue, version): (ApprovalQueue, u64) = read(view, QUEUE, EVERYBODY)?;
    match queue.with(intent.id(), plan, (intent.created_at(), until), limits) {
        Ok(queue) => {
            let until = queue.until();
            writes.kept.push(row(QUEUE, EVERYBODY.to_owned(), version, until, &queue)?);
            Ok(Ok(()))
        }
        Err(denial) => Ok(Err(denial)),
    }
}

/// Whether the approver may approve once more now; refusals are never too many.
pub(super) fn may_decide(
    change: &IntentChange,
    limits: ApprovalLimits,
    view: &View,
    now: jiff::Timestamp,
) -> Result<Result<(), Denial>, Failure> {
    match decision(change) {
        Some((decider, Said { approved: true, .. })) => {
            let (record, _): (DecisionRecord, u64) = read(view, DECISIONS, &decider.key())?;
            Ok(record.may_approve(limits, now))
        }
        Some(_) | None => Ok(Ok(())),
    }
}

/// Keeps the decision, and takes an intent that waits no more out of the queue.
pub(super) fn decided(
    change: &IntentChange,
    next: &Intent,
    view: &View,
    writes: &mut Writes,
    now: jiff::Timestamp,
) -> Result<(), Failure> {
    if let Some((decider, Said { approved, took_ms })) = decision(change) {
        let key = decider.key();
        let (record, version): (DecisionRecord, u64) = read(view, DECISIONS, &key)?;
        let record = record.with(DecisionMark { at: now, approved, took_ms });
        let until = record.until();
        writes.kept.push(row(DECISIONS, key, version, until, &record)?);
    }
    // A row that nobody loaded is not there for this change.
    let (queue, version): (ApprovalQueue, u64) = read(view, QUEUE, EVERYBODY)?;
    if next.state() != State::Pending && queue.has(next.id()) {
        let until = queue.until();
        let queue = queue.without(next.id());
        writes.kept.push(row(QUEUE, EVERYBODY.to_owned(), version, until, &queue)?);
    }
    Ok(())
}

struct Said {
    approved: bool,
    took_ms: Option<u64>,
}

fn decision(change: &IntentChange) -> Option<(Decider, Said)> {
    match change {
        IntentChange::Approve { approval } | IntentChange::ApproveLess { approval, .. } => {
            let said = Said { approved: true, took_ms: approval.took_ms() };
            Some((approval.decider(), said))
        }
        IntentChange::Deny { decider, .. } => {
            Some((decider.clone(), Said { approved: false, took_ms: None }))
        }
        _ => None,
    }
}

fn read<T: DeserializeOwned + Default>(
    view: &View,
    kind: &str,
    key: &str,
) -> Result<(T, u64), Failure> {
    match view.kept(kind, key)? {
        Some(row) => Ok((row.read()?, row.version)),
        None => Ok((T::default(), 0)),
    }
}

fn row(
    kind: &str,
    key: String,
    version: u64,
    until: jiff::Timestamp,
    value: &impl Serialize,
) -> Result<Kept, Failure> {
    let document = serde_json::to_value(value).map_err(Failure::encode)?;
    Ok(Kept { kind: kind.to_owned(), key, version: version + 1, until, document })
}
