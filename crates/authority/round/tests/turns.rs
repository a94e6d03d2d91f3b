//! Steps by the clock and by hand, through the authority's own doors.

use futures::FutureExt;
use marque_audit::EventKind;
use marque_jose::{Signer, SigningKeys, UnverifiedJws, sign_compact};
use marque_spiffe::{UnverifiedJwtSvid, UnverifiedX509Svid};

use super::*;
use crate::{Authority, NextStep, testing::access_token_claims};

const H: u64 = 3600;

fn keep_up(authority: &Authority, at: u64) {
    authority.keep_up(later(at)).now_or_never().unwrap().unwrap();
}

fn by_hand() -> OrderedBy {
    OrderedBy { by: Some("local:7".to_owned()), reason: Some("a drill".to_owned()) }
}

/// The keys of a purpose and their states, in the order of their making.
fn states(authority: &Authority, purpose: KeyPurpose) -> String {
    let mut keys = authority.list();
    keys.retain(|key| key.slot.purpose() == purpose);
    keys.sort_by_key(|key| key.slot.place());
    let told = keys.iter().map(|key| {
        let (_, name) = key.slot.place();
        let tainted = if key.tainted_at.is_some() { "!" } else { "" };
        format!("{}{} {}{tainted}", name.as_str(), key.slot.generation(), key.state)
    });
    told.collect::<Vec<_>>().join(", ")
}

#[test]
fn by_the_clock_a_key_is_prepared_signs_grows_old_leaves_and_is_forgotten() {
    let house = House::default();
    let authority = house.open().unwrap();
    // A day of life: prepared at half of it, active at five sixths, and out of the bundle when what the one before signed has
    // ended by every clock.
    for (at, expected) in [
        (12 * H - 1, "a1 active"),
        (12 * H, "a1 active, b1 prepared"),
        (20 * H - 1, "a1 active, b1 prepared"),
        (20 * H, "a1 old, b1 active"),
        (24 * H + 299, "a1 old, b1 active, a2 prepared"),
        (24 * H + 300, "a1 retired, b1 active, a2 prepared"),
        (32 * H, "a1 retired, b1 old, a2 active"),
        (36 * H + 299, "a1 retired, b1 old, a2 active, b2 prepared"),
        (36 * H + 300, "b1 retired, a2 active, b2 prepared"),
    ] {
        let sequence = authority.bundle().sequence();
        let before = authority.bundle();
        keep_up(&authority, at);
        for purpose in [KeyPurpose::X509Authority, KeyPurpose::JwtSvid, KeyPurpose::WitSvid] {
            assert_eq!(states(&authority, purpose), expected, "{purpose} at {at}");
        }
        let after = authority.bundle();
        assert_eq!(after.sequence() > sequence, *after != *before, "{at}");
        after.supersedes(&before).unwrap();
        // Nothing is due twice, and nothing changes when nothing is due.
        keep_up(&authority, at);
        assert_eq!(authority.bundle(), after);
        authority.mint_x509_svid(&x509_template("/agent/a"), later(at)).unwrap();
        authority.mint_jwt_svid(&jwt_template("/agent/a"), later(at)).unwrap();
    }
    assert_eq!(states(&authority, KeyPurpose::AuditCheckpoint), "a1 active");
    let kept: Vec<_> = house.keys.list().unwrap().iter().map(ToString::to_string).collect();
    assert!(!kept.contains(&"x509-authority-a-1".to_owned()), "{kept:?}");
    assert!(kept.contains(&"x509-authority-b-1".to_owned()), "{kept:?}");
    let reopened = house.open_with(config("prod.example.org"), later(36 * H + 300)).unwrap();
    assert_eq!(reopened.bundle(), authority.bundle());
    assert!(reopened.created().is_empty());
}

#[test]
fn the_log_is_told_of_every_step_in_its_order() {
    let house = House::default();
    let authority = house.open().unwrap();
    for at in [12 * H, 20 * H, 24 * H + 300, 36 * H + 300] {
        keep_up(&authority, at);
    }
    let events = house.store.events.lock().unwrap();
    let of_first = events.iter().filter(|event| event.detail["slot"] == "jwt-svid-a-1");
    let kinds: Vec<_> = of_first.map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [EventKind::AuthorityCreated, EventKind::AuthorityRetired, EventKind::AuthorityPruned]
    );
    let of_second = events.iter().filter(|event| event.detail["slot"] == "jwt-svid-b-1");
    let second: Vec<_> = of_second.collect();
    assert_eq!(
        second.iter().map(|event| event.kind).collect::<Vec<_>>()[..2],
        [EventKind::AuthorityPrepared, EventKind::AuthorityActivated]
    );
    assert_eq!(second[1].detail["replaces"], "jwt-svid-a-1");
    assert_eq!(second[0].expires_at, Some(later(36 * H)));
}

