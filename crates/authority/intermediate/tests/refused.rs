//! What no authority is made of.

use marque_testkit::ScratchX509Svid;

use super::*;

type Spoil<'a> = Box<dyn Fn(&Safe, &CertificateRequest) -> SignedAuthority + 'a>;

fn refusal(
    config: AuthorityConfig,
    signed: &Spoil<'_>,
    safe: &Safe,
) -> Option<SignedAuthorityError> {
    let house = House::default();
    let ceremony = ceremony(&house, config);
    let request = now(ceremony.request(START)).unwrap();
    let imported = now(ceremony.import(&signed(safe, &request), OrderedBy::default(), START));
    match imported {
        Ok(_slot) => None,
        Err(AuthorityError::SignedAuthority { source, .. }) => {
            assert!(house.store.records.lock().unwrap().is_empty(), "nothing is put on record");
            Some(source)
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// What the safe signs, spoiled.
fn but(spoil: impl Fn(&mut SignedAuthority) + 'static) -> Spoil<'static> {
    Box::new(move |safe, request| {
        let mut signed = safe.sign(request);
        spoil(&mut signed);
        signed
    })
}

#[test]
fn a_chain_that_is_not_the_authoritys_is_refused() {
    let safe = Safe::at(START);
    let refused = |spoil: Spoil<'_>| refusal(by_hand(), &spoil, &safe).map(|error| error.code());
    assert_eq!(refused(but(|_| ())), None);
    assert_eq!(refused(but(|signed| signed.chain.clear())), Some("upstream_no_certificate"));
    assert_eq!(refused(but(|signed| signed.roots.clear())), Some("upstream_roots"));
    let five_roots = |signed: &mut SignedAuthority| {
        signed.roots = vec![signed.roots[0].clone(); SignedAuthority::MAX_ROOTS + 1];
    };
    assert_eq!(refused(but(five_roots)), Some("upstream_roots"));
    let long = |signed: &mut SignedAuthority| {
        signed.chain = vec![signed.chain[0].clone(); SignedAuthority::MAX_CHAIN + 1];
    };
    assert_eq!(refused(but(long)), Some("upstream_chain_too_long"));
    let damaged = |signed: &mut SignedAuthority| signed.chain[0] = vec![0x30, 0x00].into();
    assert_eq!(refused(but(damaged)), Some("upstream_certificate"));
    let other_root = but(|signed| {
        signed.roots = vec![Safe::at(START).root.certificate().clone()];
    });
    assert_eq!(refused(other_root), Some("upstream_path"));
    let other_key: Spoil<'_> = Box::new(|safe, _request| {
        let other = now(ceremony(&House::default(), by_hand()).request(START)).unwrap();
        safe.sign(&other)
    });
    assert_eq!(refused(other_key), Some("upstream_other_key"));
    let leaf: Spoil<'_> = Box::new(|safe, request| {
        // A certificate for the right key that may sign none.
        let mut asked = rcgen::CertificateSigningRequestParams::from_pem(&request.pem).unwrap();
        asked.params.is_ca = IsCa::ExplicitNoCa;
        let signed = safe.sign(request);
        let own = safe.root.sign_parsed_request(asked, &safe.domain.ca_params());
        SignedAuthority { chain: vec![own], ..signed }
    });
    assert_eq!(refused(leaf), Some("upstream_path"));
}

#[test]
fn a_certificate_that_ends_before_the_longest_svid_is_refused() {
    // Signed by a root of a day, one hour and one second before its end, and exactly an hour.
    for (seconds, refused) in [(DAY - 3600, false), (DAY - 3599, true)] {
        let safe = Safe::at(START - Duration::from_secs(seconds));
        let error = refusal(by_hand(), &but(|_| ()), &safe);
        let code = error.as_ref().map(SignedAuthorityError::code);
        assert_eq!(code, refused.then_some("upstream_ends_too_soon"), "{error:?}");
    }
}

#[test]
fn a_root_of_the_other_environment_is_refused_and_one_of_none_unless_it_is_pinned() {
    let pinning = |root: &ScratchCa| {
        let pinned_roots = BTreeSet::from([CertificateDigest::of(root.certificate())]);
        let rule = UpstreamRule { authority: None, pinned_roots };
        AuthorityConfig { upstream: Some(rule), ..config(NAME) }
    };
    for (unit, unpinned, pinned) in [
        ("production", None, None),
        ("DOWNSTREAM-1", Some("upstream_environment"), None),
        ("non-production", Some("upstream_environment"), Some("upstream_environment")),
    ] {
        let safe = Safe::naming(unit, START);
        let code = |config| refusal(config, &but(|_| ()), &safe).map(|error| error.code());
        assert_eq!(code(by_hand()), unpinned, "{unit}");
        assert_eq!(code(pinning(&safe.root)), pinned, "{unit}");
        let other = Safe::naming(unit, START);
        let unknown = pinned.or(Some("upstream_root_not_pinned"));
        assert_eq!(code(pinning(&other.root)), unknown, "{unit}");
    }
    // The environment is looked for in what stands between as well.
    let safe = Safe::at(START);
    let between: Spoil<'_> = Box::new(|safe, request| {
        let middle = safe.root.intermediate(params(&safe.domain, "non-production"));
        let own = middle.sign_request(&request.pem, &safe.domain.ca_params());
        let signed = safe.sign(request);
        SignedAuthority { chain: vec![own, middle.certificate().clone()], ..signed }
    });
    let Some(SignedAuthorityError::Environment { position, .. }) =
        refusal(by_hand(), &between, &safe)
    else {
        panic!("an intermediate of the other environment")
    };
    assert_eq!(position, 1);
}

