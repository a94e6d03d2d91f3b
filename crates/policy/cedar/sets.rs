//! The two sets that decide for one playbook, with what their policies' annotations say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::PolicySet;
use marque_intent::DenialCode;

use super::{PolicyInfo, PolicyPart, Tier};

#[derive(Debug)]
pub(super) struct Sets {
    /// Forbids.
    pub(super) hard: PolicySet,
    /// Permits.
    pub(super) gate: PolicySet,
    /// The actions, beside `request`, that some permit is about by name.
    pub(super) gated: BTreeSet<&'static str>,
    /// By id, with its place in the file.
    policies: BTreeMap<String, (usize, Arc<PolicyInfo>)>,
}

impl Sets {
    pub(super) fn of<'a>(
        policies: impl IntoIterator<Item = &'a Arc<PolicyInfo>>,
    ) -> Result<Self, String> {
        let mut sets = Self {
            hard: PolicySet::new(),
            gate: PolicySet::new(),
            gated: BTreeSet::new(),
            policies: BTreeMap::new(),
        };
        for (place, info) in policies.into_iter().enumerate() {
            let set = match info.part {
                PolicyPart::Hard => &mut sets.hard,
                PolicyPart::Gate => &mut sets.gate,
            };
            set.add(info.policy.clone()).map_err(|error| error.to_string())?;
            if info.part == PolicyPart::Gate && !info.actions.contains("request") {
                sets.gated.extend(&info.actions);
            }
            sets.policies.insert(info.id.clone(), (place, Arc::clone(info)));
        }
        Ok(sets)
    }

    /// The code of the first of these forbids in the order of the files.
    pub(super) fn code(&self, ids: &[String]) -> Option<DenialCode> {
        let known = ids.iter().filter_map(|id| self.policies.get(id));
        known.min_by_key(|(place, _)| *place).and_then(|(_, info)| info.code)
    }

    pub(super) fn tier(&self, id: &str) -> Option<Tier> {
        self.policies.get(id).and_then(|(_, info)| info.tier)
    }

    /// Why, in the words of these policies.
    pub(super) fn reasons(&self, ids: &[String]) -> Vec<String> {
        let known = ids.iter().filter_map(|id| self.policies.get(id));
        known.filter_map(|(_, info)| info.reason.clone()).collect()
    }
}
