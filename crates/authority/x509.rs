//! Minting X.509-SVIDs, and the check that each passes before it leaves.

mod check;

use std::time::Duration;

use jiff::Timestamp;
use marque_keys::SlotId;
use marque_spiffe::{Bundle, DnsName, Random, SpiffeId, TrustDomain};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::{
    AuthorityError, P256PublicKey, PrivateKeyPkcs8, TemplateError,
    certificate::{BACKDATED_SECONDS, Validity, plus_seconds, serial_number, whole_second},
    root::Root,
    signer::CertificateSigner,
    snapshot::X509Certificates,
};

/// What an X.509-SVID should say.
#[derive(Clone, Debug)]
pub struct X509SvidTemplate {
    /// The identity, with a path, of the authority's own trust domain.
    pub spiffe_id: SpiffeId,
    /// How long it should last, in whole seconds; capped by the ceiling and by the root's end.
    pub lifetime: Duration,
    /// DNS names beside the SPIFFE ID; [`X509SvidTemplate::MAX_DNS_NAMES`] at most.
    pub dns_names: Vec<DnsName>,
}

impl X509SvidTemplate {
    /// The most DNS names in one X.509-SVID; as many of the longest stay below the limit for a certificate.
    pub const MAX_DNS_NAMES: usize = 32;

    pub(crate) fn check(&self, trust_domain: &TrustDomain) -> Result<(), TemplateError> {
        check_id(&self.spiffe_id, trust_domain)?;
        if self.dns_names.len() > Self::MAX_DNS_NAMES {
            return Err(TemplateError::DnsNames);
        }
        Ok(())
    }
}

/// An X.509-SVID with its private key.
#[derive(Debug)]
pub struct MintedX509Svid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The certificates, leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub private_key: PrivateKeyPkcs8,
    /// From when it is valid: a little before it was minted.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
}

/// The active root with its key.
#[derive(Debug)]
pub(crate) struct X509Authority {
    slot: SlotId,
    root: Root,
    /// What an SVID carries after its leaf: nothing below a root.
    carried: Vec<CertificateDer<'static>>,
    issuer: rcgen::Issuer<'static, CertificateSigner>,
}

/// What a leaf has to say, to the byte.
pub(crate) struct Leaf<'a> {
    pub(crate) template: &'a X509SvidTemplate,
    pub(crate) public_key: &'a P256PublicKey,
    pub(crate) validity: Validity,
}

impl X509Authority {
    pub(crate) fn new(
        slot: SlotId,
        X509Certificates { own, carried, .. }: X509Certificates,
        signer: CertificateSigner,
    ) -> Result<Self, AuthorityError> {
        let issuer =
            rcgen::Issuer::from_ca_cert_der(&own.certificate, signer).map_err(|source| {
                AuthorityError::Build { what: "the issuer of X.509-SVIDs", source }
            })?;
        Ok(Self { slot, root: own, carried, issuer })
    }

    /// What stands between a leaf and the root: nothing below a root.
    pub(crate) fn carried(&self) -> &[CertificateDer<'static>] {
        &self.carried
    }

    pub(crate) fn slot(&self) -> &SlotId {
        &self.slot
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn ends_at(&self) -> Timestamp {
        self.root.validity.not_after
    }

    /// The times of an SVID minted at `now`: never longer than asked for, than the ceiling, or than the root.
    pub(crate) fn validity(
        &self,
        lifetime: Duration,
        ceiling: Duration,
        now: Timestamp,
    ) -> Result<Validity, AuthorityError> {
        let second = whole_second(now)?;
        let not_after = capped_end(&self.slot, lifetime.min(ceiling), self.ends_at(), second)?;
        let not_before =
            plus_seconds(second, -BACKDATED_SECONDS)?.max(self.root.validity.not_before);
        Ok(Validity { not_before, not_after })
    }

    /// Signs a leaf and checks it. Gives it with what stands between it and the bundle's root.
    pub(crate) fn mint(
        &self,
        leaf: &Leaf<'_>,
        bundle: &Bundle,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let params = leaf.params(random)?;
        self.issue(&params, leaf, bundle, now)
    }

    /// Signs whatever `params` say, and lets it out only if that is what `leaf` wants.
    fn issue(
        &self,
        params: &CertificateParams,
        leaf: &Leaf<'_>,
        bundle: &Bundle,
        now: Timestamp,
    ) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
        let certificate = params
            .signed_by(leaf.public_key, &self.issuer)
            .map_err(|source| AuthorityError::Build { what: "an X.509-SVID", source })?;
        let mut chain = vec![CertificateDer::from(certificate)];
        chain.extend_from_slice(&self.carried);
        check::check(&chain, leaf, &self.root.key_id, bundle, now).map_err(|source| {
            AuthorityError::SelfCheck { id: leaf.template.spiffe_id.clone(), source }
        })?;
        Ok(chain)
    }
}

impl Leaf<'_> {
    fn params(&self, random: &dyn Random) -> Result<CertificateParams, AuthorityError> {
        let failed = |source| AuthorityError::Build { what: "the names of an X.509-SVID", source };
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial_number(random)?);
        // An empty subject makes the names critical (X5-2): nobody can take anything else for the identity.
        params.distinguished_name = DistinguishedName::new();
        let uri = SanType::URI(self.template.spiffe_id.as_str().try_into().map_err(failed)?);
        params.subject_alt_names = vec![uri];
        for name in &self.template.dns_names {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into().map_err(failed)?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        self.validity.apply(&mut params)?;
        Ok(params)
    }
}

/// An SVID's identity has a path and is of the authority's own trust domain.
pub(crate) fn check_id(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), TemplateError> {
    if id.trust_domain() != trust_domain {
        return Err(TemplateError::OtherTrustDomain {
            id: id.clone(),
            trust_domain: trust_domain.clone(),
        });
    }
    if !id.has_path() {
        return Err(TemplateError::NoPath);
    }
    Ok(())
}

/// The end of what lasts `lifetime` from `second` on and is signed by the key in `slot`, which ends at `ends_at`.
pub(crate) fn capped_end(
    slot: &SlotId,
    lifetime: Duration,
    ends_at: Timestamp,
    second: Timestamp,
) -> Result<Timestamp, AuthorityError> {
    if lifetime.as_secs() == 0 {
        return Err(AuthorityError::Template(TemplateError::Lifetime));
    }
    if second >= ends_at {
        return Err(AuthorityError::Ended { slot: slot.clone(), at: ends_at });
    }
    let lifetime =
        i64::try_from(lifetime.as_secs()).map_err(|_range| AuthorityError::Time(second))?;
    Ok(plus_seconds(second, lifetime)?.min(ends_at))
}

#[cfg(test)]
mod tests;
