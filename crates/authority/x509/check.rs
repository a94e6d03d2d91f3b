//! The check of an X.509-SVID after it was minted: first as any verifier would, then against what was asked for.

use jiff::Timestamp;
use marque_spiffe::{Bundle, UnverifiedX509Svid};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::Leaf;
use crate::{
    SelfCheckError,
    certificate::{self, Extensions, Validity},
};

/// Whether `chain` begins with exactly the X.509-SVID that `leaf` describes, under the root with the key id `root_key_id`.
pub(super) fn check(
    chain: &[CertificateDer<'static>],
    leaf: &Leaf<'_>,
    root_key_id: &[u8],
    bundle: &Bundle,
    now: Timestamp,
) -> Result<(), SelfCheckError> {
    let svid = UnverifiedX509Svid::parse_chain(chain.to_vec())
        .and_then(|svid| svid.verify(bundle, now))
        .map_err(SelfCheckError::X509)?;
    let validity = Validity { not_before: svid.not_before(), not_after: svid.not_after() };
    let der = chain.first().ok_or(SelfCheckError::Differs("chain"))?;
    let certificate = certificate::read(der).ok_or(SelfCheckError::Differs("encoding"))?;
    let extensions =
        Extensions::read(&certificate).ok_or(SelfCheckError::Differs("set of extensions"))?;
    let facts = [
        ("SPIFFE ID", *svid.id() == leaf.template.spiffe_id),
        ("public key", svid.public_key().point() == Some(leaf.public_key.as_point())),
        ("validity", validity == leaf.validity),
        ("subject", certificate.subject().iter().next().is_none()),
        ("serial number", certificate.raw_serial().len() == 16),
        ("set of names", has_names(&extensions, leaf)),
        ("set of usages", extensions.has_leaf_usages()),
        ("authority key id", extensions.authority_key_id == Some(root_key_id)),
        ("subject key id", extensions.subject_key_id.is_some()),
    ];
    match facts.into_iter().find(|(_, holds)| !holds) {
        Some((fact, _)) => Err(SelfCheckError::Differs(fact)),
        None => Ok(()),
    }
}

/// The SPIFFE ID and the DNS names, in order, and nothing else; critical because the subject is empty.
fn has_names(extensions: &Extensions<'_>, leaf: &Leaf<'_>) -> bool {
    let Some((true, [GeneralName::URI(uri), others @ ..])) = extensions.names else { return false };
    let wanted = leaf.template.dns_names.iter().map(|name| Some(name.as_str()));
    let found = others.iter().map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    *uri == leaf.template.spiffe_id.as_str() && found.eq(wanted)
}

#[cfg(test)]
mod tests;
