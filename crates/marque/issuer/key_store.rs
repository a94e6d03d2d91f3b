//! Opening the private keys of one trust domain, where its document says that they are.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use marque_keys::{
    KeyManager, MemoryKeys, MovingKeys, SealedFileKeys, SealingKey, TokenKeys, TokenSettings,
};
use marque_registry::{KeySettings, TrustDomainDocument};

/// The key manager of a trust domain; `private` is its folder, for sealed files.
pub(super) fn open(
    document: &TrustDomainDocument,
    private: &Path,
    sealing: &SealingKey,
) -> anyhow::Result<Arc<dyn KeyManager>> {
    let name = document.name().as_str();
    let sealed = || {
        SealedFileKeys::open(&private.join("keys"), sealing, name)
            .with_context(|| format!("open the sealed keys of `{name}`"))
    };
    Ok(match document.keys() {
        KeySettings::SealedFile => Arc::new(sealed()?),
        KeySettings::Memory => {
            tracing::warn!(
                trust_domain = name,
                "keys are in memory alone: nothing that is signed now verifies after the next start"
            );
            Arc::new(MemoryKeys::new())
        }
        KeySettings::Pkcs11(rule) => {
            let settings = TokenSettings {
                module: rule.module().to_owned(),
                label: rule.token().to_owned(),
                pin_file: rule.pin_file().to_owned(),
                sessions: usize::try_from(rule.sessions()).unwrap_or(TokenSettings::SESSIONS),
            };
            let token = TokenKeys::open(&settings, name)
                .with_context(|| format!("open the keys of `{name}`"))?;
            let keys = MovingKeys::new(token, sealed()?, rule.seals_checkpoint_key());
            for slot in keys.left_behind().context("look for keys in sealed files")? {
                tracing::warn!(
                    trust_domain = name,
                    %slot,
                    "this key is still in a sealed file, and is used until it is rotated away: keys cannot be moved"
                );
            }
            Arc::new(keys)
        }
    })
}