#[test]
fn a_key_that_is_lost_is_not_activated_and_no_other_is_given_up_for_it() {
    let house = House::default();
    let authority = house.open_with(config("prod.example.org"), START).unwrap();
    let prepared = authority.prepare(KeyPurpose::JwtSvid, by_hand(), START);
    let prepared = prepared.now_or_never().unwrap().unwrap();
    house.keys.remove(&prepared).unwrap();
    let lost = |refused: AuthorityError| {
        assert!(
            matches!(&refused, AuthorityError::KeyMissing { slot } if *slot == prepared),
            "{refused:?}"
        );
    };
    let activated = authority.activate(prepared.clone(), true, by_hand(), later(1));
    lost(activated.now_or_never().unwrap().unwrap_err());
    let active = SlotId::first(KeyPurpose::JwtSvid);
    let tainted = authority.taint(active, by_hand(), later(1));
    lost(tainted.now_or_never().unwrap().unwrap_err());
    assert_eq!(states(&authority, KeyPurpose::JwtSvid), "a1 active, b1 prepared");
    // The keys of other purposes go on: what is due for them is done, and what failed is told.
    let kept_up = authority.keep_up(later(20 * H)).now_or_never().unwrap();
    lost(kept_up.unwrap_err());
    assert_eq!(states(&authority, KeyPurpose::X509Authority), "a1 active, b1 prepared");
    assert_eq!(states(&authority, KeyPurpose::WitSvid), "a1 active, b1 prepared");
    // What is lost is given up, and another one takes its turn.
    let given_up = authority.taint(prepared.clone(), by_hand(), later(20 * H));
    given_up.now_or_never().unwrap().unwrap();
    keep_up(&authority, 20 * H + 1);
    assert_eq!(states(&authority, KeyPurpose::JwtSvid), "a1 active, b1 old!, a2 prepared");
}

#[test]
fn fe_1_a_key_does_not_sign_before_it_was_published_for_three_times_the_refresh_hint() {
    let house = House::default();
    let hint = Duration::from_secs(2 * H);
    let slow = || AuthorityConfig { refresh_hint: hint, ..config("prod.example.org") };
    let authority = house.open_with(slow(), START).unwrap();
    // Nobody looked for eighteen hours.
    keep_up(&authority, 18 * H);
    keep_up(&authority, 20 * H);
    assert_eq!(states(&authority, KeyPurpose::JwtSvid), "a1 active, b1 prepared");
    let prepared = authority.list().into_iter().find(|key| key.usable_from.is_some()).unwrap();
    // A second more, because records are dated in whole seconds.
    assert_eq!(prepared.usable_from, Some(later(24 * H + 1)));
    let refused = authority.activate(prepared.slot, false, by_hand(), later(23 * H));
    let refused = refused.now_or_never().unwrap().unwrap_err();
    assert!(
        matches!(&refused, AuthorityError::Refused(OrderRefusal::TooEarly { until, .. }) if *until == later(24 * H + 1)),
        "{refused:?}"
    );
    // The key that signs ends before that: there is nothing else to sign with.
    keep_up(&authority, 24 * H - 1);
    assert_eq!(states(&authority, KeyPurpose::JwtSvid), "a1 active, b1 prepared");
    keep_up(&authority, 24 * H);
    assert!(states(&authority, KeyPurpose::JwtSvid).contains("b1 active"));

    let at_once = House::default();
    let authority = at_once.open_with(slow(), START).unwrap();
    let slot = authority.prepare(KeyPurpose::JwtSvid, by_hand(), START).now_or_never().unwrap();
    let activated = authority.activate(slot.unwrap(), true, by_hand(), later(1));
    activated.now_or_never().unwrap().unwrap();
    assert_eq!(states(&authority, KeyPurpose::JwtSvid), "a1 old, b1 active");
    // The old one stays until those who fetch the bundle know the new one.
    keep_up(&authority, 6 * H);
    assert_eq!(states(&authority, KeyPurpose::JwtSvid), "a1 old, b1 active");
}

