use std::time::Duration;

use marque_keys::{KeyAlgorithm, KeyManager, KeyPurpose, MemoryKeys, SlotId};
use marque_spiffe::{Random, RandomError, X509SvidError};
use marque_testkit::{START, SeededRandom};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

use super::*;
use crate::{
    AuthorityError, P256PublicKey, PrivateKeyPkcs8, X509SvidTemplate,
    root::Root,
    signer::CertificateSigner,
    snapshot::X509Certificates,
    testing::{HOUR, config, x509_template},
    x509::X509Authority,
};

/// A root with its key, its bundle, and a wish.
struct Desk {
    bundle: Bundle,
    authority: X509Authority,
    template: X509SvidTemplate,
    public_key: P256PublicKey,
}

impl Desk {
    fn new() -> Self {
        Self::signing_with(|key| key)
    }

    /// A desk whose certificates are signed with what `choose` makes of the root's key.
    fn signing_with(
        choose: impl FnOnce(marque_keys::SigningKey) -> marque_keys::SigningKey,
    ) -> Self {
        let config = config("prod.example.org");
        let slot = SlotId::first(KeyPurpose::X509Authority);
        let key = MemoryKeys::new().generate(&slot, KeyAlgorithm::EcdsaP256).unwrap();
        let der = crate::root::self_sign(&config, &key, &SeededRandom::new(1), START).unwrap();
        let public =
            marque_jose::PublicKey::from_p256_point(key.public_key().try_into().unwrap()).unwrap();
        let root =
            Root::read(der.to_vec(), &config.trust_domain, config.environment, &public).unwrap();
        let certificates =
            X509Certificates { own: root, carried: Vec::new(), anchors: vec![der.clone()] };
        let bundle = Bundle::builder(config.trust_domain).x509_authority(der).unwrap().build();
        let authority =
            X509Authority::new(slot, certificates, CertificateSigner::unbounded(choose(key)))
                .unwrap();
        let dns_names = vec!["api.example.org".parse().unwrap()];
        let template = X509SvidTemplate { dns_names, ..x509_template("/agent/a") };
        Self { bundle, authority, template, public_key: PrivateKeyPkcs8::generate().unwrap().1 }
    }

    fn leaf(&self) -> Leaf<'_> {
        let validity = self.authority.validity(HOUR, HOUR, START).unwrap();
        Leaf { template: &self.template, public_key: &self.public_key, validity }
    }

    fn issue_spoiled(
        &self,
        spoil: impl FnOnce(&mut CertificateParams),
    ) -> Result<(), SelfCheckError> {
        let mut params = self.leaf().params(&SeededRandom::new(2)).unwrap();
        spoil(&mut params);
        match self.authority.issue(&params, &self.leaf(), &self.bundle, START) {
            Ok(_) => Ok(()),
            Err(AuthorityError::SelfCheck { source, .. }) => Err(source),
            Err(other) => panic!("{other:?}"),
        }
    }
}

type Spoil<'a> = Box<dyn FnOnce(&mut CertificateParams) + 'a>;

#[test]
fn a_certificate_signed_with_the_wrong_key_does_not_leave() {
    let slot = SlotId::first(KeyPurpose::X509Authority);
    let desk =
        Desk::signing_with(|_| MemoryKeys::new().generate(&slot, KeyAlgorithm::EcdsaP256).unwrap());
    let refused = desk.issue_spoiled(|_| ()).unwrap_err();
    assert!(
        matches!(refused, SelfCheckError::X509(X509SvidError::UnknownAuthority(0))),
        "{refused:?}"
    );
}

