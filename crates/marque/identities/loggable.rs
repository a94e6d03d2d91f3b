//! Which selectors may stand in a log.

use marque_registry::TrustDomainDocument;
use marque_spiffe::SelectorSet;

/// The selectors that `[attestation] log_selectors` of the document allows in logs and audit leaves; all others may hold
/// what a workload was told in confidence.
pub(crate) fn loggable(document: &TrustDomainDocument, selectors: &SelectorSet) -> Vec<String> {
    let settings = document.attestation();
    let allowed = selectors.iter().filter(|selector| settings.may_log(selector.as_str()));
    allowed.map(ToString::to_string).collect()
}
