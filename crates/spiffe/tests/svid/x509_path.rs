use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use marque_jose::sha256;
use marque_spiffe::{Bundle, UnverifiedX509Svid, X509Svid, X509SvidError};
use marque_testkit::rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use marque_testkit::{START, ScratchCa, ScratchTrustDomain, ScratchX509Svid};
use serde_json::Value;

fn domain() -> ScratchTrustDomain {
    ScratchTrustDomain::new("example.org")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START.as_second() + seconds).unwrap()
}

/// The bundle of one authority under the name of `domain`.
fn bundle(domain: &ScratchTrustDomain, authority: &ScratchCa) -> Bundle {
    let builder = Bundle::builder(domain.trust_domain().clone());
    builder.x509_authority(authority.certificate().clone()).unwrap().build()
}

/// A correct leaf under a chain of authorities, the first of which is the root and stays out of the chain.
fn leaf_below(domain: &ScratchTrustDomain, authorities: &[&ScratchCa]) -> ScratchX509Svid {
    let mut svid = authorities.last().unwrap().issue(&domain.leaf_params(&domain.id("/agent/a")));
    svid.chain
        .extend(authorities[1..].iter().rev().map(|authority| authority.certificate().clone()));
    svid
}

fn verify(svid: ScratchX509Svid, bundle: &Bundle) -> Result<X509Svid, X509SvidError> {
    UnverifiedX509Svid::parse_chain(svid.chain)?.verify(bundle, START)
}

/// Verifies a leaf below an intermediate that `spoil` has changed.
fn below_intermediate(
    spoil: impl FnOnce(&mut CertificateParams),
) -> Result<X509Svid, X509SvidError> {
    let domain = domain();
    let mut params = domain.ca_params();
    params.distinguished_name.push(DnType::CommonName, "intermediate");
    spoil(&mut params);
    let intermediate = domain.root().intermediate(params);
    verify(leaf_below(&domain, &[domain.root(), &intermediate]), &domain.bundle())
}

/// Verifies a leaf below a root that `spoil` has changed.
fn below_root(spoil: impl FnOnce(&mut CertificateParams)) -> Result<X509Svid, X509SvidError> {
    let domain = domain();
    let mut params = domain.ca_params();
    spoil(&mut params);
    let root = ScratchCa::root(params);
    verify(leaf_below(&domain, &[&root]), &bundle(&domain, &root))
}

#[test]
fn a_correct_leaf_verifies() {
    let domain = domain();
    let svid = domain.x509_svid(&domain.id("/agent/a"));
    let (der, now) = (svid.chain[0].clone(), START);
    let verified =
        UnverifiedX509Svid::parse_der_concat(&der).unwrap().verify(&domain.bundle(), now).unwrap();
    assert_eq!(*verified.id(), domain.id("/agent/a"));
    assert_eq!((verified.leaf(), verified.thumbprint()), (&der, sha256(&der)));
    assert_eq!((verified.not_before(), verified.not_after()), (at(-10), at(3600)));
    assert!(verified.public_key().point().is_some());
}

#[test]
fn x5_7_intermediates_are_followed_in_their_order() {
    let domain = domain();
    let first = domain.root().intermediate(domain.ca_params());
    let second = first.intermediate(domain.ca_params());
    let svid = leaf_below(&domain, &[domain.root(), &first, &second]);
    assert!(verify(svid.clone(), &domain.bundle()).is_ok());

    let mut swapped = svid.clone();
    swapped.chain.swap(1, 2);
    assert_eq!(verify(swapped, &domain.bundle()).unwrap_err(), X509SvidError::NotIssued(0));
    let mut gap = svid.clone();
    gap.chain.remove(1);
    assert_eq!(verify(gap, &domain.bundle()).unwrap_err(), X509SvidError::NotIssued(0));
    let mut open = svid;
    open.chain.pop();
    assert_eq!(verify(open, &domain.bundle()).unwrap_err(), X509SvidError::UnknownAuthority(1));
}

