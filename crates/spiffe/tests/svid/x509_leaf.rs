use marque_spiffe::{SpiffeIdError, UnverifiedX509Svid, X509SvidError};
use marque_testkit::ScratchTrustDomain;
use marque_testkit::rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use proptest::prelude::*;

/// Spoils the parameters of a correct leaf and reads the result.
fn parse(spoil: impl FnOnce(&mut CertificateParams)) -> Result<UnverifiedX509Svid, X509SvidError> {
    let domain = ScratchTrustDomain::new("example.org");
    let mut params = domain.leaf_params(&domain.id("/agent/a"));
    spoil(&mut params);
    UnverifiedX509Svid::parse_chain(domain.root().issue(&params).chain)
}

fn error(spoil: impl FnOnce(&mut CertificateParams)) -> X509SvidError {
    parse(spoil).unwrap_err()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn extension(oid: &[u64], critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

#[test]
fn x5_1_there_is_exactly_one_uri_and_other_names_do_not_matter() {
    assert_eq!(error(|leaf| leaf.subject_alt_names.clear()), X509SvidError::NoUri);
    let dns = || SanType::DnsName("api.example.org".try_into().unwrap());
    assert_eq!(error(|leaf| leaf.subject_alt_names = vec![dns()]), X509SvidError::NoUri);
    for second in
        ["spiffe://example.org/agent/b", "spiffe://example.org/agent/a", "https://example.org/"]
    {
        assert_eq!(
            error(|leaf| leaf.subject_alt_names.push(uri(second))),
            X509SvidError::SecondUri(0),
            "{second}"
        );
        assert_eq!(
            error(|leaf| leaf.subject_alt_names.insert(0, uri(second))),
            X509SvidError::SecondUri(0),
            "{second}"
        );
    }
    assert_eq!(
        parse(|leaf| leaf.subject_alt_names.insert(0, dns())).unwrap().id().as_str(),
        "spiffe://example.org/agent/a"
    );
}

#[test]
fn the_uri_is_a_spiffe_id_to_the_letter() {
    for (text, source) in [
        ("https://example.org/agent/a", SpiffeIdError::Scheme),
        ("SPIFFE://example.org/agent/a", SpiffeIdError::SchemeCase),
        ("spiffe://example.org/agent/a/", SpiffeIdError::TrailingSlash),
        ("spiffe://example.org/agent/%61", SpiffeIdError::PercentEncoding),
        ("spiffe://example.org:443/agent/a", SpiffeIdError::Port),
    ] {
        let found = error(|leaf| leaf.subject_alt_names = vec![uri(text)]);
        assert_eq!(found, X509SvidError::Id { position: 0, source }, "{text}");
    }
}

#[test]
fn x5_2_the_id_of_a_leaf_has_a_path() {
    let found = error(|leaf| leaf.subject_alt_names = vec![uri("spiffe://example.org")]);
    assert_eq!(found, X509SvidError::IdWithoutPath);
}

#[test]
fn x5_2_without_a_subject_the_names_are_critical() {
    let san = |critical| {
        let id = b"spiffe://example.org/agent/a";
        let content = [&[0x30, 30, 0x86, 28][..], id].concat();
        move |leaf: &mut CertificateParams| {
            leaf.distinguished_name = DistinguishedName::new();
            leaf.subject_alt_names.clear();
            leaf.custom_extensions = vec![extension(&[2, 5, 29, 17], critical, &content)];
        }
    };
    assert_eq!(error(san(false)), X509SvidError::NamesNotCritical);
    assert!(parse(san(true)).is_ok());
}

#[test]
fn x5_3_a_signing_certificate_is_no_leaf() {
    let domain = ScratchTrustDomain::new("example.org");
    let root = vec![domain.root().certificate().clone()];
    assert_eq!(UnverifiedX509Svid::parse_chain(root).unwrap_err(), X509SvidError::LeafIsCa);
}

#[test]
fn x5_4_a_leaf_is_no_ca() {
    assert_eq!(
        error(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        X509SvidError::LeafIsCa
    );
    assert!(parse(|leaf| leaf.is_ca = IsCa::ExplicitNoCa).is_ok());
}

#[test]
fn x5_5_the_key_usage_is_there_and_critical() {
    assert_eq!(error(|leaf| leaf.key_usages.clear()), X509SvidError::NoKeyUsage(0));
    let digital_signature = [3, 2, 7, 0x80];
    let custom = |critical| {
        move |leaf: &mut CertificateParams| {
            leaf.key_usages.clear();
            leaf.custom_extensions = vec![extension(&[2, 5, 29, 15], critical, &digital_signature)];
        }
    };
    assert_eq!(error(custom(false)), X509SvidError::KeyUsageNotCritical(0));
    assert!(parse(custom(true)).is_ok());
}

#[test]
fn x5_5_a_leaf_makes_signatures_and_signs_neither_certificates_nor_lists() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign, KeyEncipherment};
    for wrong in [
        vec![KeyEncipherment],
        vec![DigitalSignature, KeyCertSign],
        vec![DigitalSignature, CrlSign],
    ] {
        assert_eq!(
            error(|leaf| leaf.key_usages = wrong.clone()),
            X509SvidError::LeafKeyUsage,
            "{wrong:?}"
        );
    }
    assert!(
        parse(|leaf| leaf.key_usages = vec![DigitalSignature, KeyEncipherment, KeyAgreement])
            .is_ok()
    );
}

#[test]
fn x5_6_an_extended_key_usage_has_both_server_and_client() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for wrong in [vec![ServerAuth], vec![ClientAuth], vec![CodeSigning], vec![Any]] {
        let found = error(|leaf| leaf.extended_key_usages = wrong.clone());
        assert_eq!(found, X509SvidError::ExtendedKeyUsage(0), "{wrong:?}");
    }
    assert!(parse(|leaf| leaf.extended_key_usages.clear()).is_ok());
    assert!(parse(|leaf| leaf.extended_key_usages.push(CodeSigning)).is_ok());
}

