//! The runs of exceptions, counted in the transaction that keeps the next one: however many ask at once, and of whichever
//! issuer, the last run is given once.

use marque_intent::pace::{PaceKey, PaceRow};
use marque_intent::{Intent, MAX_EXCEPTION, PinnedException, State};

use crate::Failure;
use crate::transaction::{Keys, View, Writes};

fn exception(intent: &Intent) -> Option<&PinnedException> {
    let under = intent.grant().conditions.provisions.exception.as_ref();
    under.filter(|_| intent.state() != State::Denied)
}

/// The row that counts the runs, with the intents that it names.
pub(super) fn keys(intent: &Intent, keys: &mut Keys) {
    keys.pace.extend(exception(intent).map(|under| PaceKey::Runs(under.id.clone())));
}

/// Takes a run for the intent, where it is made under an exception; whether there was one left.
pub(super) fn take_run(intent: &Intent, view: &View, writes: &mut Writes) -> Result<bool, Failure> {
    let Some(under) = exception(intent) else { return Ok(true) };
    let key = PaceKey::Runs(under.id.clone());
    let mut row = view.pace([key.clone()])?.runs(&under.id);
    let mut runs = Vec::new();
    for id in row.intents {
        let counts = match view.intent(&id) {
            // Nobody can say that it was unused.
            Err(Failure::Damaged { .. }) => true,
            found => found?.is_some_and(|run| {
                let ended = run.expire_if_due(view.now());
                under.has_run(ended.as_ref().map_or(run, |(ended, _)| ended))
            }),
        };
        runs.extend(counts.then_some(id));
    }
    let most = under.runs.map_or(1, |runs| runs.get());
    if runs.len() >= most as usize {
        return Ok(false);
    }
    runs.push(intent.id().clone());
    // The same exception may be written again with another end, and has had these runs all the same.
    let end = under.expires_at.checked_add(MAX_EXCEPTION).unwrap_or(jiff::Timestamp::MAX);
    row.kept_until = row.kept_until.max(end);
    row.intents = runs;
    writes.pace.push((key, PaceRow::Runs(row)));
    Ok(true)
}
