//! What is counted of requests and refusals.

use std::sync::PoisonError;

use marque_intent::pace::{Asked, PaceSettings};
use marque_intent::{DenialCode, Grant, Intent, IntentChange, IntentId};

use super::Store;
use crate::Failure;
use crate::transactions::Pace;

impl Store {
    /// The numbers by which requests and refusals are counted from here on.
    pub fn keep_pace(&self, settings: PaceSettings) {
        *self.shared.pace.write().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    pub(super) fn pace_settings(&self) -> Option<PaceSettings> {
        self.shared.pace.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is counted of an intent's request, where anything is.
    pub(super) fn pace_of(&self, intent: &Intent) -> Option<Pace> {
        let settings = self.pace_settings()?;
        // A sealed grant has a canonical form, and so has every part of it.
        let asked = Asked::of_intent(intent).ok()?;
        let terms = intent.grant().terms();
        // Agents of one family count together anyway.
        let asker = terms.parent.as_ref().map(|parent| &parent.agent);
        let asker = asker.filter(|asker| !asked.family.has(asker));
        let asker =
            asker.and_then(|asker| Asked::of_asker(terms, asker, intent.justification()).ok());
        Some(Pace { asked, asker, settings })
    }

    /// The same for a person's word on an intent; what an intent permits never changes, so that any version of it will do.
    pub(super) async fn pace_of_word(
        &self,
        id: &IntentId,
        change: &IntentChange,
    ) -> Result<Option<Pace>, Failure> {
        let (IntentChange::Approve { .. } | IntentChange::Deny { .. }) = change else {
            return Ok(None);
        };
        let intent = match self.shared.intents.last_seen(id) {
            Some(seen) => Some(Intent::clone(&seen)),
            None => self.reader.intent(id).await?,
        };
        Ok(intent.and_then(|intent| self.pace_of(&intent)))
    }
}

/// Counts a grant that came within an hour of a refusal of the same target: somebody repaired what was wrong, or broke the
/// glass.
pub(super) fn followed(after: Option<DenialCode>, grant: &Grant) {
    let Some(code) = after else { return };
    let name = match grant.emergency {
        Some(_) => "marque_denial_followed_by_break_glass",
        None => "marque_denial_followed_by_success_within_1h",
    };
    let playbook = grant.playbook.id.to_string();
    let class = code.class().as_str();
    metrics::counter!(name, "code" => code.as_str(), "class" => class, "playbook" => playbook)
        .increment(1);
}
