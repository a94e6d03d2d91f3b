//! A version of a playbook that granted anything keeps its content: the store remembers by the grants what each was.

use anyhow::{Context as _, bail};
use marque_intent::{Intent, IntentFilter, IntentStore as _, PlaybookSet};
use marque_store::Store;

/// Refuses to serve a playbook that granted something under the same version with another content. It looks at the newest
/// intents, as many as one listing gives.
pub(super) async fn are_as_granted(playbooks: &PlaybookSet, store: &Store) -> anyhow::Result<()> {
    let granted = store.list(IntentFilter::default()).await.context("read earlier grants")?;
    match changed(playbooks, &granted) {
        None => Ok(()),
        Some(message) => bail!(message),
    }
}

fn changed(playbooks: &PlaybookSet, granted: &[Intent]) -> Option<String> {
    granted.iter().find_map(|intent| {
        let pin = &intent.grant().playbook;
        let playbook = playbooks.find(&pin.id)?;
        let same = playbook.version() == pin.version;
        (same && *playbook.digest() != pin.digest).then(|| {
            format!(
                "playbook `{}` version {} was another one when `{}` was granted by it ({}, now {}): a version never \
                 changes, so give what changed the version {}",
                pin.id,
                pin.version,
                intent.id(),
                pin.digest.short(),
                playbook.digest().short(),
                pin.version.saturating_add(1),
            )
        })
    })
}