/// What the signature of a certificate does not cover counts too.
#[test]
fn a_chain_with_any_bit_changed_neither_panics_nor_verifies() {
    let domain = domain();
    let intermediate = domain.root().intermediate(domain.ca_params());
    let chain = leaf_below(&domain, &[domain.root(), &intermediate]).chain;
    let der = chain.iter().flat_map(|one| one.iter().copied()).collect::<Vec<_>>();
    let verified = |der: &[u8]| {
        UnverifiedX509Svid::parse_der_concat(der)
            .and_then(|svid| svid.verify(&domain.bundle(), at(0)))
    };
    verified(&der).unwrap();
    for position in 0..der.len() {
        let mut changed = der.clone();
        for bit in 0..8 {
            changed[position] = der[position] ^ (1 << bit);
            assert!(verified(&changed).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn what_comes_after_the_authority_is_not_used() {
    let domain = domain();
    let mut svid = domain.x509_svid(&domain.id("/agent/a"));
    svid.chain.push(domain.root().certificate().clone());
    svid.chain.push(ScratchTrustDomain::new("other.example.org").root().certificate().clone());
    assert!(verify(svid, &domain.bundle()).is_ok());
}

#[test]
fn an_intermediate_may_be_the_authority_itself() {
    let domain = domain();
    let intermediate = domain.root().intermediate(domain.ca_params());
    let svid = leaf_below(&domain, &[&intermediate]);
    assert!(verify(svid, &bundle(&domain, &intermediate)).is_ok());
}

#[test]
fn x5_7_a_leaf_of_another_authority_of_the_same_name_is_refused() {
    let (ours, impostor) = (domain(), domain());
    let svid = impostor.x509_svid(&impostor.id("/agent/a"));
    assert_eq!(
        verify(svid.clone(), &ours.bundle()).unwrap_err(),
        X509SvidError::UnknownAuthority(0)
    );
    let mut with_its_root = svid;
    with_its_root.chain.push(impostor.root().certificate().clone());
    assert_eq!(
        verify(with_its_root, &ours.bundle()).unwrap_err(),
        X509SvidError::UnknownAuthority(1)
    );
    assert_eq!(
        verify(
            ours.x509_svid(&ours.id("/agent/a")),
            &Bundle::builder(ours.trust_domain().clone()).build()
        )
        .unwrap_err(),
        X509SvidError::UnknownAuthority(0)
    );
}

#[test]
fn x5_7_the_key_of_an_authority_under_another_name_did_not_issue_the_leaf() {
    let domain = domain();
    let mut params = domain.ca_params();
    params.distinguished_name.push(DnType::CommonName, "another name");
    let renamed = Bundle::builder(domain.trust_domain().clone())
        .x509_authority(domain.root().reissued(&params))
        .unwrap()
        .build();
    let svid = domain.x509_svid(&domain.id("/agent/a"));
    assert_eq!(verify(svid, &renamed).unwrap_err(), X509SvidError::UnknownAuthority(0));
}

#[test]
fn x5_7_only_the_bundle_of_its_own_trust_domain_verifies_a_leaf() {
    let (ours, foreign) = (domain(), ScratchTrustDomain::new("other.example.org"));
    // The foreign authority certifies an ID of ours.
    let forged = || foreign.x509_svid(&ours.id("/agent/a"));
    let other = X509SvidError::OtherTrustDomain(ours.trust_domain().clone());
    assert_eq!(verify(forged(), &foreign.bundle()).unwrap_err(), other);
    assert_eq!(verify(forged(), &ours.bundle()).unwrap_err(), X509SvidError::UnknownAuthority(0));
}

#[test]
fn every_certificate_is_valid_now() {
    let domain = domain();
    let verify_at = |now| {
        let svid = domain.x509_svid(&domain.id("/agent/a"));
        UnverifiedX509Svid::parse_chain(svid.chain).unwrap().verify(&domain.bundle(), now).map(drop)
    };
    assert_eq!(verify_at(at(-10)), Ok(()));
    assert_eq!(
        verify_at(at(-11)),
        Err(X509SvidError::NotYetValid { position: 0, not_before: at(-10) })
    );
    let last = at(3600).checked_add(Duration::from_millis(999)).unwrap();
    assert_eq!(verify_at(last), Ok(()));
    assert_eq!(
        verify_at(at(3601)),
        Err(X509SvidError::Expired { position: 0, not_after: at(3600) })
    );

    let ended = |ca: &mut CertificateParams| ca.not_after = ca.not_before + Duration::from_secs(5);
    let later = |ca: &mut CertificateParams| ca.not_before = ca.not_after - Duration::from_secs(5);
    let expired = X509SvidError::Expired { position: 1, not_after: at(-5) };
    assert_eq!(below_intermediate(ended).unwrap_err(), expired);
    assert_eq!(below_root(ended).unwrap_err(), expired);
    let future = X509SvidError::NotYetValid { position: 1, not_before: at(24 * 3600 - 5) };
    assert_eq!(below_intermediate(later).unwrap_err(), future);
    assert_eq!(below_root(later).unwrap_err(), future);
}

#[test]
fn an_authority_without_a_well_defined_end_verifies() {
    // RFC 5280 section 4.1.2.5: 99991231235959Z.
    let last = date_time_ymd(9999, 12, 31) + Duration::from_secs(24 * 3600 - 1);
    let endless = |certificate: &mut CertificateParams| certificate.not_after = last;
    below_root(endless).unwrap();
    below_intermediate(endless).unwrap();
    let domain = domain();
    let mut leaf = domain.leaf_params(&domain.id("/agent/a"));
    endless(&mut leaf);
    let verified = verify(domain.root().issue(&leaf), &domain.bundle()).unwrap();
    assert_eq!(verified.not_after().as_second(), Timestamp::MAX.as_second());
}

#[test]
fn an_expired_authority_beside_its_successor_does_no_harm() {
    let domain = domain();
    let mut old = domain.ca_params();
    old.not_after = old.not_before + Duration::from_secs(5);
    let bundle = Bundle::builder(domain.trust_domain().clone())
        .x509_authority(domain.root().certificate().clone())
        .and_then(|bundle| bundle.x509_authority(ScratchCa::root(old).certificate().clone()))
        .unwrap()
        .build();
    assert!(verify(domain.x509_svid(&domain.id("/agent/a")), &bundle).is_ok());
}

#[test]
fn x5_3_what_signs_is_a_ca_that_may_sign_certificates() {
    for no_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let spoil = |ca: &mut CertificateParams| ca.is_ca = no_ca;
        assert_eq!(below_intermediate(spoil).unwrap_err(), X509SvidError::NotASigner(1));
        assert_eq!(below_root(spoil).unwrap_err(), X509SvidError::NotASigner(1));
    }
    let no_sign = |ca: &mut CertificateParams| ca.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(below_intermediate(no_sign).unwrap_err(), X509SvidError::NotASigner(1));
    assert_eq!(below_root(no_sign).unwrap_err(), X509SvidError::NotASigner(1));
    let no_usage = |ca: &mut CertificateParams| ca.key_usages.clear();
    assert_eq!(below_intermediate(no_usage).unwrap_err(), X509SvidError::NoKeyUsage(1));
    assert_eq!(below_root(no_usage).unwrap_err(), X509SvidError::NoKeyUsage(1));
}

#[test]
fn x5_3_a_leaf_does_not_sign_another() {
    let domain = domain();
    let leaf = domain.root().intermediate(domain.leaf_params(&domain.id("/agent/a")));
    let svid = leaf_below(&domain, &[domain.root(), &leaf]);
    assert_eq!(verify(svid, &domain.bundle()).unwrap_err(), X509SvidError::NotASigner(1));
}

#[test]
fn x5_3_the_id_of_a_signing_certificate_is_that_of_the_trust_domain_if_it_has_one() {
    let named = |id: &'static str| {
        move |ca: &mut CertificateParams| {
            ca.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())]
        }
    };
    for id in ["spiffe://example.org/ca", "spiffe://other.example.org"] {
        assert_eq!(below_intermediate(named(id)).unwrap_err(), X509SvidError::SignerId(1), "{id}");
        assert_eq!(below_root(named(id)).unwrap_err(), X509SvidError::SignerId(1), "{id}");
    }
    assert!(below_intermediate(|ca| ca.subject_alt_names.clear()).is_ok());
    let twice = below_intermediate(|ca| ca.subject_alt_names.extend(ca.subject_alt_names.clone()));
    assert_eq!(twice.unwrap_err(), X509SvidError::SecondUri(1));
}

