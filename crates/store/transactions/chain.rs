//! The chain of intent above a grant, in the transaction that counts on it.

use jiff::Timestamp;
use marque_intent::{Denial, DenialCode, Intent, IntentId, ParentIntent};

use crate::Failure;
use crate::transaction::View;

/// The ids of every intent above this one.
pub(crate) fn above(intent: &Intent) -> Vec<IntentId> {
    let chain = intent.grant().parent.iter().flat_map(ParentIntent::chain);
    chain.map(|one| one.id.clone()).collect()
}

/// Every intent above is what it was when the grant was asked for, and alive.
pub(super) fn holds(
    view: &View,
    intent: &Intent,
    now: Timestamp,
) -> Result<Result<(), Denial>, Failure> {
    for link in intent.grant().parent.iter().flat_map(ParentIntent::chain) {
        let held = match view.intent(&link.id)? {
            Some(found) => found.holds_up(link, now),
            None => {
                let detail = format!("`{}` above is not there", link.id);
                Err(Denial::new(DenialCode::ChainInvalid, detail))
            }
        };
        if let Err(denial) = held {
            return Ok(Err(denial));
        }
    }
    Ok(Ok(()))
}
