//! A key that was prepared below a root that is given up before it signs, while what signs stands on another one.

use super::*;

/// Prepared below B, with the active one below A; then `tell`.
fn given_up(tell: impl FnOnce(&Above)) {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, false)]);
    assert!(heard(&authority, START));
    above.signs(Some(1));
    now(authority.prepare_below_upstream(moving(), &FixedClock::new(START))).unwrap();
    let sequence = authority.bundle().sequence();
    tell(&above);
    assert!(heard(&authority, later(5)));
    assert!(!authority.is_to_stand_elsewhere());
    assert!(authority.bundle().sequence() > sequence);
    let state = |number: usize| {
        let of_x509 =
            |view: &&crate::AuthorityView| view.slot.purpose() == KeyPurpose::X509Authority;
        let listed = authority.list();
        let found = listed.iter().filter(of_x509).nth(number).unwrap();
        (found.slot.clone(), found.state)
    };
    let ((first, active), (second, retired)) = (state(0), state(1));
    assert_eq!((active, retired), (AuthorityState::Active, AuthorityState::Retired));
    let events = house.store.events.lock().unwrap().clone();
    assert_eq!(events.last().unwrap().detail["retired"], second.to_string());

    // Neither people nor the clock let it sign.
    now(authority.activate(second, true, moving(), later(10))).unwrap_err();
    let tainted = now(authority.taint(first.clone(), moving(), later(10))).unwrap_err();
    assert!(
        matches!(tainted, AuthorityError::Refused(OrderRefusal::NothingPrepared { .. })),
        "{tainted:?}"
    );
    now(authority.keep_up(later(23 * 3600))).ok();
    assert_eq!(state(0), (first, AuthorityState::Active));
    assert!(!heard(&authority, later(15)), "once");
}

#[test]
fn a_prepared_key_leaves_when_its_root_is_tainted() {
    given_up(|above| above.tell(3, &[(0, false), (1, true)]));
}

#[test]
fn a_prepared_key_leaves_when_its_root_is_taken_out() {
    given_up(|above| above.tell(3, &[(0, false)]));
}

#[test]
fn a_prepared_key_below_a_good_root_stays() {
    let (_house, above, authority) = founded();
    now(authority.prepare_below_upstream(moving(), &FixedClock::new(START))).unwrap();
    above.tell(2, &[(0, false), (1, true)]);
    assert!(heard(&authority, later(5)));
    assert!(authority.list().iter().any(|view| view.state == AuthorityState::Prepared));
}
