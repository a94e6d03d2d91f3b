//! Who signs the certificates of a trust domain's X.509 authorities, where it is not they themselves.
//!
//! Absent: what a signed certificate has to be, which is the `authority` crate's; offline roots, whose requests and answers
//! people carry (`marque authority csr` and `import`).

mod vault;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use marque_authority::UpstreamAuthority;
use marque_registry::{TrustDomainDocument, UpstreamSettings};
use marque_spiffe::Clock;

use self::vault::Vault;

/// Whoever can be asked of a trust domain's document; nobody is, yet.
///
/// # Errors
/// A certificate authority that cannot be read.
pub(crate) fn open(
    document: &TrustDomainDocument,
    folder: &Path,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Option<Arc<dyn UpstreamAuthority>>> {
    match document.upstream() {
        None | Some(UpstreamSettings::Files) => Ok(None),
        Some(UpstreamSettings::Vault(settings)) => {
            let vault = Vault::open(settings, document.name().as_str(), folder, clock)
                .context("prepare the upstream authority")?;
            Ok(Some(Arc::new(vault)))
        }
    }
}