#[test]
fn an_unknown_critical_extension_is_refused_and_an_uncritical_one_is_not() {
    let custom = |critical| {
        move |leaf: &mut CertificateParams| {
            leaf.custom_extensions =
                vec![extension(&[1, 3, 6, 1, 4, 1, 55555, 1], critical, &[5, 0])]
        }
    };
    assert_eq!(error(custom(true)), X509SvidError::UnknownExtension(0));
    assert!(parse(custom(false)).is_ok());
}

#[test]
fn an_extension_that_comes_twice_is_refused() {
    let found = error(|leaf| {
        leaf.custom_extensions = vec![extension(&[2, 5, 29, 15], true, &[3, 2, 7, 0x80])]
    });
    assert_eq!(found, X509SvidError::DuplicateExtension(0));
}

#[test]
fn a_chain_has_one_to_six_certificates_of_bounded_size() {
    let domain = ScratchTrustDomain::new("example.org");
    let leaf = domain.x509_svid(&domain.id("/agent/a")).chain.remove(0);
    let chain = |length| vec![leaf.clone(); length];
    assert_eq!(UnverifiedX509Svid::parse_chain(Vec::new()).unwrap_err(), X509SvidError::Empty);
    assert_eq!(UnverifiedX509Svid::parse_der_concat(&[]).unwrap_err(), X509SvidError::Empty);
    assert!(UnverifiedX509Svid::parse_chain(chain(6)).is_ok());
    assert_eq!(
        UnverifiedX509Svid::parse_chain(chain(7)).unwrap_err(),
        X509SvidError::TooManyCertificates
    );
    assert!(UnverifiedX509Svid::parse_der_concat(&leaf.repeat(6)).is_ok());
    assert_eq!(
        UnverifiedX509Svid::parse_der_concat(&leaf.repeat(7)).unwrap_err(),
        X509SvidError::TooManyCertificates
    );
    let big = |bytes: usize| {
        error(|leaf| {
            leaf.custom_extensions =
                vec![extension(&[1, 3, 6, 1, 4, 1, 55555, 1], false, &vec![0; bytes])]
        })
    };
    assert_eq!(big(16 * 1024), X509SvidError::TooLong(0));
}

#[test]
fn bytes_before_between_or_after_certificates_are_refused() {
    let domain = ScratchTrustDomain::new("example.org");
    let leaf = domain.x509_svid(&domain.id("/agent/a")).chain.remove(0).to_vec();
    assert_eq!(
        UnverifiedX509Svid::parse_der_concat(&[&leaf[..], &leaf].concat()).unwrap().id().path(),
        "/agent/a"
    );
    assert_eq!(
        UnverifiedX509Svid::parse_der_concat(&[&leaf[..], &[0]].concat()).unwrap_err(),
        X509SvidError::Malformed(1)
    );
    assert_eq!(
        UnverifiedX509Svid::parse_der_concat(&[&[0][..], &leaf].concat()).unwrap_err(),
        X509SvidError::Malformed(0)
    );
    let trailing = vec![[&leaf[..], &[0]].concat().into()];
    assert_eq!(UnverifiedX509Svid::parse_chain(trailing).unwrap_err(), X509SvidError::Malformed(0));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
        drop(UnverifiedX509Svid::parse_der_concat(&bytes));
    }
}
