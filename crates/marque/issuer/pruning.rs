//! Forgetting what ended long ago, in steps that hold nobody up.
//!
//! What is forgotten is in the log all the same. Deliberately absent: what counts as long ago, which the rooms say.

use marque_exchange::{PRUNED_AT_ONCE, TokenLifeStore as _, TokenStoreError};
use tokio_util::sync::CancellationToken;

use super::Lasting;

/// Forgets everything that may be forgotten now, one bounded transaction after the other; how many rows.
pub(super) async fn prune(
    issuer: &Lasting,
    stop: &CancellationToken,
) -> Result<usize, TokenStoreError> {
    let mut all = 0;
    while !stop.is_cancelled() {
        let pruned = issuer.store.prune(issuer.clock.now(), PRUNED_AT_ONCE).await?;
        all += pruned;
        if pruned < PRUNED_AT_ONCE {
            break;
        }
    }
    Ok(all)
}
