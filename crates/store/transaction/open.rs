//! Open grants as a batch sees them: what each counts against, and what hangs below an intent.

use std::collections::{BTreeMap, BTreeSet};

use marque_intent::{CapsInForce, Denial, Holding, Intent, IntentId, PlaybookId};

/// The open grants that were asked for, by what they count against.
#[derive(Debug, Default)]
pub(crate) struct OpenGrants {
    pub(crate) held: BTreeMap<Holding, BTreeMap<IntentId, PlaybookId>>,
    /// Every intent below one that was asked for, ended or not.
    pub(crate) below: BTreeMap<IntentId, BTreeSet<IntentId>>,
}

impl OpenGrants {
    /// Takes up an intent as a plan left it.
    pub(crate) fn take(&mut self, intent: &Intent) {
        let holdings: BTreeSet<Holding> = intent.holdings().into_iter().collect();
        for (holding, held) in &mut self.held {
            if holdings.contains(holding) {
                held.insert(intent.id().clone(), intent.grant().playbook.id.clone());
            } else {
                held.remove(intent.id());
            }
        }
        for ancestor in intent.grant().parent.iter().flat_map(|nearest| nearest.chain()) {
            if let Some(below) = self.below.get_mut(&ancestor.id) {
                below.insert(intent.id().clone());
            }
        }
    }

    /// Whether the intent may be open against `holding` beside all that is.
    pub(crate) fn admit(
        &self,
        caps: &CapsInForce,
        holding: &Holding,
        intent: &Intent,
    ) -> Result<(), Denial> {
        let Some(held) = self.held.get(holding) else { return Ok(()) };
        let others = || held.iter().filter(|(id, _)| *id != intent.id());
        let of_playbook =
            others().filter(|(_, playbook)| **playbook == intent.grant().playbook.id).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        caps.admit(holding, count(others().count()), count(of_playbook))
    }
}
