//! What a key signs for servers below, whatever it is asked for.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::*;
use crate::{
    P256PublicKey,
    certificate::Validity,
    signer::CertificateSigner,
    testing::{HOUR, later},
};

/// An authority with room for one more below those that it signs, which ends after two hours.
struct Desk {
    issuer: rcgen::Issuer<'static, CertificateSigner>,
    own_key: SigningKey,
    alarm: Arc<Alarm>,
    clock: FixedClock,
}

impl Desk {
    fn new(max_lifetime: Option<Duration>) -> Self {
        let (config, alarm, clock) = watched();
        let config = crate::AuthorityConfig {
            path_length: 2,
            max_downstream_lifetime: max_lifetime,
            ..config
        };
        let own_key = key(KeyPurpose::X509Authority);
        let random = marque_testkit::SeededRandom::new(1);
        let der = crate::root::self_sign(&config, &own_key, &random, START).unwrap();
        let ends_at = later(2 * 3600);
        let signer = CertificateSigner::for_downstream(own_key.clone(), &config, ends_at, 1);
        let issuer = rcgen::Issuer::from_ca_cert_der(&der, signer).unwrap();
        Self { issuer, own_key, alarm, clock }
    }

    /// Signs a right certificate after one thing about it was spoilt; nothing but the signer looks at it.
    fn sign(&self, spoil: impl FnOnce(&mut CertificateParams)) -> Result<(), Vec<Breach>> {
        let mut params = authority();
        spoil(&mut params);
        let signed = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer);
        signed.map(|_| ()).map_err(|_refused| told(&self.alarm))
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn named(units: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for unit in units {
        name.push(DnType::OrganizationalUnitName, *unit);
    }
    name.push(DnType::CommonName, "below");
    name
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&["production"]);
    params.subject_alt_names = vec![uri("spiffe://prod.example.org")];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Validity { not_before: START, not_after: later(3600) }.apply(&mut params).unwrap();
    params
}

#[test]
fn a_key_signs_for_servers_below_their_authorities_and_nothing_else() {
    let desk = Desk::new(Some(HOUR));
    desk.sign(|_| ()).unwrap();
    desk.sign(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))).unwrap();
    type Spoil = fn(&mut CertificateParams);
    let cases: [(Breach, Spoil); 13] = [
        (Breach::Usage, |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(2))),
        (Breach::Usage, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        (Breach::Usage, |p| p.is_ca = IsCa::ExplicitNoCa),
        (Breach::Usage, |p| p.key_usages.push(KeyUsagePurpose::DigitalSignature)),
        (Breach::Usage, |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        (Breach::Name, |p| p.distinguished_name = named(&[])),
        (Breach::Name, |p| p.distinguished_name = named(&["non-production"])),
        (Breach::Name, |p| p.subject_alt_names = vec![uri("spiffe://dev.example.org")]),
        (Breach::Name, |p| p.subject_alt_names = vec![uri("spiffe://prod.example.org/a")]),
        (Breach::Name, |p| p.subject_alt_names.push(uri("spiffe://prod.example.org"))),
        (Breach::Name, |p| p.subject_alt_names.clear()),
        (Breach::Lifetime, |p| {
            Validity { not_before: START, not_after: later(3611) }.apply(p).unwrap();
        }),
        (Breach::Lifetime, |p| {
            Validity { not_before: later(60), not_after: later(3660) }.apply(p).unwrap();
        }),
    ];
    for (index, (breach, spoil)) in cases.into_iter().enumerate() {
        assert_eq!(desk.sign(spoil).unwrap_err(), [breach], "case {index}");
    }
}

#[test]
fn an_authority_below_passes_for_no_root_and_does_not_outlive_its_own() {
    let desk = Desk::new(Some(HOUR));
    let own = P256PublicKey::from_point(desk.own_key.public_key()).unwrap();
    authority().signed_by(&own, &desk.issuer).unwrap_err();
    assert_eq!(told(&desk.alarm), [Breach::PublicKey]);
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "prod.example.org");
    name.push(DnType::OrganizationalUnitName, "production");
    name.push(DnType::CommonName, "x509-authority-a-1");
    let refused = desk.sign(|params| params.distinguished_name = name).unwrap_err();
    assert_eq!(refused, [Breach::Name]);
    desk.clock.set(later(3601));
    let outlives = desk.sign(|params| {
        Validity { not_before: later(3601), not_after: later(7201) }.apply(params).unwrap();
    });
    assert_eq!(outlives.unwrap_err(), [Breach::OutlivesAuthority]);
}

#[test]
fn a_key_signs_for_nobody_where_nobody_is_below() {
    assert_eq!(Desk::new(None).sign(|_| ()).unwrap_err(), [Breach::Lifetime]);
}