#[test]
fn what_was_signed_before_a_rotation_verifies_until_it_ends() {
    let house = House::default();
    let authority = house.open().unwrap();
    keep_up(&authority, 12 * H);
    let bundle_before = authority.bundle();
    let svid = authority.mint_x509_svid(&x509_template("/agent/a"), later(20 * H - 1)).unwrap();
    let token = authority.mint_jwt_svid(&jwt_template("/agent/a"), later(20 * H - 1)).unwrap();
    keep_up(&authority, 20 * H);
    let next = authority.mint_x509_svid(&x509_template("/agent/a"), later(20 * H)).unwrap();
    // The old chain by the new bundle until its end, and the new chain by the bundle of those who did not fetch it since.
    let verify = |chain: Vec<_>, bundle: &Bundle, at| {
        UnverifiedX509Svid::parse_chain(chain).unwrap().verify(bundle, later(at)).map(drop)
    };
    keep_up(&authority, 21 * H - 2);
    verify(svid.chain.clone(), &authority.bundle(), 21 * H - 2).unwrap();
    verify(next.chain, &bundle_before, 20 * H).unwrap();
    let token = UnverifiedJwtSvid::parse(token.token.expose_token()).unwrap();
    token.verify(&authority.bundle(), "https://issuer.example.org", later(20 * H + 298)).unwrap();
}

#[test]
fn access_tokens_of_the_old_key_verify_by_the_key_set_and_the_set_stays_small() {
    let house = House::default();
    let authority = house.open().unwrap();
    let verifies = |signed: &marque_jose::CompactToken| {
        let jws = UnverifiedJws::parse(signed.expose_token()).unwrap();
        let published = authority.published();
        let key = published.find(jws.header().kid().unwrap());
        key.is_some_and(|key| jws.verify(&key.key, key.algorithms()).is_ok())
    };
    let sign =
        |signer: &dyn Signer| sign_compact(Some("at+jwt"), &access_token_claims(), signer).unwrap();
    let first = sign(&*authority.signer());
    let before = authority.signer().key_id().clone();
    let mut most = 0;
    for step in 0..120 {
        keep_up(&authority, step * H / 2);
        most = most.max(authority.published().keys.len());
        assert!(most <= 3, "three keys at {step}");
        assert_eq!(verifies(&first), step * H / 2 < 24 * H + 300, "{step}");
        assert!(verifies(&sign(&*authority.signer())));
    }
    assert_eq!(most, 3);
    assert_ne!(*authority.signer().key_id(), before);
    assert!(house.store.records.lock().unwrap().len() <= 4 * 4 + 1);
    assert!(house.keys.list().unwrap().len() <= 4 * 4 + 1);
}

#[test]
fn a_tainted_key_signs_no_more_and_is_believed_until_it_is_revoked() {
    let house = House::default();
    let authority = house.open().unwrap();
    let a = SlotId::first(KeyPurpose::X509Authority);
    let taint = |slot: &SlotId, at| {
        authority.taint(slot.clone(), by_hand(), later(at)).now_or_never().unwrap()
    };
    let refused = taint(&a, 1).unwrap_err();
    assert!(refused.to_string().contains("marque authority prepare x509-authority"), "{refused}");

    let svid = authority.mint_x509_svid(&x509_template("/agent/a"), later(1)).unwrap();
    let verify = |chain: Vec<_>, bundle: &Bundle, at| {
        UnverifiedX509Svid::parse_chain(chain).unwrap().verify(bundle, later(at)).map(drop)
    };
    let made = authority.prepare(KeyPurpose::X509Authority, by_hand(), later(1));
    made.now_or_never().unwrap().unwrap();
    let (sequence, mut changes) = (authority.bundle().sequence(), authority.subscribe());
    changes.mark_unchanged();
    taint(&a, 2).unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(states(&authority, KeyPurpose::X509Authority), "a1 old!, b1 active");
    assert_eq!(authority.bundle().sequence(), sequence, "the bundle is the same");
    assert_eq!(authority.trusted().alarms, 1);
    verify(svid.chain.clone(), &authority.bundle(), 2).unwrap();
    verify(svid.chain.clone(), &authority.trusted().untainted, 2).unwrap_err();
    let anew = authority.mint_x509_svid(&x509_template("/agent/a"), later(2)).unwrap();
    verify(anew.chain.clone(), &authority.trusted().untainted, 2).unwrap();
    taint(&a, 3).unwrap_err();

    let revoke = |slot: &SlotId, at| {
        authority.revoke(slot.clone(), by_hand(), later(at)).now_or_never().unwrap()
    };
    revoke(&b(KeyPurpose::X509Authority), 3).unwrap_err();
    revoke(&a, 3).unwrap();
    assert_eq!(states(&authority, KeyPurpose::X509Authority), "a1 revoked!, b1 active");
    assert!(authority.bundle().sequence() > sequence);
    assert_eq!(authority.bundle(), authority.trusted().untainted);
    verify(svid.chain, &authority.bundle(), 3).unwrap_err();
    verify(anew.chain, &authority.bundle(), 3).unwrap();
    revoke(&a, 4).unwrap_err();
}

