//! The check of a CA certificate after it was signed, against what was wanted.

use rcgen::PublicKeyData as _;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::Wanted;
use crate::{
    SelfCheckError,
    certificate::{self, Extensions, Validity},
    root::{Root, names_environment},
};

/// Whether `der` is exactly the CA certificate that is `wanted`, signed by the key of `root`.
pub(super) fn check(
    der: &CertificateDer<'static>,
    wanted: &Wanted<'_>,
    root: &Root,
) -> Result<(), SelfCheckError> {
    let certificate = certificate::read(der).ok_or(SelfCheckError::Differs("encoding"))?;
    let issuer = certificate::read(&root.certificate).ok_or(SelfCheckError::Differs("issuer"))?;
    let extensions =
        Extensions::read(&certificate).ok_or(SelfCheckError::Differs("set of extensions"))?;
    let asked = wanted.asked;
    let trust_domain = asked.trust_domain.id();
    let key = &certificate.public_key().subject_public_key.data;
    let is_named = matches!(
        extensions.names,
        Some((_, [GeneralName::URI(uri)])) if *uri == trust_domain.as_str()
    );
    let is_below = certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.subject().as_raw() != issuer.subject().as_raw();
    let is_signed = certificate.verify_signature(Some(issuer.public_key())).is_ok();
    let facts = [
        ("signature", is_signed),
        ("issuer", is_below),
        ("public key", **key == *asked.request.public_key().der_bytes()),
        ("validity", Validity::read(&certificate) == Some(asked.validity)),
        ("serial number", *certificate.raw_serial() == *wanted.serial.as_ref()),
        ("set of names", is_named),
        ("environment", names_environment(&certificate, asked.environment)),
        ("set of usages", extensions.has_root_usages()),
        ("path length", extensions.path_length() == Some(u32::from(wanted.path_length))),
        ("authority key id", extensions.authority_key_id == Some(root.key_id.as_slice())),
        ("subject key id", extensions.subject_key_id.is_some()),
    ];
    match facts.into_iter().find(|(_, holds)| !holds) {
        Some((fact, _)) => Err(SelfCheckError::Differs(fact)),
        None => Ok(()),
    }
}
