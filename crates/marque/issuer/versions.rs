//! A version of a playbook that granted anything keeps its content: the store remembers by the grants what each was.

use std::path::Path;

use anyhow::{Context as _, bail};
use marque_intent::{Intent, IntentFilter, IntentStore as _, PlaybookSet};
use marque_registry::Finding;
use marque_store::Store;

/// Refuses to serve a playbook that granted something under the same version with another content. It looks at the newest
/// intents, as many as one listing gives.
pub(super) async fn are_as_granted(
    path: &Path,
    playbooks: &PlaybookSet,
    store: &Store,
) -> anyhow::Result<()> {
    match reused(path, playbooks, store).await? {
        None => Ok(()),
        Some(found) => bail!(found.message),
    }
}

/// A playbook of the folder that granted something under the same version with another content.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn reused(
    path: &Path,
    playbooks: &PlaybookSet,
    store: &Store,
) -> anyhow::Result<Option<Finding>> {
    let granted = store.list(IntentFilter::default()).await.context("read earlier grants")?;
    Ok(changed(path, playbooks, &granted))
}

fn changed(path: &Path, playbooks: &PlaybookSet, granted: &[Intent]) -> Option<Finding> {
    granted.iter().find_map(|intent| {
        let pin = &intent.grant().playbook;
        let playbook = playbooks.find(&pin.id)?;
        let same = playbook.version() == pin.version;
        (same && *playbook.digest() != pin.digest).then(|| {
            let message = format!(
                "playbook `{}` version {} was another one when `{}` was granted by it ({}, now {}): a version never \
                 changes, so give what changed the version {}",
                pin.id,
                pin.version,
                intent.id(),
                pin.digest.short(),
                playbook.digest().short(),
                pin.version.saturating_add(1),
            );
            Finding::about(&path.join("playbooks").join(format!("{}.toml", pin.id)), message)
        })
    })
}
