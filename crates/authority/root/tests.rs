use std::time::Duration;

use marque_keys::{KeyAlgorithm, KeyManager, KeyPurpose, MemoryKeys, SlotId};
use marque_testkit::{START, SeededRandom};
use rcgen::{
    CidrSubnet, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, NameConstraints,
};

use super::*;
use crate::testing::{House, config, later};

fn key() -> SigningKey {
    MemoryKeys::new()
        .generate(&SlotId::first(KeyPurpose::X509Authority), KeyAlgorithm::EcdsaP256)
        .unwrap()
}

fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey::from_p256_point(key.public_key().try_into().unwrap()).unwrap()
}

fn read(der: &[u8], key: &SigningKey) -> Result<Root, RootProblem> {
    let config = config("prod.example.org");
    Root::read(der.to_vec(), &config.trust_domain, config.environment, &public_key(key))
}

#[test]
fn a_root_says_who_it_is_and_what_it_may_sign() {
    let key = key();
    let der = self_sign(&config("prod.example.org"), &key, &SeededRandom::new(1), START).unwrap();
    let certificate = certificate::read(&der).unwrap();
    assert_eq!(
        certificate.subject().to_string(),
        "O=prod.example.org, OU=production, CN=x509-authority-a-1"
    );
    assert_eq!(certificate.raw_serial().len(), 16);
    let extensions = Extensions::read(&certificate).unwrap();
    let (critical, constraints) = extensions.basic_constraints.unwrap();
    assert_eq!((critical, constraints.ca, constraints.path_len_constraint), (true, true, Some(0)));
    let (critical, key_usage) = extensions.key_usage.unwrap();
    assert_eq!((critical, key_usage.to_string().as_str()), (true, "Key Cert Sign, CRL Sign"));
    let (_, names) = extensions.names.unwrap();
    assert!(matches!(names, [GeneralName::URI("spiffe://prod.example.org")]), "{names:?}");
    assert!(certificate.name_constraints().unwrap().is_none());

    let root = read(&der, &key).unwrap();
    assert_eq!(
        root.validity,
        Validity { not_before: START - Duration::from_secs(10), not_after: later(24 * 3600) }
    );
    assert_eq!(root.key_id.len(), 20);
}

#[test]
fn two_roots_never_share_a_serial_number() {
    let (key, random) = (key(), SeededRandom::new(1));
    let serial = || {
        let der = self_sign(&config("prod.example.org"), &key, &random, START).unwrap();
        certificate::read(&der).unwrap().raw_serial().to_vec()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn a_trust_domain_too_long_for_an_organisation_is_named_by_its_uri_alone() {
    for (length, organisation) in [(64, true), (65, false), (255, false)] {
        let name = "x".repeat(length);
        let config = config(&name);
        let house = House::default();
        let authority = house.open_with(config, START).unwrap();
        let bundle = authority.bundle();
        let certificate = certificate::read(&bundle.x509_authorities()[0]).unwrap();
        assert_eq!(
            certificate.subject().iter_organization().next().is_some(),
            organisation,
            "{length}"
        );
    }
}

/// Spoils one thing about the parameters of a right root.
fn spoiled(key: &SigningKey, spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let config = config("prod.example.org");
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&config.trust_domain, config.environment, key);
    params.subject_alt_names = vec![SanType::URI("spiffe://prod.example.org".try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Validity { not_before: START, not_after: later(60) }.apply(&mut params).unwrap();
    spoil(&mut params);
    params.self_signed(&CertificateSigner::unbounded(key.clone())).unwrap().der().to_vec()
}

type Spoil<'a> = Box<dyn FnOnce(&mut CertificateParams) + 'a>;

/// Each change to a good root is refused for its own reason.
fn assert_refused(cases: Vec<(RootProblem, Spoil<'_>)>) {
    let key = key();
    read(&spoiled(&key, |_| ()), &key).unwrap();
    for (index, (problem, spoil)) in cases.into_iter().enumerate() {
        assert_eq!(read(&spoiled(&key, spoil), &key).unwrap_err(), problem, "case {index}");
    }
}

#[test]
fn a_root_of_another_name_or_environment_is_refused() {
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let name = RootProblem::Name("prod.example.org".parse().unwrap());
    let environment = RootProblem::Environment(Environment::Production);
    assert_refused(vec![
        (
            name.clone(),
            Box::new(|params| params.subject_alt_names = vec![uri("spiffe://prod.example.org/ca")]),
        ),
        (
            name.clone(),
            Box::new(|params| params.subject_alt_names = vec![uri("spiffe://dev.example.org")]),
        ),
        (
            name.clone(),
            Box::new(|params| params.subject_alt_names.push(uri("spiffe://prod.example.org"))),
        ),
        (
            name.clone(),
            Box::new(|params| {
                params.subject_alt_names.push(SanType::DnsName("a.org".try_into().unwrap()))
            }),
        ),
        (name, Box::new(|params| params.subject_alt_names.clear())),
        (
            environment.clone(),
            Box::new(|params| {
                params.distinguished_name.push(DnType::OrganizationalUnitName, "non-production");
            }),
        ),
        (
            environment,
            Box::new(|params| {
                params.distinguished_name.remove(DnType::OrganizationalUnitName);
            }),
        ),
    ]);
}

#[test]
fn a_root_of_another_usage_or_with_other_extensions_is_refused() {
    assert_refused(vec![
        (RootProblem::Usage, Box::new(|params| params.is_ca = IsCa::ExplicitNoCa)),
        (RootProblem::Usage, Box::new(|params| params.key_usages.clear())),
        (RootProblem::Usage, Box::new(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign])),
        (
            RootProblem::Usage,
            Box::new(|params| params.key_usages.push(KeyUsagePurpose::DigitalSignature)),
        ),
        (
            RootProblem::Usage,
            Box::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
        ),
        (
            RootProblem::Extensions,
            Box::new(|params| {
                let subtree =
                    GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8));
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![subtree],
                    excluded_subtrees: Vec::new(),
                });
            }),
        ),
        (
            RootProblem::Extensions,
            Box::new(|params| {
                params.custom_extensions.push(uris_of(&"example.org".parse().unwrap()));
            }),
        ),
        (
            RootProblem::Extensions,
            Box::new(|params| {
                params
                    .custom_extensions
                    .push(CustomExtension::from_oid_content(&[2, 5, 29, 99], vec![5, 0]));
            }),
        ),
    ]);
}

#[test]
fn a_root_that_its_own_key_did_not_sign_is_refused() {
    let (one, other) = (key(), key());
    let config = config("prod.example.org");
    let der = self_sign(&config, &one, &SeededRandom::new(1), START).unwrap();
    assert_eq!(read(&der, &other).unwrap_err(), RootProblem::PublicKey);

    let mut forged = der.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(read(&forged, &one).unwrap_err(), RootProblem::Signature);

    // Signed by another root of the same names: cross-signed, not self-signed.
    let issuer = rcgen::Issuer::from_ca_cert_der(&der, CertificateSigner::unbounded(one)).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&config.trust_domain, config.environment, &other);
    let crossed = params.signed_by(&CertificateSigner::unbounded(other.clone()), &issuer).unwrap();
    assert_eq!(read(crossed.der(), &other).unwrap_err(), RootProblem::Signature);
}
