//! The root of a trust domain: a self-signed P-256 certificate, made here and read again here.
//!
//! It names the trust domain by its one URI and the environment in its subject. Name constraints are for those who want them
//! ([`AuthorityConfig::name_constraints`]): many verifiers refuse every certificate below them.

use jiff::Timestamp;
use marque_jose::PublicKey;
use marque_keys::SigningKey;
use marque_spiffe::{Environment, Random, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::TbsCertificate, extensions::GeneralName};
use yasna::Tag;

use crate::{
    AuthorityConfig, AuthorityError, RootProblem,
    certificate::{self, BACKDATED_SECONDS, Extensions, Validity, plus_seconds, serial_number},
    signer::CertificateSigner,
};

/// The upper bound of RFC 5280 for the name of an organisation.
pub(crate) const MAX_ORGANISATION: usize = 64;

/// The certificate of an X.509 authority's key, read and found right: a root, or one that somebody else signed.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) certificate: CertificateDer<'static>,
    /// From when to when everything is valid that stands above an SVID.
    pub(crate) validity: Validity,
    pub(crate) key_id: Vec<u8>,
}

/// Makes the root certificate of a key, beginning a little before `now`, a whole second.
pub(crate) fn self_sign(
    config: &AuthorityConfig,
    key: &SigningKey,
    random: &dyn Random,
    now: Timestamp,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let lifetime =
        i64::try_from(config.ca_lifetime.as_secs()).map_err(|_range| AuthorityError::Time(now))?;
    let validity = Validity {
        not_before: plus_seconds(now, -BACKDATED_SECONDS)?,
        not_after: plus_seconds(now, lifetime)?,
    };
    let failed = |source| AuthorityError::Build { what: "a root certificate", source };
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial_number(random)?);
    params.distinguished_name = subject(&config.trust_domain, config.environment, key);
    params.subject_alt_names =
        vec![SanType::URI(config.trust_domain.id().as_str().try_into().map_err(failed)?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(config.path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if config.name_constraints {
        params.custom_extensions = vec![uris_of(&config.trust_domain)];
    }
    validity.apply(&mut params)?;
    Ok(params
        .self_signed(&CertificateSigner::for_root(key.clone(), config))
        .map_err(failed)?
        .into())
}

/// Name constraints that permit URIs of this host alone (RFC 5280 section 4.2.1.10): rcgen has no subtrees of URIs.
fn uris_of(trust_domain: &TrustDomain) -> CustomExtension {
    let constraints = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_tagged_implicit(Tag::context(6), |writer| {
                            writer.write_ia5_string(trust_domain.as_str());
                        });
                    });
                });
            });
        });
    });
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], constraints);
    extension.set_criticality(true);
    extension
}

/// `O=<trust domain>, OU=<environment>, CN=<slot>`. The slot tells two roots of one trust domain apart. A name that is
/// too long for an organisation is left to the URI.
pub(crate) fn subject(
    trust_domain: &TrustDomain,
    environment: Environment,
    key: &SigningKey,
) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if trust_domain.as_str().len() <= MAX_ORGANISATION {
        subject.push(DnType::OrganizationName, trust_domain.as_str());
    }
    subject.push(DnType::OrganizationalUnitName, environment.as_str());
    subject.push(DnType::CommonName, key.slot().to_string());
    subject
}

impl Root {
    /// Reads a root, new or from a record, and holds it to everything that [`self_sign`] promises, its end apart.
    pub(crate) fn read(
        der: Vec<u8>,
        trust_domain: &TrustDomain,
        environment: Environment,
        public_key: &PublicKey,
    ) -> Result<Self, RootProblem> {
        let certificate = certificate::read(&der).ok_or(RootProblem::Malformed)?;
        if PublicKey::from_spki_der(certificate.public_key().raw).ok().as_ref() != Some(public_key)
        {
            return Err(RootProblem::PublicKey);
        }
        let is_self_issued = certificate.issuer().as_raw() == certificate.subject().as_raw();
        if !is_self_issued || certificate.verify_signature(None).is_err() {
            return Err(RootProblem::Signature);
        }
        let extensions = Extensions::read(&certificate).ok_or(RootProblem::Extensions)?;
        if !extensions.has_root_usages() {
            return Err(RootProblem::Usage);
        }
        if !extensions.permits_only(trust_domain.as_str()) {
            return Err(RootProblem::Extensions);
        }
        match extensions.names {
            Some((_, [GeneralName::URI(uri)])) if *uri == trust_domain.id().as_str() => {}
            _ => return Err(RootProblem::Name(trust_domain.clone())),
        }
        if !names_environment(&certificate, environment) {
            return Err(RootProblem::Environment(environment));
        }
        let key_id = extensions.subject_key_id.ok_or(RootProblem::Extensions)?.to_vec();
        let validity = Validity::read(&certificate).ok_or(RootProblem::Malformed)?;
        Ok(Self { certificate: der.into(), validity, key_id })
    }
}

/// Whether the subject has exactly one unit, and that is the environment.
pub(crate) fn names_environment(
    certificate: &TbsCertificate<'_>,
    environment: Environment,
) -> bool {
    let mut units = certificate.subject().iter_organizational_unit();
    let named = units.next().and_then(|unit| unit.as_str().ok());
    named == Some(environment.as_str()) && units.next().is_none()
}

#[cfg(test)]
mod tests;
