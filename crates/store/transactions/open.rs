//! What open grants demand of each other: caps, budgets that are shared with a parent, and ends that reach below.

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, EndReason, Holding, Intent, MAX_CLOCK_STEP_BACK, OpenBy};

use crate::Failure;
use crate::transaction::{View, Writes};

/// Nothing is granted on a clock that is behind what is on record: expiries and caps would be counted wrongly.
pub(super) fn clock_is_safe(view: &View, now: Timestamp) -> Result<(), Denial> {
    let ahead = now.checked_add(MAX_CLOCK_STEP_BACK).unwrap_or(Timestamp::MAX);
    if view.recorded().is_some_and(|recorded| ahead < recorded) {
        return Err(Denial::new(DenialCode::ClockUnsafe, "the clock is behind the log"));
    }
    Ok(())
}

/// Whether a new intent may be open beside those that are.
pub(super) fn admit_new(view: &View, intent: &Intent) -> Result<Result<(), Denial>, Failure> {
    if intent.state().is_terminal() {
        return Ok(Ok(()));
    }
    if let Err(denial) = clock_is_safe(view, intent.created_at()) {
        return Ok(Err(denial));
    }
    for holding in intent.holdings() {
        if let Err(denial) = view.open().admit(intent.caps(), &holding, intent) {
            return Ok(Err(denial));
        }
    }
    let Some(parent) = &intent.grant().parent else { return Ok(Ok(())) };
    let Some(parent) = view.intent(&parent.id)? else {
        let detail = "there is no such parent intent";
        return Ok(Err(Denial::new(DenialCode::ChainInvalid, detail)));
    };
    let reserved = reserved(view, parent)?;
    Ok(match parent.uses_left().checked_sub(reserved) {
        Some(left) if left >= intent.grant().uses => numbers_left(view, parent, intent)?,
        left => {
            let left = left.unwrap_or_default();
            let detail = format!("{} uses are asked for, {left} are left", intent.grant().uses);
            Err(Denial::new(DenialCode::ExceedsParentScope, detail))
        }
    })
}

/// Whether the parent's numbers have room for this intent's beside those of all that were asked for under it and are open
/// or were used.
fn numbers_left(
    view: &View,
    parent: &Intent,
    intent: &Intent,
) -> Result<Result<(), Denial>, Failure> {
    let mut left = parent.grant().limits;
    for id in view.below(parent.id()) {
        let Some(child) = view.intent(id)? else { continue };
        let nearest = child.grant().parent.as_ref().map(|nearest| &nearest.id);
        let spent = !child.state().is_terminal() || !child.uses().is_empty();
        if nearest == Some(parent.id()) && spent {
            left = left.less(&child.grant().limits);
        }
    }
    let own = intent.grant().limits;
    if own.cut_to(&left) == own {
        return Ok(Ok(()));
    }
    let detail = "less is left of the parent's numbers than is asked for";
    Ok(Err(Denial::new(DenialCode::ExceedsParentScope, detail)))
}

/// How many of an intent's uses belong to those that were asked for under it: all of an open one, what was used of one
/// that has ended.
pub(super) fn reserved(view: &View, parent: &Intent) -> Result<u32, Failure> {
    let mut reserved: u32 = 0;
    for id in view.below(parent.id()) {
        let Some(child) = view.intent(id)? else { continue };
        let nearest = child.grant().parent.as_ref().map(|nearest| &nearest.id);
        if nearest == Some(parent.id()) {
            let used = u32::try_from(child.uses().len()).unwrap_or(u32::MAX);
            let uses = if child.state().is_terminal() { used } else { child.grant().uses };
            reserved = reserved.saturating_add(uses);
        }
    }
    Ok(reserved)
}

/// Whether a use of the intent's own is left beside what belongs to those below it, and whether the person on whose
/// behalf it is used may have one more open.
pub(super) fn admit_use(
    view: &View,
    intent: &Intent,
    delegator: Option<&str>,
) -> Result<Result<(), Denial>, Failure> {
    let reserved = reserved(view, intent)?;
    if reserved > 0 && reserved >= intent.uses_left() {
        let detail = "every use that is left belongs to an intent below this one";
        return Ok(Err(Denial::new(DenialCode::GrantConsumed, detail)));
    }
    Ok(delegator.map_or(Ok(()), |person| {
        let holding = Holding { by: OpenBy::Delegator, name: person.to_owned() };
        view.open().admit(intent.caps(), &holding, intent)
    }))
}

/// Ends what was asked for under an intent that has just ended, in the same transaction.
pub(super) fn end_below(
    view: &View,
    ended: &Intent,
    now: Timestamp,
    writes: &mut Writes,
) -> Result<(), Failure> {
    if !ended.state().is_terminal() {
        return Ok(());
    }
    for id in view.below(ended.id()) {
        // One that does not read cannot be used either, and holds up nobody's end.
        let Some(child) = view.readable_intent(id)? else { continue };
        if child.ends_with(ended) {
            let (next, events) = end_with(child, ended, now);
            writes.events.extend(events);
            writes.intents.push(next);
        }
    }
    Ok(())
}

fn end_with(child: &Intent, parent: &Intent, now: Timestamp) -> (Intent, Vec<marque_audit::Event>) {
    let by = format!("parent:{}", parent.id());
    child.end_for(EndReason::ParentEnded, DenialCode::GrantRevoked, &by, None, now)
}
