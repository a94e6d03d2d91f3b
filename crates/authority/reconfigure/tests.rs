use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use marque_jose::{Algorithm, UnverifiedJws};
use marque_keys::{KeyAlgorithm, KeyPurpose, SlotId};
use marque_spiffe::{Environment, UnverifiedX509Svid};
use marque_testkit::START;

use crate::{
    Authority, AuthorityConfig, AuthorityError, AuthorityState, ConfigError, OrderedBy,
    testing::{HOUR, House, config, jwt_template, later, wit_template, x509_template},
};

const MINUTE: Duration = Duration::from_secs(60);

fn reconfigure(
    authority: &Authority,
    change: impl FnOnce(&mut AuthorityConfig),
    at: Timestamp,
) -> Result<(), AuthorityError> {
    let mut config = AuthorityConfig::clone(&authority.config());
    change(&mut config);
    let ready = authority.reconfigure(config, at).now_or_never().unwrap()?;
    ready.take_effect();
    Ok(())
}

fn keep_up(authority: &Authority, at: u64) {
    authority.keep_up(later(at)).now_or_never().unwrap().unwrap();
}

fn prepare(authority: &Authority, purpose: KeyPurpose, at: u64) -> SlotId {
    let prepared = authority.prepare(purpose, OrderedBy::default(), later(at));
    prepared.now_or_never().unwrap().unwrap()
}

fn activate(authority: &Authority, slot: &SlotId, at: u64) -> Result<(), AuthorityError> {
    let slot = slot.clone();
    authority.activate(slot, false, OrderedBy::default(), later(at)).now_or_never().unwrap()
}

fn state(authority: &Authority, slot: &SlotId) -> AuthorityState {
    authority.list().into_iter().find(|key| key.slot == *slot).unwrap().state
}

#[test]
fn what_is_minted_next_goes_by_the_new_ceilings_and_the_keys_stay() {
    let house = House::default();
    let authority = house.open().unwrap();
    let (bundle, ends_at) = (authority.bundle(), authority.ends_at());
    reconfigure(
        &authority,
        |config| {
            config.ca_lifetime = 12 * HOUR;
            config.max_x509_svid_lifetime = 10 * MINUTE;
            config.max_jwt_svid_lifetime = MINUTE;
            config.max_wit_svid_lifetime = 20 * MINUTE;
        },
        START,
    )
    .unwrap();
    let ends = |authority: &Authority, at| {
        (
            authority.mint_x509_svid(&x509_template("/agent/a"), at).unwrap().not_after,
            authority.mint_jwt_svid(&jwt_template("/agent/a"), at).unwrap().expires_at,
            authority.mint_wit_svid(&wit_template("/agent/a"), at).unwrap().expires_at,
        )
    };
    assert_eq!(ends(&authority, START), (later(600), later(60), later(1200)));
    assert_eq!((authority.bundle(), authority.ends_at()), (bundle, ends_at));
    // Longer ones, too; the next key lasts as long as the settings of now say.
    reconfigure(&authority, |config| config.max_x509_svid_lifetime = 90 * MINUTE, START).unwrap();
    let mut template = x509_template("/agent/a");
    template.lifetime = 2 * HOUR;
    assert_eq!(authority.mint_x509_svid(&template, START).unwrap().not_after, later(5400));
    let next = prepare(&authority, KeyPurpose::X509Authority, 10);
    let next = authority.list().into_iter().find(|key| key.slot == next).unwrap();
    assert_eq!(next.ends_at, Some(later(10 + 12 * 3600)));
}

#[test]
fn settings_that_will_not_do_change_nothing() {
    let house = House::default();
    let authority = house.open().unwrap();
    for (change, refused) in [
        (
            (|config| config.max_x509_svid_lifetime = 25 * HOUR) as fn(&mut AuthorityConfig),
            ConfigError::LongerThanRoot { setting: "max_x509_svid_lifetime" },
        ),
        (|config| config.environment = Environment::NonProduction, ConfigError::OtherTrustDomain),
        (
            |config| config.trust_domain = "dev.example.org".parse().unwrap(),
            ConfigError::OtherTrustDomain,
        ),
    ] {
        let error = reconfigure(&authority, change, START).unwrap_err();
        assert!(matches!(error, AuthorityError::Config(why) if why == refused), "{error:?}");
        assert_eq!(authority.config().max_x509_svid_lifetime, HOUR);
    }
    // What was made ready and given up changes nothing either.
    let mut shorter = AuthorityConfig::clone(&authority.config());
    shorter.max_x509_svid_lifetime = MINUTE;
    drop(authority.reconfigure(shorter, START).now_or_never().unwrap().unwrap());
    assert_eq!(authority.config().max_x509_svid_lifetime, HOUR);
    keep_up(&authority, 1);
}