/// An answer with all the roots of an upstream, the newest of which has signed.
fn imported_with(
    safe: &Safe,
    others: &[&Safe],
    pinned_roots: BTreeSet<CertificateDigest>,
) -> Authority {
    let house = House::default();
    let rule = UpstreamRule { authority: None, pinned_roots };
    let config = AuthorityConfig { upstream: Some(rule), ..config(NAME) };
    let ceremony = ceremony(&house, config.clone());
    let request = now(ceremony.request(START)).unwrap();
    let mut signed = safe.sign(&request);
    signed.roots.extend(others.iter().map(|other| other.root.certificate().clone()));
    now(ceremony.import(&signed, OrderedBy::default(), START)).unwrap();
    house.open_with(config, START).unwrap()
}

#[test]
fn of_several_roots_the_chain_ends_at_one_and_those_that_may_stand_are_taken_along() {
    let safe = Safe::at(START);
    // One that ends in an hour, and one that names no environment.
    let leaving = Safe::at(START - Duration::from_secs(23 * 3600));
    let nameless = Safe::naming("DOWNSTREAM-1", START);
    let others = [&leaving, &nameless];
    let authority = imported_with(&safe, &others, BTreeSet::new());
    let roots = [safe.root.certificate().clone(), leaving.root.certificate().clone()];
    assert_eq!(*authority.bundle().x509_authorities(), roots);
    assert_eq!(authority.list()[0].ends_at, Some(later(DAY)), "by its own root");
    let pinned = BTreeSet::from([CertificateDigest::of(safe.root.certificate())]);
    let authority = imported_with(&safe, &others, pinned);
    assert_eq!(*authority.bundle().x509_authorities(), roots[..1]);

    let with_the_other: Spoil<'_> = Box::new(|safe, request| {
        let mut signed = safe.sign(request);
        signed.roots.push(Safe::naming("non-production", START).root.certificate().clone());
        signed
    });
    let refused = refusal(by_hand(), &with_the_other, &safe).map(|error| error.code());
    assert_eq!(refused, Some("upstream_environment"));
}

#[test]
fn what_is_on_record_stays_when_the_document_says_otherwise() {
    let nameless = Safe::naming("DOWNSTREAM-1", START);
    let house = House::default();
    let pinning = |safe: &Safe| {
        let pinned_roots = BTreeSet::from([CertificateDigest::of(safe.root.certificate())]);
        let rule = UpstreamRule { authority: None, pinned_roots };
        AuthorityConfig { upstream: Some(rule), ..config(NAME) }
    };
    let ceremony = ceremony(&house, pinning(&nameless));
    let request = now(ceremony.request(START)).unwrap();
    let signed = nameless.sign(&request);
    now(ceremony.import(&signed, OrderedBy::default(), START)).unwrap();
    for changed in [config(NAME), by_hand(), pinning(&Safe::at(START))] {
        let authority = house.open_with(changed, START).unwrap();
        verified(&minted(&authority, START), &authority.bundle(), START).unwrap();
    }
}

#[test]
fn a_chain_of_three_is_carried_whole() {
    let safe = Safe::at(START);
    let house = House::default();
    let request = now(ceremony(&house, by_hand()).request(START)).unwrap();
    let middle = safe.root.intermediate(params(&safe.domain, "production"));
    let own = middle.sign_request(&request.pem, &safe.domain.ca_params());
    let chain = vec![own, middle.certificate().clone()];
    let signed = SignedAuthority { chain, ..safe.sign(&request) };
    now(ceremony(&house, by_hand()).import(&signed, OrderedBy::default(), START)).unwrap();
    let authority = house.open_with(by_hand(), START).unwrap();
    let svid = minted(&authority, START);
    assert_eq!(svid.chain.len(), 3);
    verified(&svid, &authority.bundle(), START).unwrap();
}

#[test]
fn pem_is_read_in_its_order_with_the_roots_apart_and_nothing_twice() {
    let pem = |all: &[&CertificateDer<'_>]| -> String {
        let encode = |der: &&CertificateDer<'_>| pem_of(der);
        all.iter().map(encode).collect()
    };
    let safe = Safe::at(START);
    let request = now(ceremony(&House::default(), by_hand()).request(START)).unwrap();
    let SignedAuthority { chain, roots } = safe.sign(&request);
    let (own, root) = (&chain[0], &roots[0]);
    let read = SignedAuthority::from_pem(pem(&[own, root, root, own]).as_bytes()).unwrap();
    assert_eq!(read, SignedAuthority { chain: chain.clone(), roots: roots.clone() });
    let code = |text: &[u8]| SignedAuthority::from_pem(text).unwrap_err().code();
    assert_eq!(code(b"nothing"), "upstream_no_certificate");
    assert_eq!(code(pem(&[own]).as_bytes()), "upstream_roots");
    assert_eq!(code(pem(&[root]).as_bytes()), "upstream_no_certificate");
    assert_eq!(
        code(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        "upstream_pem"
    );
    let long = vec![b'\n'; SignedAuthority::MAX_PEM_BYTES + 1];
    assert_eq!(code(&long), "upstream_pem");
    let ScratchX509Svid { chain, .. } = safe.domain.x509_svid(&safe.domain.id("/agent/a"));
    assert_eq!(code(pem(&[&chain[0]]).as_bytes()), "upstream_roots");
}

fn pem_of(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
