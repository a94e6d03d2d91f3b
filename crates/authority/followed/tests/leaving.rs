//! The upstream is followed no longer: what comes of its roots.

use super::*;

/// A house whose root the upstream took out, and that got no other certificate.
fn lost() -> (House, Arc<Above>, MintedX509Svid) {
    let (house, above, authority) = founded();
    let first = minted(&authority, START);
    above.signs(None);
    above.tell(2, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    assert!(authority.has_lost_its_root());
    (house, above, first)
}

fn refused(authority: &Authority, at: Timestamp) -> OrderRefusal {
    match hear(authority, at).unwrap_err() {
        AuthorityError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_root_does_not_come_back_without_an_upstream_and_an_own_root_takes_its_place() {
    let (house, above, first) = lost();
    let alone = house.open_with(config(NAME), later(60)).unwrap();
    assert!(!alone.has_lost_its_root(), "it has a root of its own");
    let svid = minted(&alone, later(60));
    verified(&svid, &alone.bundle()).unwrap();
    assert_eq!(hear(&alone, later(60)).unwrap(), None);
    assert_eq!(alone.followed(), None);
    assert!(!alone.bundle().x509_authorities().contains(&above.certificate(0)));
    verified(&first, &alone.bundle()).unwrap_err();
    verified(&svid, &alone.bundle()).unwrap();
}

#[test]
fn a_lost_root_does_not_come_back_while_people_carry_the_next_certificate() {
    let (house, above, first) = lost();
    let files = AuthorityConfig { upstream: Some(UpstreamRule::default()), ..config(NAME) };
    let alone = house.open_with(files, later(60)).unwrap();
    for at in [later(60), later(65)] {
        let refusal = refused(&alone, at);
        assert_eq!(refusal.code(), "upstream_root_lost");
        assert_eq!(*alone.bundle().x509_authorities(), [above.certificate(1)]);
        let refused = now(alone.move_to_another_root(&FixedClock::new(at))).unwrap_err();
        assert!(
            matches!(refused, AuthorityError::Refused(OrderRefusal::SignedByHand { .. })),
            "{refused:?}"
        );
    }
    let request = alone.request(later(70));
    above.signs(Some(1));
    let signed = now(above.sign(&now(request).unwrap())).unwrap();
    now(alone.import(&signed, moving(), later(70))).unwrap();
    now(alone.move_to_another_root(&FixedClock::new(later(70)))).unwrap();
    assert_eq!(hear(&alone, later(75)).unwrap(), None);
    assert_eq!(*alone.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&minted(&alone, later(75)), &alone.bundle()).unwrap();
    verified(&first, &alone.bundle()).unwrap_err();
}

#[test]
fn a_lost_root_does_not_come_back_below_another_upstream() {
    let (house, above, first) = lost();
    above.change(|state| state.source = Some("other.example.org:8081"));
    let elsewhere = house.open_with(below(&above), later(60)).unwrap();
    assert_eq!(refused(&elsewhere, later(60)).code(), "upstream_root_lost");
    above.signs(Some(1));
    now(elsewhere.move_to_another_root(&FixedClock::new(later(65)))).unwrap();
    assert!(heard(&elsewhere, later(70)));
    assert_eq!(*elsewhere.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&minted(&elsewhere, later(70)), &elsewhere.bundle()).unwrap();
    verified(&first, &elsewhere.bundle()).unwrap_err();
}

#[test]
fn a_tainted_root_does_not_stay_as_an_own_one() {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, true)]);
    assert!(heard(&authority, START));
    let svid = minted(&authority, START);
    let alone = house.open_with(config(NAME), later(60)).unwrap();
    assert_eq!(hear(&alone, later(60)).unwrap(), None);
    assert_eq!(*alone.bundle().x509_authorities(), [above.certificate(0)]);
    verified(&svid, &alone.bundle()).unwrap();
}

#[test]
fn nor_does_it_stay_with_an_older_key_that_stands_on_it() {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, false)]);
    assert!(heard(&authority, later(10)));
    above.signs(Some(1));
    above.tell(2, &[(0, true), (1, false)]);
    assert!(heard(&authority, later(20)));
    for _step in ["prepared", "active"] {
        now(authority.move_to_another_root(&FixedClock::new(later(191)))).unwrap();
    }
    let svid = minted(&authority, later(191));
    let alone = house.open_with(config(NAME), later(200)).unwrap();
    assert_eq!(hear(&alone, later(200)).unwrap(), None);
    assert_eq!(*alone.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&svid, &alone.bundle()).unwrap();
}

#[test]
fn no_more_roots_stay_than_a_record_may_have() {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false)]);
    let others = (1..MAX_FOLLOWED_ROOTS).map(|one| root("production", &one.to_string()));
    let others: Vec<_> = others.map(|root| root.certificate().clone()).collect();
    above.edit(|told| {
        let told_root = |certificate| ToldRoot { certificate, tainted: false };
        told.roots.extend(others.into_iter().map(told_root));
    });
    assert!(heard(&authority, START));
    // A certificate brings a ninth one.
    above.signs(Some(1));
    now(authority.prepare_below_upstream(moving(), &FixedClock::new(START))).unwrap();
    assert_eq!(authority.bundle().x509_authorities().len(), MAX_FOLLOWED_ROOTS + 1);
    let svid = minted(&authority, START);
    let alone = house.open_with(config(NAME), later(60)).unwrap();
    assert_eq!(hear(&alone, later(60)).unwrap(), None);
    verified(&svid, &alone.bundle()).unwrap();
    house.open_with(config(NAME), later(65)).unwrap();
}
