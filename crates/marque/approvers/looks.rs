//! When somebody was shown a grant first, so that it is known how long they had it before their eyes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use marque_intent::{Approver, Digest, Intent, IntentId};

/// How many showings are remembered.
const MAX_LOOKS: usize = 4096;

/// First looks. Lost with the process.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<BTreeMap<(String, IntentId, Digest), Timestamp>>);

impl Looks {
    /// Remembers a look. The first one counts: looking again does not make a decision hasty.
    pub(super) fn remember(&self, who: &Approver, intent: &Intent, now: Timestamp) {
        let Ok(mut looks) = self.0.lock() else { return };
        if looks.len() >= MAX_LOOKS
            && let Some(oldest) =
                looks.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
        {
            looks.remove(&oldest);
        }
        let key = (who.to_string(), intent.id().clone(), *intent.grant().digest());
        looks.entry(key).or_insert(now);
    }

    /// How long ago this was shown, in milliseconds, where that is known.
    pub(super) fn took(
        &self,
        who: &Approver,
        id: &IntentId,
        digest: Option<&Digest>,
        now: Timestamp,
    ) -> Option<u64> {
        let key = (who.to_string(), id.clone(), *digest?);
        let at = *self.0.lock().ok()?.get(&key)?;
        u64::try_from(now.duration_since(at).as_millis()).ok()
    }

    /// Forgets what somebody has decided about.
    pub(super) fn forget(&self, who: &Approver, id: &IntentId) {
        let Ok(mut looks) = self.0.lock() else { return };
        let who = who.to_string();
        looks.retain(|(whose, which, _), _| *whose != who || which != id);
    }
}
