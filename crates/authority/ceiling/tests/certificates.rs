use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SigningKey as _,
};

use super::*;
use crate::{
    P256PublicKey, PrivateKeyPkcs8,
    certificate::Validity,
    signer::CertificateSigner,
    testing::{HOUR, later},
};

type Spoil<'a> = Box<dyn FnOnce(&mut CertificateParams) + 'a>;

/// A root that signs leaves within its ceiling, and whom it tells.
struct Desk {
    issuer: rcgen::Issuer<'static, CertificateSigner>,
    own_key: SigningKey,
    alarm: Arc<Alarm>,
    clock: FixedClock,
    leaf: P256PublicKey,
}

impl Desk {
    fn new() -> Self {
        let (config, alarm, clock) = watched();
        let own_key = key(KeyPurpose::X509Authority);
        let random = marque_testkit::SeededRandom::new(1);
        let der = crate::root::self_sign(&config, &own_key, &random, START).unwrap();
        let signer = CertificateSigner::for_leaves(own_key.clone(), &config, later(2 * 3600));
        let issuer = rcgen::Issuer::from_ca_cert_der(&der, signer).unwrap();
        let leaf = PrivateKeyPkcs8::generate().unwrap().1;
        Self { issuer, own_key, alarm, clock, leaf }
    }

    /// Signs a right leaf after one thing about it was spoilt; nothing but the signer looks at it.
    fn sign(&self, spoil: impl FnOnce(&mut CertificateParams)) -> Result<(), Vec<Breach>> {
        let mut params = leaf();
        spoil(&mut params);
        match params.signed_by(&self.leaf, &self.issuer) {
            Ok(_) => Ok(()),
            Err(_) => Err(told(&self.alarm)),
        }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns() -> SanType {
    SanType::DnsName("a.example.org".try_into().unwrap())
}

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri("spiffe://prod.example.org/agent/a")];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    valid(&mut params, 0, 3600);
    params
}

fn root() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("spiffe://prod.example.org")];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, 0, 24 * 3600);
    params
}

fn valid(params: &mut CertificateParams, from: u64, until: u64) {
    Validity { not_before: later(from), not_after: later(until) }.apply(params).unwrap();
}

#[test]
fn a_root_signs_nothing_but_leaves_of_its_trust_domain() {
    let desk = Desk::new();
    desk.sign(|_| ()).unwrap();
    desk.sign(|params| params.subject_alt_names.push(dns())).unwrap();
    let names: Vec<Spoil<'_>> = vec![
        Box::new(|p| p.subject_alt_names = vec![uri("spiffe://dev.example.org/a")]),
        Box::new(|p| p.subject_alt_names = vec![uri("spiffe://prod.example.org")]),
        Box::new(|p| p.subject_alt_names = vec![uri("https://prod.example.org/a")]),
        Box::new(|p| p.subject_alt_names.push(uri("spiffe://prod.example.org/b"))),
        Box::new(|p| {
            let mail = SanType::Rfc822Name("root@example.org".try_into().unwrap());
            p.subject_alt_names.push(mail);
        }),
        Box::new(|p| p.subject_alt_names.extend((0..33).map(|_| dns()))),
    ];
    let usages: Vec<Spoil<'_>> = vec![
        Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        Box::new(|p| p.is_ca = IsCa::NoCa),
        Box::new(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        Box::new(|p| p.key_usages.push(KeyUsagePurpose::CrlSign)),
        Box::new(|p| p.key_usages.clear()),
        Box::new(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning)),
        Box::new(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        Box::new(|p| {
            let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
            p.custom_extensions.push(extension);
        }),
    ];
    for (breach, cases) in [(Breach::Name, names), (Breach::Usage, usages)] {
        for (index, spoil) in cases.into_iter().enumerate() {
            assert_eq!(desk.sign(spoil).unwrap_err(), [breach], "case {index}");
        }
    }
}

#[test]
fn a_leaf_lasts_no_longer_than_the_ceiling_whatever_it_says_of_its_beginning() {
    let desk = Desk::new();
    let sign = |from, until| desk.sign(move |params| valid(params, from, until));
    // Ten seconds back-dated are part of every certificate.
    desk.clock.set(later(10));
    sign(0, 3610).unwrap();
    assert_eq!(sign(0, 3611).unwrap_err(), [Breach::Lifetime]);
    assert_eq!(sign(10, 5).unwrap_err(), [Breach::Lifetime]);
    // One that begins later ends too late all the same.
    sign(20, 3620).unwrap();
    assert_eq!(sign(30, 3630).unwrap_err(), [Breach::Lifetime]);
}

