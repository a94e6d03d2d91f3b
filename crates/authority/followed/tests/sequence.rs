//! The numbers that an upstream gives its bundle.

use super::*;

fn code(refused: AuthorityError) -> &'static str {
    match refused {
        AuthorityError::ToldBundle(source) => source.code(),
        AuthorityError::Refused(refusal) => refusal.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_number_that_nothing_could_follow_is_refused() {
    let ahead = 1 << 20;
    let now = u64::try_from(later(5).as_second()).unwrap();
    let (_house, above, authority) = founded();
    let both = [(0, false), (1, false)];
    for told in [now + ahead + 1, u64::MAX] {
        above.tell(told, &both);
        let refused = hear(&authority, later(5)).unwrap_err();
        assert_eq!(code(refused), "upstream_bundle_sequence", "{told}");
        assert_eq!(authority.bundle().x509_authorities().len(), 1);
    }
    above.tell(now + ahead, &both);
    assert!(heard(&authority, later(5)), "the highest that is believed");
    // And from there on.
    above.tell(now + 2 * ahead + 1, &[(0, false)]);
    assert_eq!(code(hear(&authority, later(5)).unwrap_err()), "upstream_bundle_sequence");
    above.tell(now + 2 * ahead, &[(0, false)]);
    assert!(heard(&authority, later(5)));
}

#[test]
fn a_number_that_only_goes_up_writes_nothing_and_does_not_go_back() {
    let (house, above, authority) = founded();
    let (bundle, events) = (authority.bundle(), house.store.events.lock().unwrap().len());
    above.tell(9, &[(0, false)]);
    assert!(!heard(&authority, later(5)));
    assert_eq!(authority.heard().unwrap().sequence, 9);
    assert!(Arc::ptr_eq(&authority.bundle(), &bundle));
    assert_eq!(house.store.events.lock().unwrap().len(), events);
    above.tell(8, &[(0, false), (1, false)]);
    assert_eq!(code(hear(&authority, later(10)).unwrap_err()), "upstream_bundle_went_back");

    // A key that ends meanwhile is on record with the number that was heard.
    let ends = |told: &mut ToldBundle| {
        told.jwt_keys = vec![ToldKey { expires_at: Some(later(20)), ..key("ends") }];
    };
    above.tell(10, &[(0, false)]);
    above.edit(ends);
    assert!(heard(&authority, later(15)));
    above.edit(|told| told.sequence = 11);
    assert!(!heard(&authority, later(16)));
    above.tell(7, &[(0, false)]);
    hear(&authority, later(20)).unwrap_err();
    assert_eq!(authority.followed().unwrap().sequence, 11);
    assert!(authority.followed().unwrap().keys.is_empty());

    // A start goes by the number on record.
    let again = house.open_with(below(&above), later(25)).unwrap();
    above.tell(10, &[(0, false), (1, false)]);
    assert_eq!(code(hear(&again, later(25)).unwrap_err()), "upstream_bundle_went_back");
    above.tell(12, &[(0, false), (1, false)]);
    assert!(heard(&again, later(30)));
    assert_eq!(again.followed().unwrap().sequence, 12);
}

#[test]
fn another_order_is_no_news() {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, false)]);
    above.edit(|told| told.jwt_keys = vec![key("x"), key("y")]);
    assert!(heard(&authority, later(5)));
    let (bundle, events) = (authority.bundle(), house.store.events.lock().unwrap().len());
    above.edit(|told| {
        told.roots.reverse();
        told.jwt_keys.reverse();
    });
    assert!(!heard(&authority, later(10)));
    assert!(Arc::ptr_eq(&authority.bundle(), &bundle));
    assert_eq!(house.store.events.lock().unwrap().len(), events);
}
