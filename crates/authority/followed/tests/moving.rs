//! The root that the own authority stands on is given up, or taken out.

use super::*;

/// What the X.509 authorities are, and where each stands.
fn states(authority: &Authority) -> Vec<(String, AuthorityState)> {
    let views = authority.list().into_iter();
    let views = views.filter(|view| view.slot.purpose() == KeyPurpose::X509Authority);
    views.map(|view| (view.slot.to_string(), view.state)).collect()
}

fn stand_elsewhere(authority: &Authority, at: Timestamp) -> Result<(), AuthorityError> {
    now(authority.move_to_another_root(&FixedClock::new(at)))
}

#[test]
fn a_root_that_is_given_up_is_left_as_soon_as_the_other_one_is_known() {
    let (_house, above, authority) = founded();
    let first = minted(&authority, START);
    above.tell(2, &[(0, false), (1, false)]);
    assert!(heard(&authority, later(10)));
    above.signs(Some(1));
    above.tell(2, &[(0, true), (1, false)]);
    let sequence = authority.bundle().sequence();
    assert!(heard(&authority, later(20)));
    assert!(authority.is_to_stand_elsewhere() && !authority.has_lost_its_root());
    assert_eq!(authority.bundle().sequence(), sequence, "nothing comes or goes");
    // What would be issued anew now would stand on the same root.
    assert_eq!(authority.trusted().bundle, authority.trusted().untainted);
    let alarms = authority.trusted().alarms;

    // Root B is known for three refresh hints and a second.
    for _ in 0..2 {
        stand_elsewhere(&authority, later(190)).unwrap();
        assert_eq!(states(&authority)[0].1, AuthorityState::Active);
        assert_eq!(states(&authority)[1].1, AuthorityState::Prepared);
    }
    assert_eq!(above.0.lock().unwrap().asked, 2, "one certificate for each key");
    stand_elsewhere(&authority, later(191)).unwrap();
    assert_eq!(states(&authority)[1].1, AuthorityState::Active);
    assert!(!authority.is_to_stand_elsewhere());
    let second = minted(&authority, later(191));
    let trusted = authority.trusted();
    verified(&first, &trusted.bundle).unwrap();
    verified(&first, &trusted.untainted).unwrap_err();
    verified(&second, &trusted.untainted).unwrap();
    assert_ne!(trusted.alarms, alarms, "it is issued anew at once");

    above.tell(3, &[(1, false)]);
    assert!(heard(&authority, later(200)));
    assert_eq!(*authority.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&first, &authority.bundle()).unwrap_err();
    verified(&second, &authority.bundle()).unwrap();
    assert_ne!(authority.trusted().alarms, trusted.alarms);
    stand_elsewhere(&authority, later(210)).unwrap();
    assert_eq!(above.0.lock().unwrap().asked, 2, "nothing else is due");
}

#[test]
fn a_certificate_below_a_root_that_is_given_up_is_not_taken() {
    let (_house, above, authority) = founded();
    above.tell(2, &[(0, true), (1, false)]);
    assert!(heard(&authority, later(10)));
    // It signs by the old root still.
    for at in [later(20), later(30)] {
        let refused = stand_elsewhere(&authority, at).unwrap_err();
        let AuthorityError::SignedAuthority { source, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(source.code(), "upstream_root_given_up");
        assert_eq!(states(&authority).len(), 1, "no key is on record for it");
    }
    verified(&minted(&authority, later(30)), &authority.bundle()).unwrap();
}

#[test]
fn a_root_that_is_taken_out_leaves_when_the_authority_stands_elsewhere() {
    let (house, above, authority) = founded();
    let first = minted(&authority, START);
    above.signs(Some(1));
    above.tell(2, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    assert_eq!(*authority.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&minted(&authority, later(5)), &authority.bundle()).unwrap();
    verified(&first, &authority.bundle()).unwrap_err();
    let kinds: Vec<_> = house.store.events.lock().unwrap().iter().map(|event| event.kind).collect();
    let [.., prepared, activated, followed] = kinds[..] else { panic!("{kinds:?}") };
    assert_eq!(
        [prepared, activated, followed],
        [EventKind::AuthorityPrepared, EventKind::AuthorityActivated, EventKind::AuthorityFollowed],
        "there is an authority to sign with at every moment"
    );
    let order = house.store.events.lock().unwrap();
    assert!(order[order.len() - 2].detail["reason"].as_str().unwrap().contains("gives up"));
}

#[test]
fn a_root_that_is_taken_out_leaves_although_there_is_no_other_certificate() {
    let (house, above, authority) = founded();
    let first = minted(&authority, START);
    above.signs(None);
    above.tell(2, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    assert_eq!(*authority.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&first, &authority.bundle()).unwrap_err();
    assert!(authority.has_lost_its_root());
    let refused = authority.mint_x509_svid(&x509_template("/agent/a"), later(5)).unwrap_err();
    assert!(matches!(refused, AuthorityError::SelfCheck { .. }), "{refused:?}");
    authority.mint_jwt_svid(&jwt_template("/agent/a"), later(5)).unwrap();
    assert!(!heard(&authority, later(6)), "what it says is known");
    stand_elsewhere(&authority, later(10)).unwrap_err();

    above.signs(Some(1));
    stand_elsewhere(&authority, later(15)).unwrap();
    assert!(!authority.has_lost_its_root());
    verified(&minted(&authority, later(15)), &authority.bundle()).unwrap();
    drop(house);
}

#[test]
fn a_start_on_a_root_that_was_taken_out_asks_for_another_certificate() {
    let (house, above, authority) = founded();
    above.signs(None);
    above.tell(2, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    let without = house.open_with(below(&above), later(10)).unwrap();
    assert!(without.has_lost_its_root(), "it comes up, and goes on asking");
    above.signs(Some(1));
    let again = house.open_with(below(&above), later(15)).unwrap();
    assert!(!again.has_lost_its_root());
    verified(&minted(&again, later(15)), &again.bundle()).unwrap();
}

#[test]
fn a_key_that_was_prepared_below_the_lost_root_never_signs() {
    let (_house, above, authority) = founded();
    now(authority.prepare_below_upstream(super::moving(), &FixedClock::new(START))).unwrap();
    above.signs(Some(1));
    above.tell(2, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    let states: Vec<_> = states(&authority).into_iter().map(|(_, state)| state).collect();
    let expected = [AuthorityState::Old, AuthorityState::Retired, AuthorityState::Active];
    assert_eq!(states.len(), 3);
    assert!(expected.iter().all(|state| states.contains(state)), "{states:?}");
    verified(&minted(&authority, later(5)), &authority.bundle()).unwrap();
}

#[test]
fn a_root_that_came_with_a_certificate_is_followed_from_then_on() {
    let (_house, above, authority) = founded();
    above.signs(Some(1));
    now(authority.prepare_below_upstream(super::moving(), &FixedClock::new(later(5)))).unwrap();
    assert_eq!(authority.bundle().x509_authorities().len(), 2);
    // The upstream does not publish it: it counts what it says.
    above.tell(1, &[(0, false)]);
    assert!(heard(&authority, later(10)));
    assert_eq!(authority.bundle().x509_authorities().len(), 1);
}