#[test]
fn a_leaf_does_not_outlive_its_root() {
    let desk = Desk::new();
    desk.clock.set(later(3600));
    desk.sign(|params| valid(params, 3600, 7200)).unwrap();
    desk.clock.set(later(3601));
    let outlives = desk.sign(|params| valid(params, 3601, 7201)).unwrap_err();
    assert_eq!(outlives, [Breach::OutlivesAuthority]);
}

#[test]
fn a_root_gives_no_leaf_to_its_own_key() {
    let desk = Desk::new();
    let own = P256PublicKey::from_point(desk.own_key.public_key()).unwrap();
    leaf().signed_by(&own, &desk.issuer).unwrap_err();
    assert_eq!(told(&desk.alarm), [Breach::PublicKey]);
}

#[test]
fn a_root_signs_no_bytes_that_are_no_certificate() {
    let desk = Desk::new();
    let (config, alarm, _clock) = watched();
    let signer = CertificateSigner::for_leaves(desk.own_key, &config, later(3600));
    for message in [b"".as_slice(), b"message", &[0x30, 0x80, 0, 0], &[0x30, 3, 2, 1, 0]] {
        signer.sign(message).unwrap_err();
        assert_eq!(told(&alarm), [Breach::Unreadable], "{message:?}");
    }
    // A request for a certificate is none either.
    CertificateParams::default().serialize_request(&signer).unwrap_err();
    assert_eq!(told(&alarm), [Breach::Unreadable]);
}

#[test]
fn a_key_certifies_itself_as_the_root_of_its_trust_domain_and_as_nothing_else() {
    let (config, alarm, _clock) = watched();
    let signer = CertificateSigner::for_root(key(KeyPurpose::X509Authority), &config);
    let certify = |spoil: Spoil<'_>| {
        let mut params = root();
        spoil(&mut params);
        params.self_signed(&signer).map(|_| ()).map_err(|_refused| told(&alarm))
    };
    certify(Box::new(|_| ())).unwrap();
    let cases: Vec<(Breach, Spoil<'_>)> = vec![
        (Breach::Name, Box::new(|p| p.subject_alt_names = vec![uri("spiffe://dev.example.org")])),
        (Breach::Usage, Box::new(|p| p.is_ca = IsCa::ExplicitNoCa)),
        (Breach::Usage, Box::new(|p| p.key_usages.push(KeyUsagePurpose::DigitalSignature))),
        (Breach::Usage, Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)))),
        (Breach::Usage, Box::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        (Breach::Lifetime, Box::new(|p| valid(p, 0, 24 * 3600 + 11))),
        (Breach::Lifetime, Box::new(|p| valid(p, 60, 24 * 3600 + 60))),
    ];
    for (index, (breach, spoil)) in cases.into_iter().enumerate() {
        assert_eq!(certify(spoil).unwrap_err(), [breach], "case {index}");
    }
    // Not for another key, and no leaf.
    let own = root();
    let issuer = rcgen::Issuer::from_params(&own, signer);
    let other = PrivateKeyPkcs8::generate().unwrap().1;
    root().signed_by(&other, &issuer).unwrap_err();
    assert_eq!(told(&alarm), [Breach::PublicKey]);
    leaf().signed_by(&other, &issuer).unwrap_err();
    assert_eq!(told(&alarm), [Breach::Usage]);
}

#[test]
fn what_an_authority_mints_is_within_its_own_ceiling() {
    use crate::testing::{House, jwt_template, wit_template, x509_template};

    let (config, alarm, clock) = watched();
    let authority = House::default().open_with(config, START).unwrap();
    for hours in 0..24 {
        let now = START + hours * HOUR;
        clock.set(now);
        authority.mint_x509_svid(&x509_template("/agent/a"), now).unwrap();
        authority.mint_jwt_svid(&jwt_template("/agent/a"), now).unwrap();
        authority.mint_wit_svid(&wit_template("/agent/a"), now).unwrap();
    }
    assert!(told(&alarm).is_empty());
    // The layer above believes in another time; the key does not.
    let ahead = START + 20 * HOUR;
    clock.set(START);
    assert!(authority.mint_jwt_svid(&jwt_template("/agent/a"), ahead).is_err());
    assert!(authority.mint_x509_svid(&x509_template("/agent/a"), ahead).is_err());
    assert_eq!(told(&alarm), [Breach::Lifetime, Breach::Lifetime]);
}