#[test]
fn a_path_is_no_longer_than_its_certificates_allow() {
    let domain = domain();
    let constrained = |most| {
        let mut params = domain.ca_params();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
        params
    };
    for (most, allowed) in [(0, false), (1, true)] {
        let root = ScratchCa::root(constrained(most));
        let intermediate = root.intermediate(domain.ca_params());
        let svid = leaf_below(&domain, &[&root, &intermediate]);
        let verified = verify(svid, &bundle(&domain, &root));
        assert_eq!(verified.is_ok(), allowed, "{most}");
        assert!(allowed || verified.unwrap_err() == X509SvidError::PathLength(2));
    }
    let first = domain.root().intermediate(constrained(0));
    assert!(verify(leaf_below(&domain, &[domain.root(), &first]), &domain.bundle()).is_ok());
    let second = first.intermediate(domain.ca_params());
    let svid = leaf_below(&domain, &[domain.root(), &first, &second]);
    assert_eq!(verify(svid, &domain.bundle()).unwrap_err(), X509SvidError::PathLength(2));
}

#[test]
fn an_intermediate_for_other_purposes_does_not_sign_svids() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (usage, allowed) in [
        (vec![CodeSigning], false),
        (vec![ServerAuth], false),
        (vec![Any], true),
        (vec![ServerAuth, ClientAuth], true),
    ] {
        let verified = below_intermediate(|ca| ca.extended_key_usages = usage.clone());
        assert_eq!(verified.is_ok(), allowed, "{usage:?}");
    }
}

