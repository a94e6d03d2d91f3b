//! CA certificates for servers below: what is read of a request, and what is signed.
//!
//! A server of the same trust domain has its own key signed here, and mints below it. Of its request the public key counts,
//! and the name as an ornament; everything else is ours to say. Deliberately absent: who may ask.

mod check;
mod request;

use jiff::Timestamp;
use marque_spiffe::{Environment, Random, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

pub use self::request::{DownstreamRequest, DownstreamRequestError};
use crate::{
    AuthorityConfig, AuthorityError,
    certificate::{self, Validity, serial_number},
    root::{MAX_ORGANISATION, Root},
    signer::CertificateSigner,
};

/// The attribute `serialNumber` of a name (X.520 section 6.2.9).
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];

/// A CA certificate that was signed for a server below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDownstream {
    /// The certificate, then those between it and the root, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Every root of the trust domain.
    pub roots: Vec<CertificateDer<'static>>,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Its last second.
    pub not_after: Timestamp,
}

/// The active key in the role of an upstream.
#[derive(Debug)]
pub(crate) struct DownstreamAuthority {
    issuer: rcgen::Issuer<'static, CertificateSigner>,
    /// How many CA certificates may stand below one that is signed here.
    path_length: u8,
}

impl DownstreamAuthority {
    /// `None` where there is no room for a CA certificate below `root`.
    pub(crate) fn new(
        root: &Root,
        signer: impl FnOnce(u8) -> CertificateSigner,
    ) -> Result<Option<Self>, AuthorityError> {
        let Some(path_length) = room_below(&root.certificate) else { return Ok(None) };
        let issuer = rcgen::Issuer::from_ca_cert_der(&root.certificate, signer(path_length));
        let issuer = issuer.map_err(|source| AuthorityError::Build {
            what: "the issuer of CA certificates",
            source,
        })?;
        Ok(Some(Self { issuer, path_length }))
    }
}

/// The path length of a CA certificate right below this one; `None` where it leaves no room for any.
fn room_below(authority: &CertificateDer<'_>) -> Option<u8> {
    let certificate = certificate::read(authority)?;
    let constraints = certificate.basic_constraints().ok()??.value;
    match constraints.path_len_constraint {
        None => Some(AuthorityConfig::MAX_PATH_LENGTH - 1),
        Some(own) => {
            let below = u8::try_from(own).unwrap_or(u8::MAX).checked_sub(1)?;
            Some(below.min(AuthorityConfig::MAX_PATH_LENGTH - 1))
        }
    }
}

/// What a CA certificate is made of.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a DownstreamRequest,
    pub(crate) trust_domain: &'a TrustDomain,
    pub(crate) environment: Environment,
    pub(crate) validity: Validity,
}

/// What a CA certificate has to say, to the byte.
struct Wanted<'a> {
    asked: &'a Asked<'a>,
    path_length: u8,
    serial: SerialNumber,
}

impl DownstreamAuthority {
    /// Signs what is wanted for this key and checks it. Gives the certificate and its serial number.
    pub(crate) fn sign(
        &self,
        asked: &Asked<'_>,
        root: &Root,
        random: &dyn Random,
    ) -> Result<(CertificateDer<'static>, String), AuthorityError> {
        let wanted =
            Wanted { asked, path_length: self.path_length, serial: serial_number(random)? };
        let signed = wanted.params()?.signed_by(asked.request.public_key(), &self.issuer);
        let signed = signed
            .map_err(|source| AuthorityError::Build { what: "a downstream certificate", source })?;
        let certificate = CertificateDer::from(signed);
        check::check(&certificate, &wanted, root)
            .map_err(|source| AuthorityError::SelfCheck { id: asked.trust_domain.id(), source })?;
        Ok((certificate, hex::encode(&wanted.serial)))
    }
}

impl Wanted<'_> {
    /// `O=<trust domain>, OU=<environment>, CN=<as in the request>, serialNumber=<its own>`. The last tells it from every other
    /// name, the issuer's first of all: a certificate whose issuer has its own name would be taken for a root.
    fn subject(&self) -> Result<DistinguishedName, AuthorityError> {
        let failed =
            |source| AuthorityError::Build { what: "the name of a downstream certificate", source };
        let mut subject = DistinguishedName::new();
        let Asked { request, trust_domain, environment, validity: _ } = self.asked;
        if trust_domain.as_str().len() <= MAX_ORGANISATION {
            subject.push(DnType::OrganizationName, trust_domain.as_str());
        }
        subject.push(DnType::OrganizationalUnitName, environment.as_str());
        subject.push(DnType::CommonName, request.common_name());
        let serial = hex::encode(&self.serial).as_str().try_into().map_err(failed)?;
        let attribute = DnType::CustomDnType(SERIAL_NUMBER.to_vec());
        subject.push(attribute, DnValue::PrintableString(serial));
        Ok(subject)
    }

    fn params(&self) -> Result<CertificateParams, AuthorityError> {
        let failed = |source| AuthorityError::Build {
            what: "the names of a downstream certificate",
            source,
        };
        let mut params = CertificateParams::default();
        params.serial_number = Some(self.serial.clone());
        params.distinguished_name = self.subject()?;
        let uri = self.asked.trust_domain.id().as_str().try_into().map_err(failed)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(self.path_length));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        self.asked.validity.apply(&mut params)?;
        Ok(params)
    }
}

#[cfg(test)]
mod tests;
