//! An authority below an upstream whose bundle changes.

use std::sync::{Arc, Mutex};

use futures::{FutureExt as _, future::BoxFuture};
use marque_audit::EventKind;
use marque_spiffe::{
    Bundle, CertificateDigest, Clock as _, UnverifiedX509Svid, X509Svid, X509SvidError,
};
use marque_testkit::{FixedClock, START, ScratchCa, ScratchTrustDomain};
use rcgen::DnType;

use super::*;
use crate::{
    Authority, AuthorityConfig, AuthorityError, CertificateRequest, Hearing, MintedX509Svid,
    OrderRefusal, SignedAuthority, UpstreamAuthority, UpstreamError, UpstreamRule,
    testing::{House, config, jwt_template, later, x509_template},
};

mod keys;
mod leaving;
mod moving;
mod prepared;
mod refused;
mod sequence;

const NAME: &str = "prod.example.org";
const SOURCE: &str = "issuer.example.org:8081";

/// A server above: its roots, which of them signs, and what it tells.
#[derive(Debug)]
struct Above(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By which of them certificates are signed; `None` while it signs nothing.
    signs: Option<usize>,
    tells: Option<ToldBundle>,
    source: Option<&'static str>,
    asked: usize,
    roots: Vec<ScratchCa>,
}

/// A root that names this environment.
fn root(unit: &str, name: &str) -> ScratchCa {
    let mut params = ScratchTrustDomain::at(NAME, START).ca_params();
    params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
    params.distinguished_name.push(DnType::CommonName, name);
    ScratchCa::root(params)
}

fn spki(of: &ScratchCa) -> Vec<u8> {
    certificate::read(of.certificate()).unwrap().public_key().raw.to_vec()
}

fn key(name: &str) -> ToldKey {
    let spki_der = spki(&root("production", name));
    ToldKey { key_id: name.to_owned(), spki_der, expires_at: None, tainted: false }
}

impl Above {
    /// Tells roots A and B, and signs by A.
    fn new() -> Arc<Self> {
        let state = State {
            signs: Some(0),
            tells: None,
            source: Some(SOURCE),
            asked: 0,
            roots: vec![root("production", "A"), root("production", "B")],
        };
        let above = Arc::new(Self(Mutex::new(state)));
        above.tell(1, &[(0, false)]);
        above
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    /// Tells these of its roots from now on, each tainted or not, and no keys.
    fn tell(&self, sequence: u64, roots: &[(usize, bool)]) {
        self.change(|state| {
            let told = |(number, tainted): &(usize, bool)| ToldRoot {
                certificate: state.roots[*number].certificate().clone(),
                tainted: *tainted,
            };
            state.tells = Some(ToldBundle {
                trust_domain: NAME.to_owned(),
                roots: roots.iter().map(told).collect(),
                jwt_keys: Vec::new(),
                wit_keys: Vec::new(),
                sequence,
                refresh_hint: std::time::Duration::from_secs(60),
            });
        });
    }

    fn edit(&self, change: impl FnOnce(&mut ToldBundle)) {
        self.change(|state| change(state.tells.as_mut().unwrap()));
    }

    fn certificate(&self, number: usize) -> CertificateDer<'static> {
        self.0.lock().unwrap().roots[number].certificate().clone()
    }

    fn signs(&self, number: Option<usize>) {
        self.change(|state| state.signs = number);
    }
}

impl UpstreamAuthority for Above {
    fn sign<'a>(
        &'a self,
        request: &'a CertificateRequest,
    ) -> BoxFuture<'a, Result<SignedAuthority, UpstreamError>> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        let signed = state.signs.map(|number| {
            let times = ScratchTrustDomain::at(NAME, START).ca_params();
            let root = &state.roots[number];
            SignedAuthority {
                chain: vec![root.sign_request(&request.pem, &times)],
                roots: vec![root.certificate().clone()],
            }
        });
        let signed = signed.ok_or_else(|| UpstreamError::new("it signs nothing"));
        std::future::ready(signed).boxed()
    }

    fn source(&self) -> Option<&str> {
        self.0.lock().unwrap().source
    }

    fn bundle(&self) -> BoxFuture<'_, Result<ToldBundle, UpstreamError>> {
        let told = self.0.lock().unwrap().tells.clone();
        std::future::ready(told.ok_or_else(|| UpstreamError::new("it is down"))).boxed()
    }
}

