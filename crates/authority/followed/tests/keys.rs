//! The keys for tokens of the upstream.

use super::*;

#[test]
fn keys_for_tokens_come_and_go_and_never_sign_here() {
    let (_house, above, authority) = founded();
    let own = authority.bundle();
    above.edit(|told| {
        told.jwt_keys.push(key("jwt-above"));
        told.wit_keys.push(ToldKey { tainted: true, ..key("wit-above") });
    });
    assert!(heard(&authority, later(5)), "the sequence may stay");
    let trusted = authority.trusted();
    let names = |bundle: &Bundle| {
        let jwt = bundle.jwt_authorities().keys().map(ToString::to_string);
        let wit = bundle.wit_authorities().keys().map(ToString::to_string);
        (jwt.collect::<Vec<_>>(), wit.collect::<Vec<_>>())
    };
    assert!(names(&trusted.bundle).0.contains(&"jwt-above".to_owned()));
    assert!(names(&trusted.bundle).1.contains(&"wit-above".to_owned()));
    assert!(!names(&trusted.untainted).1.contains(&"wit-above".to_owned()));
    assert!(trusted.bundle.sequence() > own.sequence());
    let keys = authority.access_token_keys();
    assert_eq!(keys.keys.len(), 1, "those for access tokens are not shared");
    let token = authority.mint_jwt_svid(&jwt_template("/agent/a"), later(5)).unwrap();
    let token = marque_jose::UnverifiedJws::parse(token.token.expose_token()).unwrap();
    assert!(token.header().kid().unwrap().as_str().starts_with("jwt-svid-a-1-"));

    above.tell(2, &[(0, false)]);
    assert!(heard(&authority, later(10)));
    assert_eq!(names(&authority.bundle()), names(&own));
}

#[test]
fn keys_that_have_ended_or_are_of_another_kind_are_left_out() {
    let (_house, above, authority) = founded();
    let ed25519 = hex::decode(
        "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
    );
    above.edit(|told| {
        told.jwt_keys = vec![
            ToldKey { expires_at: Some(later(5)), ..key("ended") },
            ToldKey { expires_at: Some(later(6)), ..key("lasts") },
            ToldKey { spki_der: ed25519.unwrap(), ..key("another-kind") },
        ];
    });
    assert!(heard(&authority, later(5)));
    let followed = authority.followed().unwrap();
    let names: Vec<_> = followed.keys.iter().map(|key| key.key_id.as_str()).collect();
    assert_eq!(names, ["lasts"]);
    assert!(heard(&authority, later(6)), "and go when they end");
    assert!(authority.followed().unwrap().keys.is_empty());
}

#[test]
fn a_key_that_ends_leaves_although_the_upstream_is_silent() {
    let (house, above, authority) = founded();
    above.edit(|told| {
        told.jwt_keys = vec![ToldKey { expires_at: Some(later(60)), ..key("ends") }, key("lasts")];
    });
    assert!(heard(&authority, later(5)));
    above.change(|state| state.tells = None);
    hear(&authority, later(59)).unwrap_err();
    assert_eq!(authority.followed().unwrap().keys.len(), 2);
    // A restart knows it as well.
    let again = house.open_with(below(&above), later(59)).unwrap();
    let (sequence, events) = (again.bundle().sequence(), house.store.events.lock().unwrap().len());
    let unheard = hear(&again, later(60)).unwrap_err();
    assert!(matches!(unheard, AuthorityError::Unheard(_)), "{unheard:?}");
    let names: Vec<_> = again.bundle().jwt_authorities().keys().map(ToString::to_string).collect();
    assert!(names.contains(&"lasts".to_owned()), "{names:?}");
    assert!(!names.contains(&"ends".to_owned()), "{names:?}");
    assert!(again.bundle().sequence() > sequence);
    hear(&again, later(65)).unwrap_err();
    assert_eq!(house.store.events.lock().unwrap().len(), events + 1, "once");
}

#[test]
fn a_taint_counts_from_when_it_was_heard() {
    let (_house, above, authority) = founded();
    let tell = |tainted| {
        let told_key = ToldKey { tainted, ..key_of_a(&above) };
        above.edit(|told| told.jwt_keys = vec![told_key]);
    };
    let since = || {
        let followed = authority.followed().unwrap();
        (followed.roots[0].tainted_since, followed.keys[0].tainted_since)
    };
    tell(false);
    assert!(heard(&authority, later(5)));
    assert_eq!(since(), (None, None));
    tell(true);
    above.edit(|told| told.roots[0].tainted = true);
    assert!(heard(&authority, later(10)));
    assert_eq!(since(), (Some(later(10)), Some(later(10))));
    assert!(!heard(&authority, later(15)));
    above.edit(|told| told.wit_keys.push(key("other")));
    assert!(heard(&authority, later(20)));
    assert_eq!(since(), (Some(later(10)), Some(later(10))));
}

fn key_of_a(above: &Above) -> ToldKey {
    ToldKey { spki_der: spki(&above.0.lock().unwrap().roots[0]), ..key("a") }
}

#[test]
fn an_own_key_does_not_come_back_by_the_upstream_and_its_name_is_taken() {
    let (house, above, authority) = founded();
    let bundle = authority.bundle();
    let (name, own) = bundle.jwt_authorities().iter().next().unwrap();
    let access = authority.access_token_keys().keys[0].clone();
    let told = |key_id: &str, spki_der| ToldKey { key_id: key_id.to_owned(), spki_der, ..key("x") };
    above.edit(|told_bundle| {
        told_bundle.jwt_keys = vec![
            told("by-another-name", own.to_spki_der()),
            told("of-access-tokens", access.key.to_spki_der()),
            told(name.as_str(), key("other").spki_der),
            key("fine"),
        ];
    });
    assert!(heard(&authority, later(5)));
    let after = authority.bundle();
    assert_eq!(after.jwt_authorities().len(), 2);
    assert_eq!(after.jwt_authorities().get(name), Some(own));
    let events = house.store.events.lock().unwrap();
    let detail = &events.last().unwrap().detail;
    assert_eq!(detail["keys_left_out"], serde_json::json!([name.as_str()]));
    assert_eq!(detail["keys_added"], serde_json::json!(["fine"]));
}
