//! What an upstream may tell without anything changing here.

use super::*;

/// Tells `change` of a good bundle, which must be refused; the code.
fn refused(change: impl FnOnce(&mut ToldBundle)) -> &'static str {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, false)]);
    above.edit(change);
    let (bundle, events) = (authority.bundle(), house.store.events.lock().unwrap().len());
    let before = authority.heard();
    let refused = hear(&authority, later(5)).unwrap_err();
    assert!(Arc::ptr_eq(&authority.bundle(), &bundle), "nothing changes");
    assert_eq!(house.store.events.lock().unwrap().len(), events);
    assert_eq!(authority.heard(), before, "and nothing was heard");
    match refused {
        AuthorityError::ToldBundle(source) => source.code(),
        AuthorityError::Refused(refusal) => refusal.code(),
        other => panic!("{other:?}"),
    }
}

fn told(root: &ScratchCa) -> ToldRoot {
    ToldRoot { certificate: root.certificate().clone(), tainted: false }
}

#[test]
fn an_answer_that_cannot_be_right_changes_nothing() {
    assert_eq!(refused(|told| told.roots.clear()), "upstream_bundle_no_root");
    let other = "dev.example.org".to_owned();
    assert_eq!(refused(|told| told.trust_domain = other), "upstream_bundle_trust_domain");
    assert_eq!(refused(|told| told.sequence = 0), "upstream_bundle_went_back");
    let nonsense = || ToldRoot { certificate: vec![0x30, 0x00].into(), tainted: false };
    assert_eq!(refused(|told| told.roots.push(nonsense())), "upstream_bundle_root");
    let other = root("non-production", "other");
    let code = refused(|bundle| bundle.roots.push(told(&other)));
    assert_eq!(code, "upstream_bundle_root", "the other environment has no place");
    let nameless = ScratchCa::root(ScratchTrustDomain::at(NAME, START).ca_params());
    let code = refused(|bundle| bundle.roots = vec![told(&nameless)]);
    assert_eq!(code, "upstream_bundle_no_root", "none that may stand here");
    let malformed = || ToldKey { spki_der: vec![1], ..key("x") };
    assert_eq!(refused(|told| told.wit_keys.push(malformed())), "upstream_bundle_key");
    let unnamed = || ToldKey { key_id: String::new(), ..key("x") };
    assert_eq!(refused(|told| told.jwt_keys.push(unnamed())), "upstream_bundle_key");
    let twice = |told: &mut ToldBundle| {
        told.jwt_keys.push(key("x"));
        told.wit_keys.push(key("x"));
    };
    assert_eq!(refused(twice), "upstream_bundle_key_id");
}

#[test]
fn there_is_an_end_to_roots_and_keys() {
    let many = |number| (0..number).map(|one| told(&root("production", &one.to_string())));
    let roots: Vec<_> = many(MAX_FOLLOWED_ROOTS).collect();
    let (_house, above, authority) = founded();
    above.tell(2, &[(0, false)]);
    above.edit(|told| told.roots.extend(roots[1..].iter().cloned()));
    assert!(heard(&authority, START));
    assert_eq!(authority.bundle().x509_authorities().len(), MAX_FOLLOWED_ROOTS);
    assert_eq!(refused(|told| told.roots.extend(roots)), "upstream_bundle_roots");

    let keys: Vec<_> = (0..=MAX_FOLLOWED_KEYS).map(|one| key(&one.to_string())).collect();
    above.edit(|told| {
        told.jwt_keys = keys[1..].to_vec();
        told.wit_keys = keys[1..]
            .iter()
            .map(|one| ToldKey { key_id: format!("w{}", one.key_id), ..one.clone() })
            .collect();
    });
    assert!(heard(&authority, START));
    assert_eq!(authority.bundle().jwt_authorities().len(), MAX_FOLLOWED_KEYS + 1);
    assert_eq!(authority.bundle().wit_authorities().len(), MAX_FOLLOWED_KEYS + 1);
    let document = authority.bundle().to_document().to_string();
    Bundle::parse(NAME.parse().unwrap(), document.as_bytes()).expect("others read it");
    let wit = keys.clone();
    assert_eq!(refused(|told| told.jwt_keys = keys), "upstream_bundle_keys");
    assert_eq!(refused(|told| told.wit_keys = wit), "upstream_bundle_keys");
}

#[test]
fn a_silent_upstream_changes_nothing() {
    let (_house, above, authority) = founded();
    let bundle = authority.bundle();
    above.change(|state| state.tells = None);
    let unheard = hear(&authority, later(5)).unwrap_err();
    assert!(matches!(unheard, AuthorityError::Unheard(_)), "{unheard:?}");
    assert!(Arc::ptr_eq(&authority.bundle(), &bundle));
    assert_eq!(authority.heard().unwrap().at, START);
}

#[test]
fn a_root_that_is_not_pinned_is_left_out_and_what_signs_stays() {
    let (house, above) = (House::default(), Above::new());
    let pinned = |numbers: &[usize]| {
        let digests = numbers.iter().map(|one| CertificateDigest::of(&above.certificate(*one)));
        let mut config = below(&above);
        config.upstream.as_mut().unwrap().pinned_roots = digests.collect();
        config
    };
    let authority = house.open_with(pinned(&[0]), START).unwrap();
    above.tell(2, &[(0, false), (1, false)]);
    let hearing = hear(&authority, START).unwrap().unwrap();
    let [left_out] = &hearing.left_out[..] else { panic!("{hearing:?}") };
    assert_eq!(left_out.root, CertificateDigest::of(&above.certificate(1)));
    assert_eq!(left_out.why.code(), "upstream_root_not_pinned");
    assert_eq!(*authority.bundle().x509_authorities(), [above.certificate(0)]);
    let svid = minted(&authority, START);

    // Pins of now count for the next: what signs goes on.
    let authority = house.open_with(pinned(&[1]), START).unwrap();
    assert!(heard(&authority, later(5)));
    assert_eq!(authority.bundle().x509_authorities().len(), 2);
    verified(&svid, &authority.bundle()).unwrap();
    assert!(!authority.is_to_stand_elsewhere());
}

#[test]
fn a_store_that_fails_leaves_everything_as_it_was() {
    let (house, above, authority) = founded();
    let bundle = authority.bundle();
    *house.store.saves_left.lock().unwrap() = Some(0);
    above.tell(2, &[(0, false), (1, false)]);
    let failed = hear(&authority, later(5)).unwrap_err();
    assert!(matches!(failed, AuthorityError::Store { .. }), "{failed:?}");
    assert_eq!(authority.bundle(), bundle);
    *house.store.saves_left.lock().unwrap() = None;
    assert!(heard(&authority, later(10)));
    let went_back = OrderRefusal::UpstreamWentBack { from: 2, to: 1 };
    above.tell(1, &[(0, false)]);
    let AuthorityError::Refused(refused) = hear(&authority, later(15)).unwrap_err() else {
        panic!()
    };
    assert_eq!(refused, went_back);
}