fn below(above: &Arc<Above>) -> AuthorityConfig {
    let rule = UpstreamRule { authority: Some(Arc::clone(above) as _), ..UpstreamRule::default() };
    AuthorityConfig { upstream: Some(rule), ..config(NAME) }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits")
}

fn hear(authority: &Authority, at: Timestamp) -> Result<Option<Hearing>, AuthorityError> {
    now(authority.hear_upstream(&FixedClock::new(at)))
}

fn heard(authority: &Authority, at: Timestamp) -> bool {
    hear(authority, at).unwrap().expect("somebody to hear").changed
}

fn minted(authority: &Authority, at: Timestamp) -> MintedX509Svid {
    authority.mint_x509_svid(&x509_template("/agent/a"), at).unwrap()
}

fn verified(svid: &MintedX509Svid, bundle: &Bundle) -> Result<X509Svid, X509SvidError> {
    UnverifiedX509Svid::parse_chain(svid.chain.clone())?.verify(bundle, later(300))
}

/// A house below a server whose bundle was heard once.
fn founded() -> (House, Arc<Above>, Authority) {
    let (house, above) = (House::default(), Above::new());
    let authority = house.open_with(below(&above), START).unwrap();
    assert!(heard(&authority, START), "the first word is news");
    (house, above, authority)
}

#[test]
fn a_root_comes_and_goes_with_that_of_the_upstream_and_is_on_record() {
    let (house, above, authority) = founded();
    let (a, b) = (above.certificate(0), above.certificate(1));
    assert_eq!(authority.bundle().x509_authorities(), std::slice::from_ref(&a));
    let (sequence, changes) = (authority.bundle().sequence(), authority.subscribe());
    assert!(!heard(&authority, later(5)), "nothing new");
    assert!(!changes.has_changed().unwrap());

    above.tell(2, &[(0, false), (1, false)]);
    assert!(heard(&authority, later(10)));
    assert!(changes.has_changed().unwrap(), "streams are told");
    let mut both = [a.clone(), b.clone()];
    both.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
    assert_eq!(*authority.bundle().x509_authorities(), both);
    assert!(authority.bundle().sequence() > sequence);
    assert_eq!(authority.trusted().bundle, authority.trusted().untainted);
    assert_eq!(authority.heard().unwrap().at, later(10));

    // Another replica takes it up, and a start without the upstream keeps it.
    let replica = house.open_with(below(&above), START).unwrap();
    above.tell(3, &[(1, false), (0, false)]);
    assert!(!heard(&authority, later(15)), "another order and another number are no news");
    assert_eq!(*authority.bundle().x509_authorities(), both);
    above.change(|state| state.tells = None);
    now(replica.keep_up(later(20))).unwrap();
    assert_eq!(replica.bundle(), authority.bundle());
    let since = authority.followed().unwrap().roots.iter().map(|root| root.since).max();
    assert_eq!(since, Some(later(10)), "it is published since it was heard of first");
    let again = house.open_with(below(&above), later(20)).unwrap();
    assert_eq!(again.bundle(), authority.bundle());

    let alarms = authority.trusted().alarms;
    above.tell(4, &[(0, false)]);
    assert!(heard(&authority, later(25)));
    assert_eq!(*authority.bundle().x509_authorities(), [a]);
    assert_ne!(authority.trusted().alarms, alarms, "every stream is told at once");
    let events = house.store.events.lock().unwrap().clone();
    let told: Vec<_> =
        events.iter().filter(|event| event.kind == EventKind::AuthorityFollowed).collect();
    let digest = CertificateDigest::of(&b).to_string();
    assert_eq!(told.len(), 3);
    assert_eq!(told[1].detail["roots_added"], serde_json::json!([digest]));
    assert_eq!(told[2].detail["roots_removed"], serde_json::json!([digest]));
    assert_eq!(
        (told[2].detail["upstream"].as_str(), told[2].detail["upstream_sequence"].as_u64()),
        (Some(SOURCE), Some(4))
    );
}

