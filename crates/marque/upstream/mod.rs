//! Who signs the certificates of a trust domain's X.509 authorities, where it is not they themselves.
//!
//! Absent: what a signed certificate has to be, which is the `authority` crate's; offline roots, whose requests and answers
//! people carry (`marque authority csr` and `import`).

mod spire;
mod vault;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use marque_authority::{UpstreamAuthority, UpstreamRule};
use marque_registry::{TrustDomainDocument, UpstreamSigner};
use marque_spiffe::Clock;

use self::spire::Spire;
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
        UpstreamSigner::Spire(settings) => {
            let spire = Spire::new(settings, document.name(), Arc::clone(clock))?;
            Some(Arc::new(spire))
        }
    };
    Ok(Some(UpstreamRule { authority, pinned_roots: settings.pinned_roots().clone() }))
}

/// How many characters of what the other side says of a refusal are told.
const MAX_SAID: usize = 300;

/// What the other side says, without control characters and cut to [`MAX_SAID`].
fn plain(said: &str) -> String {
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    said.chars().take(MAX_SAID).map(plain).collect()
}