#[test]
fn a_tainted_key_that_nobody_revokes_leaves_when_it_has_ended() {
    let house = House::default();
    let authority = house.open().unwrap();
    let purpose = KeyPurpose::JwtSvid;
    authority.prepare(purpose, by_hand(), START).now_or_never().unwrap().unwrap();
    authority.taint(SlotId::first(purpose), by_hand(), START).now_or_never().unwrap().unwrap();
    keep_up(&authority, 12 * H);
    assert!(states(&authority, purpose).starts_with("a1 old!"), "longer than one that is not");
    keep_up(&authority, 24 * H + 300);
    assert!(states(&authority, purpose).starts_with("a1 retired!"));
}

#[test]
fn a_prepared_key_that_is_tainted_never_signs_and_another_one_can_be_prepared() {
    let house = House::default();
    let authority = house.open().unwrap();
    let purpose = KeyPurpose::WitSvid;
    let prepare = |at| authority.prepare(purpose, by_hand(), later(at)).now_or_never().unwrap();
    let slot = prepare(0).unwrap();
    let refused = prepare(0).unwrap_err();
    assert!(matches!(&refused, AuthorityError::Refused(OrderRefusal::AlreadyPrepared { .. })));
    authority.taint(slot.clone(), by_hand(), later(1)).now_or_never().unwrap().unwrap();
    let activated = authority.activate(slot.clone(), true, by_hand(), later(1));
    activated.now_or_never().unwrap().unwrap_err();
    prepare(1).unwrap();
    authority.revoke(slot, by_hand(), later(2)).now_or_never().unwrap().unwrap();
    assert_eq!(states(&authority, purpose), "a1 active, b1 revoked!, a2 prepared");
}

#[test]
fn no_more_keys_are_published_than_every_verifier_can_keep() {
    let house = House::default();
    let authority = house.open().unwrap();
    let purpose = KeyPurpose::JwtSvid;
    let prepare = || authority.prepare(purpose, by_hand(), START).now_or_never().unwrap();
    for _ in 1..crate::MAX_PUBLISHED_KEYS {
        let slot = prepare().unwrap();
        authority.activate(slot, true, by_hand(), START).now_or_never().unwrap().unwrap();
    }
    let keys = house.keys.list().unwrap().len();
    let refused = prepare().unwrap_err();
    assert!(matches!(&refused, AuthorityError::Refused(OrderRefusal::TooMany { .. })), "{refused}");
    assert_eq!(house.keys.list().unwrap().len(), keys, "no key is made for nothing");
    assert_eq!(authority.bundle().jwt_authorities().len(), crate::MAX_PUBLISHED_KEYS);
    // By the clock there is room again when the next one is due.
    keep_up(&authority, 12 * H);
    assert!(states(&authority, purpose).contains("prepared"));
}