#[test]
fn another_algorithm_is_that_of_the_next_key_and_the_one_that_signs_keeps_its_own() {
    let house = House::default();
    let authority = house.open().unwrap();
    let first = authority.bundle();
    let rs256 = |config: &mut AuthorityConfig| config.jwt_svid_algorithm = KeyAlgorithm::Rsa2048;
    reconfigure(&authority, rs256, START).unwrap();
    assert_eq!(authority.bundle(), first);
    let next = prepare(&authority, KeyPurpose::JwtSvid, 1);
    activate(&authority, &next, 200).unwrap();
    let token = authority.mint_jwt_svid(&jwt_template("/agent/a"), later(200)).unwrap().token;
    let jws = UnverifiedJws::parse(token.expose_token()).unwrap();
    let bundle = authority.bundle();
    let (key, _algorithms) = bundle.jwt_authority(jws.header().kid().unwrap()).unwrap();
    jws.verify(key, &[Algorithm::Rs256]).unwrap();
}

#[test]
fn wit_svids_are_switched_on_with_a_first_key_and_off_without_losing_it() {
    let house = House::default();
    let off = AuthorityConfig { wit_svids: false, ..config("prod.example.org") };
    let authority = house.open_with(off, START).unwrap();
    let before = authority.bundle();
    reconfigure(&authority, |config| config.wit_svids = true, later(1)).unwrap();
    authority.mint_wit_svid(&wit_template("/agent/a"), later(1)).unwrap();
    let after = authority.bundle();
    after.supersedes(&before).unwrap();
    assert_eq!(after.wit_authorities().len(), 1);
    reconfigure(&authority, |config| config.wit_svids = false, later(2)).unwrap();
    let refused = authority.mint_wit_svid(&wit_template("/agent/a"), later(2));
    assert!(matches!(refused, Err(AuthorityError::NoWitSvids)));
    assert_eq!(authority.bundle(), after);
    // A key that ended meanwhile is followed by another at once.
    reconfigure(&authority, |config| config.wit_svids = true, later(25 * 3600)).unwrap();
    authority.mint_wit_svid(&wit_template("/agent/a"), later(25 * 3600)).unwrap();
}

#[test]
fn a_key_is_published_until_the_longest_that_it_signed_has_ended_although_the_next_ones_are_shorter()
 {
    let house = House::default();
    let mut long = config("prod.example.org");
    (long.max_x509_svid_lifetime, long.max_access_token_lifetime) = (6 * HOUR, 6 * HOUR);
    let authority = house.open_with(long, START).unwrap();
    let mut template = x509_template("/agent/a");
    template.lifetime = 6 * HOUR;
    let svid = authority.mint_x509_svid(&template, later(190)).unwrap();
    let old = [KeyPurpose::X509Authority, KeyPurpose::AccessToken].map(|purpose| {
        let next = prepare(&authority, purpose, 0);
        activate(&authority, &next, 200).unwrap();
        SlotId::first(purpose)
    });
    let short = |config: &mut AuthorityConfig| {
        (config.max_x509_svid_lifetime, config.max_access_token_lifetime) = (MINUTE, MINUTE);
    };
    reconfigure(&authority, short, later(210)).unwrap();
    for at in (211..6 * 3600 + 190).step_by(600) {
        keep_up(&authority, at);
        assert!(old.iter().all(|slot| state(&authority, slot) == AuthorityState::Old), "{at}");
        let chain = UnverifiedX509Svid::parse_chain(svid.chain.clone()).unwrap();
        chain.verify(&authority.bundle(), later(at)).unwrap();
    }
    // Not for ever: five minutes more, for clocks that differ, and a step to find that out.
    keep_up(&authority, 6 * 3600 + 600);
    assert!(old.iter().all(|slot| state(&authority, slot) == AuthorityState::Retired));
    assert_eq!(authority.config().earlier, None);
}

#[test]
fn a_refresh_hint_comes_with_the_next_key_and_those_who_go_by_the_last_one_hear_of_that_key() {
    let house = House::default();
    let slow = AuthorityConfig { refresh_hint: HOUR, ..config("prod.example.org") };
    let authority = house.open_with(slow, START).unwrap();
    let before = authority.bundle();
    reconfigure(&authority, |config| config.refresh_hint = MINUTE, START).unwrap();
    // Under one sequence there is one bundle, however long that takes.
    keep_up(&authority, 8 * 3600);
    assert_eq!(authority.bundle(), before);
    let next = prepare(&authority, KeyPurpose::X509Authority, 8 * 3600);
    let after = authority.bundle();
    after.supersedes(&before).unwrap();
    assert_eq!(after.refresh_hint(), MINUTE);
    let refused = activate(&authority, &next, 8 * 3600 + 200).unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(_)), "{refused:?}");
    keep_up(&authority, 8 * 3600 + 201);
    activate(&authority, &next, 11 * 3600 + 1).unwrap();
    // When everybody knows the new one, three of it will do.
    keep_up(&authority, 12 * 3600);
    let next = prepare(&authority, KeyPurpose::X509Authority, 12 * 3600);
    activate(&authority, &next, 12 * 3600 + 181).unwrap();
}