#[test]
fn what_is_followed_outlives_the_record_that_holds_it() {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, false)]);
    assert!(heard(&authority, START));
    let bundle = authority.bundle();
    let clock = FixedClock::new(later(12 * 3600));
    // The next key holds it when something is heard the next time; the first one goes with what it has.
    for _ in 0..2 {
        now(authority.prepare_below_upstream(moving(), &clock)).unwrap();
        let next = authority.list().into_iter().find(|view| view.state == AuthorityState::Prepared);
        now(authority.activate(next.unwrap().slot, true, moving(), clock.now())).unwrap();
        clock.advance(std::time::Duration::from_secs(3600));
        now(authority.keep_up(clock.now())).unwrap();
    }
    // The old ones leave and are forgotten; what signs has ended meanwhile, and is left to others.
    for days in [3, 5] {
        clock.set(later(days * 24 * 3600));
        now(authority.keep_up(clock.now())).ok();
    }
    let slots: Vec<_> = authority.list().iter().map(|view| view.slot.to_string()).collect();
    assert!(!slots.contains(&"x509-authority-a-1".to_owned()), "{slots:?}");
    assert_eq!(authority.followed().unwrap().roots.len(), 2);
    assert_eq!(authority.bundle().x509_authorities(), bundle.x509_authorities());
    let holders = house.store.records.lock().unwrap();
    assert_eq!(holders.iter().filter(|record| record.followed.is_some()).count(), 1);
}

#[test]
fn who_is_no_longer_below_the_upstream_keeps_its_roots_and_no_keys() {
    let (house, above, authority) = founded();
    above.tell(2, &[(0, false), (1, false)]);
    above.edit(|told| told.jwt_keys.push(key("above")));
    assert!(heard(&authority, START));
    assert_eq!(authority.bundle().jwt_authorities().len(), 2);
    let svid = minted(&authority, START);

    let alone = house.open_with(config(NAME), later(60)).unwrap();
    let sequence = alone.bundle().sequence();
    assert_eq!(hear(&alone, later(60)).unwrap(), None);
    assert_eq!(alone.followed(), None);
    let bundle = alone.bundle();
    assert!(bundle.sequence() > sequence);
    assert_eq!((bundle.x509_authorities().len(), bundle.jwt_authorities().len()), (2, 1));
    verified(&svid, &bundle).unwrap();
    assert_eq!(hear(&alone, later(65)).unwrap(), None);
    assert_eq!(alone.bundle().sequence(), bundle.sequence(), "once");
}

#[test]
fn another_upstream_begins_anew_and_what_stands_below_the_first_stays() {
    let (_house, above, authority) = founded();
    let svid = minted(&authority, START);
    above.change(|state| state.source = Some("other.example.org:8081"));
    // Its numbers are its own.
    above.tell(0, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    let bundle = authority.bundle();
    assert_eq!(bundle.x509_authorities().len(), 2);
    verified(&svid, &bundle).unwrap();
    assert!(!authority.is_to_stand_elsewhere());
    assert_eq!(authority.followed().unwrap().source, "other.example.org:8081");
}

#[test]
fn an_authority_that_was_signed_before_anything_was_followed_has_its_roots_from_the_upstream() {
    let (house, above) = (House::default(), Above::new());
    above.change(|state| state.source = None);
    let authority = house.open_with(below(&above), START).unwrap();
    assert_eq!(hear(&authority, START).unwrap(), None, "it tells nothing");
    above.change(|state| state.source = Some(SOURCE));
    assert!(heard(&authority, START));
    above.signs(Some(1));
    above.tell(2, &[(1, false)]);
    assert!(heard(&authority, later(5)));
    assert_eq!(*authority.bundle().x509_authorities(), [above.certificate(1)]);
    verified(&minted(&authority, later(5)), &authority.bundle()).unwrap();
}

fn moving() -> crate::OrderedBy {
    crate::OrderedBy::default()
}