#[test]
fn what_another_process_did_is_taken_up() {
    let house = House::default();
    let (one, other) = (house.open().unwrap(), house.open().unwrap());
    keep_up(&one, 12 * H);
    let stale = other.bundle();
    keep_up(&other, 12 * H);
    assert_eq!(other.bundle(), one.bundle());
    assert_ne!(other.bundle(), stale);
    keep_up(&other, 20 * H);
    // What one signs with is in the bundle of both already, and each of them steps once.
    let events = house.store.events.lock().unwrap().len();
    keep_up(&one, 20 * H);
    assert_eq!(house.store.events.lock().unwrap().len(), events);
    assert_eq!(one.signer().key_id(), other.signer().key_id());
    let svid = other.mint_x509_svid(&x509_template("/agent/a"), later(20 * H)).unwrap();
    let svid = UnverifiedX509Svid::parse_chain(svid.chain).unwrap();
    svid.verify(&one.bundle(), later(20 * H)).unwrap();
}

#[test]
fn a_bundle_that_did_not_change_is_the_very_same() {
    let house = House::default();
    let authority = house.open().unwrap();
    let before = authority.bundle();
    authority.prepare(KeyPurpose::AccessToken, by_hand(), START).now_or_never().unwrap().unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &authority.bundle()));
    assert_eq!(authority.published().keys.len(), 2);
}

#[test]
fn the_key_of_checkpoints_takes_no_turns() {
    let house = House::default();
    let authority = house.open().unwrap();
    let purpose = KeyPurpose::AuditCheckpoint;
    let prepared = authority.prepare(purpose, by_hand(), START).now_or_never().unwrap();
    let refused = prepared.unwrap_err();
    assert!(matches!(&refused, AuthorityError::Refused(OrderRefusal::NotRotated { .. })));
    let tainted = authority.taint(SlotId::first(purpose), by_hand(), START);
    tainted.now_or_never().unwrap().unwrap_err();
    assert_eq!(authority.list().iter().filter(|key| key.slot.purpose() == purpose).count(), 1);
}

#[test]
fn another_algorithm_for_jwt_svids_is_taken_up_by_the_next_key() {
    let house = House::default();
    house.open().unwrap();
    let jwt_svid_algorithm = KeyAlgorithm::Rsa2048;
    let rs256 = AuthorityConfig { jwt_svid_algorithm, ..config("prod.example.org") };
    let authority = house.open_with(rs256, START).unwrap();
    let signs_with = |algorithm| {
        let minted = authority.mint_jwt_svid(&jwt_template("/agent/a"), later(1)).unwrap().token;
        let jws = UnverifiedJws::parse(minted.expose_token()).unwrap();
        let bundle = authority.bundle();
        let (key, _algorithms) = bundle.jwt_authority(jws.header().kid().unwrap()).unwrap();
        jws.verify(key, &[algorithm]).is_ok()
    };
    assert!(signs_with(marque_jose::Algorithm::Es256));
    let slot = authority.prepare(KeyPurpose::JwtSvid, by_hand(), START).now_or_never().unwrap();
    let activated = authority.activate(slot.unwrap(), true, by_hand(), later(1));
    activated.now_or_never().unwrap().unwrap();
    assert!(signs_with(marque_jose::Algorithm::Rs256));
    // The others stay as they are.
    authority.mint_wit_svid(&crate::testing::wit_template("/agent/a"), later(1)).unwrap();
    authority.mint_x509_svid(&x509_template("/agent/a"), later(1)).unwrap();
}

#[test]
fn a_list_says_what_the_clock_does_next() {
    let authority = House::default().open().unwrap();
    let next = |purpose| {
        let keys = authority.list();
        let next = keys.iter().filter(|key| key.slot.purpose() == purpose).map(|key| key.next);
        next.collect::<Vec<_>>()
    };
    let x509 = KeyPurpose::X509Authority;
    assert_eq!(next(x509), [Some((NextStep::Followed, later(12 * H)))]);
    assert_eq!(next(KeyPurpose::AuditCheckpoint), [None]);
    keep_up(&authority, 12 * H);
    assert_eq!(next(x509), [None, Some((NextStep::Activated, later(20 * H)))]);
    keep_up(&authority, 20 * H);
    let retired = Some((NextStep::Retired, later(24 * H + 300)));
    assert_eq!(next(x509), [retired, Some((NextStep::Followed, later(24 * H)))]);
    let root = authority.list().into_iter().find(|key| key.slot.purpose() == x509).unwrap();
    assert_eq!(root.key_id.len(), 40, "{}", root.key_id);
    let token = authority.list().into_iter().find(|key| key.slot.purpose() == KeyPurpose::JwtSvid);
    assert!(token.unwrap().key_id.starts_with("jwt-svid-a-1-"));
}