#[test]
fn name_constraints_and_unknown_critical_extensions_of_a_signer_are_refused() {
    let constrain = |ca: &mut CertificateParams| {
        ca.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    };
    assert_eq!(below_intermediate(constrain).unwrap_err(), X509SvidError::UnknownExtension(1));
    assert_eq!(below_root(constrain).unwrap_err(), X509SvidError::UnknownAuthority(0));
    let unknown = below_intermediate(|ca| {
        let mut extension =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
        extension.set_criticality(true);
        ca.custom_extensions = vec![extension];
    });
    assert_eq!(unknown.unwrap_err(), X509SvidError::UnknownExtension(1));
}

/// Name constraints with one subtree: 0 permits it and 1 excludes it; 6 makes it one of URIs.
fn one_subtree(list: u8, kind: u8, host: &str) -> CustomExtension {
    let value =
        |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let subtree = value(0x30, &value(0x80 | kind, host.as_bytes()));
    let mut extension = CustomExtension::from_oid_content(
        &[2, 5, 29, 30],
        value(0x30, &value(0xa0 | list, &subtree)),
    );
    extension.set_criticality(true);
    extension
}

#[test]
fn name_constraints_of_uris_are_kept() {
    const PERMIT: u8 = 0;
    const EXCLUDE: u8 = 1;
    for (list, host, holds) in [
        (PERMIT, "example.org", true),
        (PERMIT, "EXAMPLE.ORG", true),
        (PERMIT, ".org", true),
        (PERMIT, ".example.org", false),
        (PERMIT, "org", false),
        (PERMIT, "prod.example.org", false),
        (PERMIT, "ample.org", false),
        (EXCLUDE, "example.org", false),
        (EXCLUDE, ".org", false),
        (EXCLUDE, "example.net", true),
    ] {
        let constrain =
            |ca: &mut CertificateParams| ca.custom_extensions = vec![one_subtree(list, 6, host)];
        let refused = (!holds).then_some(X509SvidError::NameConstraints(1));
        assert_eq!(below_root(constrain).err(), refused, "{list} {host}, a root");
        assert_eq!(below_intermediate(constrain).err(), refused, "{list} {host}, between");
    }
    for (list, kind, host) in [(PERMIT, 6, ""), (PERMIT, 6, "."), (PERMIT, 2, "example.org")] {
        let constrain =
            |ca: &mut CertificateParams| ca.custom_extensions = vec![one_subtree(list, kind, host)];
        let refused = below_intermediate(constrain).unwrap_err();
        assert_eq!(refused, X509SvidError::UnknownExtension(1), "{kind} {host}");
    }
}

#[test]
fn a_leaf_constrains_no_names() {
    let domain = ScratchTrustDomain::new("example.org");
    let mut params = domain.leaf_params(&domain.id("/agent/a"));
    params.custom_extensions = vec![one_subtree(0, 6, "example.org")];
    let svid = domain.root().issue(&params);
    let refused = UnverifiedX509Svid::parse_chain(svid.chain).unwrap_err();
    assert_eq!(refused, X509SvidError::UnknownExtension(0));
}

#[test]
fn authorities_with_rsa_and_p384_keys_verify_and_other_digests_do_not() {
    let cases: Value = serde_json::from_str(include_str!("../../testdata/chains.json")).unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let der = |member: &str| STANDARD.decode(case[member].as_str().unwrap()).unwrap();
        let name = case["name"].as_str().unwrap();
        let bundle =
            Bundle::builder("example.org".parse().unwrap()).x509_authority(der("root").into());
        let outcome = match bundle {
            Ok(bundle) => UnverifiedX509Svid::parse_der_concat(&der("leaf"))
                .and_then(|svid| svid.verify(&bundle.build(), START))
                .map_or_else(|error| format!("{error:?}"), |svid| svid.id().to_string()),
            Err(_) => "bundle refused".to_owned(),
        };
        assert_eq!(outcome, case["expect"].as_str().unwrap(), "{name}");
    }
}