#[test]
fn a_certificate_that_no_verifier_should_take_does_not_leave() {
    let desk = Desk::new();
    desk.issue_spoiled(|_| ()).unwrap();
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let cases: Vec<(X509SvidError, Spoil<'_>)> = vec![
        (
            X509SvidError::LeafIsCa,
            Box::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            X509SvidError::LeafKeyUsage,
            Box::new(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        ),
        (
            X509SvidError::LeafKeyUsage,
            Box::new(|params| params.key_usages.push(KeyUsagePurpose::CrlSign)),
        ),
        (X509SvidError::NoKeyUsage(0), Box::new(|params| params.key_usages.clear())),
        (
            X509SvidError::SecondUri(0),
            Box::new(|params| params.subject_alt_names.push(uri("spiffe://prod.example.org/b"))),
        ),
        (
            X509SvidError::NoUri,
            Box::new(|params| {
                params.subject_alt_names.remove(0);
            }),
        ),
        (
            X509SvidError::IdWithoutPath,
            Box::new(|params| params.subject_alt_names = vec![uri("spiffe://prod.example.org")]),
        ),
        (
            X509SvidError::ExtendedKeyUsage(0),
            Box::new(|params| {
                params.extended_key_usages.pop();
            }),
        ),
        (
            X509SvidError::OtherTrustDomain("dev.example.org".parse().unwrap()),
            Box::new(|params| {
                params.subject_alt_names = vec![uri("spiffe://dev.example.org/agent/a")];
            }),
        ),
    ];
    for (index, (expected, spoil)) in cases.into_iter().enumerate() {
        match desk.issue_spoiled(spoil) {
            Err(SelfCheckError::X509(error)) => assert_eq!(error, expected, "case {index}"),
            other => panic!("case {index}: {other:?}"),
        }
    }
}

/// Each change to what is signed is found in its own fact.
fn assert_found(desk: &Desk, cases: Vec<(&str, Spoil<'_>)>) {
    for (index, (fact, spoil)) in cases.into_iter().enumerate() {
        match desk.issue_spoiled(spoil) {
            Err(SelfCheckError::Differs(found)) => assert_eq!(found, fact, "case {index}"),
            other => panic!("case {index}, {fact}: {other:?}"),
        }
    }
}

#[test]
fn a_valid_certificate_of_other_times_or_subject_does_not_leave() {
    let desk = Desk::new();
    let leaf = desk.leaf();
    let shifted = |not_before, not_after| {
        move |params: &mut CertificateParams| {
            Validity { not_before, not_after }.apply(params).unwrap()
        }
    };
    let Validity { not_before, not_after } = leaf.validity;
    let cases: Vec<(&str, Spoil<'_>)> = vec![
        (
            "SPIFFE ID",
            Box::new(|params| {
                params.subject_alt_names[0] =
                    SanType::URI("spiffe://prod.example.org/agent/b".try_into().unwrap());
            }),
        ),
        ("validity", Box::new(shifted(not_before, not_after + Duration::from_secs(1)))),
        ("validity", Box::new(shifted(not_before - Duration::from_secs(1), not_after))),
        (
            "subject",
            Box::new(|params| params.distinguished_name.push(DnType::CommonName, "somebody")),
        ),
        ("serial number", Box::new(|params| params.serial_number = Some(1_u64.into()))),
    ];
    assert_found(&desk, cases);
}

#[test]
fn a_valid_certificate_of_other_names_does_not_leave() {
    let cases: Vec<(&str, Spoil<'_>)> = vec![
        (
            "set of names",
            Box::new(|params| {
                params.subject_alt_names.pop();
            }),
        ),
        (
            "set of names",
            Box::new(|params| {
                params.subject_alt_names.push(SanType::DnsName("b.org".try_into().unwrap()))
            }),
        ),
        (
            "set of names",
            Box::new(|params| {
                params.subject_alt_names[1] = SanType::DnsName("b.org".try_into().unwrap())
            }),
        ),
        (
            "set of names",
            Box::new(|params| {
                params.subject_alt_names.push(SanType::Rfc822Name("a@b.org".try_into().unwrap()))
            }),
        ),
        ("set of names", Box::new(|params| params.subject_alt_names.swap(0, 1))),
    ];
    assert_found(&Desk::new(), cases);
}

#[test]
fn a_valid_certificate_of_other_usages_or_extensions_does_not_leave() {
    let cases: Vec<(&str, Spoil<'_>)> = vec![
        ("set of usages", Box::new(|params| params.key_usages.push(KeyUsagePurpose::KeyAgreement))),
        ("set of usages", Box::new(|params| params.extended_key_usages.clear())),
        (
            "set of usages",
            Box::new(|params| {
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning)
            }),
        ),
        ("set of usages", Box::new(|params| params.is_ca = IsCa::NoCa)),
        (
            "authority key id",
            Box::new(|params| params.use_authority_key_identifier_extension = false),
        ),
        (
            "set of extensions",
            Box::new(|params| {
                params
                    .custom_extensions
                    .push(CustomExtension::from_oid_content(&[2, 5, 29, 99], vec![5, 0]));
            }),
        ),
    ];
    assert_found(&Desk::new(), cases);
}

#[test]
fn a_certificate_for_another_public_key_does_not_leave() {
    let desk = Desk::new();
    let certificate =
        desk.authority.mint(&desk.leaf(), &desk.bundle, &SeededRandom::new(2), START).unwrap();
    let other = PrivateKeyPkcs8::generate().unwrap().1;
    let wanted = Leaf { public_key: &other, ..desk.leaf() };
    let refused =
        check(&certificate, &wanted, &desk.authority.root.key_id, &desk.bundle, START).unwrap_err();
    assert!(matches!(refused, SelfCheckError::Differs("public key")), "{refused:?}");
}

#[derive(Debug)]
struct NoRandom;

impl Random for NoRandom {
    fn fill(&self, _out: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn without_randomness_nothing_is_minted() {
    let desk = Desk::new();
    let error = desk.authority.mint(&desk.leaf(), &desk.bundle, &NoRandom, START).unwrap_err();
    assert!(matches!(error, AuthorityError::Random(_)), "{error:?}");
}
