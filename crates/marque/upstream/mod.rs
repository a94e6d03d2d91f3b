//! Who signs the certificates of a trust domain's X.509 authorities, where it is not they themselves.
//!
//! Absent: what a signed certificate has to be, which is the `authority` crate's; offline roots, whose requests and answers
//! people carry (`marque authority csr` and `import`).

mod vault;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use marque_authority::{UpstreamAuthority, UpstreamRule};
use marque_registry::{TrustDomainDocument, UpstreamSigner};
use marque_spiffe::Clock;

use self::vault::Vault;

/// What a trust domain's document says of its upstream; nobody is asked yet. `folder` is that of the document.
///
/// # Errors
/// A certificate authority that cannot be read.
pub(crate) fn open(
    document: &TrustDomainDocument,
    folder: &Path,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<UpstreamRule>> {
    let Some(settings) = document.upstream() else { return Ok(None) };
    let authority: Option<Arc<dyn UpstreamAuthority>> = match settings.signer() {
        UpstreamSigner::Files => None,
        UpstreamSigner::Vault(vault) => {
            let vault = Vault::open(vault, document.name().as_str(), folder, clock)
                .context("prepare the upstream authority")?;
            Some(Arc::new(vault))
        }
    };
    Ok(Some(UpstreamRule { authority, pinned_roots: settings.pinned_roots().clone() }))
}
