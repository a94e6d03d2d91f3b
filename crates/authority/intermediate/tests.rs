use std::sync::Mutex;

use futures::{FutureExt as _, channel::oneshot};
use marque_keys::{KeyManager, KeyPurpose};
use marque_spiffe::{Bundle, X509Svid};
use marque_testkit::{FixedClock, START, ScratchCa, ScratchTrustDomain, SeededRandom};
use rcgen::DnType;

use super::*;
use crate::{
    Authority, AuthorityState, AuthorityStore, Ceremony, MintedX509Svid, OrderRefusal, OrderedBy,
    testing::{HOUR, House, config, later, x509_template},
};

mod refused;

const NAME: &str = "prod.example.org";
const DAY: u64 = 24 * 3600;

/// A root in a safe, which names the environment.
struct Safe {
    root: ScratchCa,
    domain: ScratchTrustDomain,
}

impl Safe {
    /// A root whose times are those of certificates made at `now`.
    fn at(now: Timestamp) -> Self {
        Self::naming("production", now)
    }

    fn naming(unit: &str, now: Timestamp) -> Self {
        let domain = ScratchTrustDomain::at(NAME, now);
        Self { root: ScratchCa::root(params(&domain, unit)), domain }
    }

    fn sign(&self, request: &CertificateRequest) -> SignedAuthority {
        let own = self.root.sign_request(&request.pem, &self.domain.ca_params());
        SignedAuthority { chain: vec![own], roots: vec![self.root.certificate().clone()] }
    }
}

fn params(domain: &ScratchTrustDomain, unit: &str) -> CertificateParams {
    let mut params = domain.ca_params();
    params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
    params
}

/// Whoever is asked, once the test lets it answer.
#[derive(Default)]
struct Asked {
    answers: Mutex<Vec<oneshot::Receiver<SignedAuthority>>>,
    asked: Mutex<Vec<CertificateRequest>>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Asked {
    fn will_answer(&self) -> oneshot::Sender<SignedAuthority> {
        let (answer, waiting) = oneshot::channel();
        self.answers.lock().unwrap().push(waiting);
        answer
    }

    fn last(&self) -> CertificateRequest {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

impl UpstreamAuthority for Asked {
    fn sign<'a>(
        &'a self,
        request: &'a CertificateRequest,
    ) -> BoxFuture<'a, Result<SignedAuthority, UpstreamError>> {
        self.asked.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().pop();
        async move {
            let answer = answer.ok_or_else(|| UpstreamError::new("it is down"))?;
            answer.await.map_err(UpstreamError::new)
        }
        .boxed()
    }
}

fn by_hand() -> AuthorityConfig {
    AuthorityConfig { upstream: Some(UpstreamRule::default()), ..config(NAME) }
}

fn asking(asked: &Arc<Asked>) -> AuthorityConfig {
    let rule = UpstreamRule { authority: Some(Arc::clone(asked) as _), ..UpstreamRule::default() };
    AuthorityConfig { upstream: Some(rule), ..config(NAME) }
}

fn ceremony(house: &House, config: AuthorityConfig) -> Ceremony {
    Ceremony {
        config,
        keys: Arc::clone(&house.keys) as Arc<dyn KeyManager>,
        store: Arc::clone(&house.store) as Arc<dyn AuthorityStore>,
        random: Arc::new(SeededRandom::new(3)),
    }
}

/// A house whose first authority a safe has signed.
fn founded(safe: &Safe) -> House {
    let house = House::default();
    let ceremony = ceremony(&house, by_hand());
    let request = now(ceremony.request(START)).unwrap();
    now(ceremony.import(&safe.sign(&request), OrderedBy::default(), START)).unwrap();
    house
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits")
}

fn verified(
    svid: &MintedX509Svid,
    bundle: &Bundle,
    at: Timestamp,
) -> Result<X509Svid, X509SvidError> {
    UnverifiedX509Svid::parse_chain(svid.chain.clone())?.verify(bundle, at)
}

fn minted(authority: &Authority, at: Timestamp) -> MintedX509Svid {
    authority.mint_x509_svid(&x509_template("/agent/a"), at).unwrap()
}

fn states(authority: &Authority) -> Vec<(String, AuthorityState)> {
    let views = authority.list().into_iter();
    let views = views.filter(|view| view.slot.purpose() == KeyPurpose::X509Authority);
    views.map(|view| (view.slot.to_string(), view.state)).collect()
}

fn slot(text: &str) -> SlotId {
    text.parse().unwrap()
}

#[test]
fn an_offline_root_signs_the_first_authority_before_anything_is_served() {
    let (safe, house) = (Safe::at(START), House::default());
    let refused = house.open_with(by_hand(), START).unwrap_err();
    assert!(matches!(refused, AuthorityError::NotSignedYet { .. }), "{refused:?}");
    assert!(refused.to_string().contains("marque authority csr --offline"), "{refused}");

    let ceremony = ceremony(&house, by_hand());
    let early = SignedAuthority { chain: Vec::new(), roots: Vec::new() };
    let refused = now(ceremony.import(&early, OrderedBy::default(), START)).unwrap_err();
    let AuthorityError::Refused(OrderRefusal::NothingRequested { .. }) = refused else {
        panic!("{refused:?}")
    };
    let request = now(ceremony.request(START)).unwrap();
    assert_eq!(
        (request.slot.to_string().as_str(), request.lifetime),
        ("x509-authority-a-1", 24 * HOUR)
    );
    let again = now(ceremony.request(START)).unwrap();
    assert_eq!(house.keys.list().unwrap().len(), 1, "the key is taken up again");
    // Either request is for the one key.
    let slot = now(ceremony.import(&safe.sign(&again), OrderedBy::default(), START)).unwrap();
    assert_eq!(slot, request.slot);

    let authority = house.open_with(by_hand(), START).unwrap();
    assert_eq!(*authority.bundle().x509_authorities(), [safe.root.certificate().clone()]);
    let svid = minted(&authority, START);
    assert_eq!(svid.chain.len(), 2, "the leaf, and the authority below the root");
    verified(&svid, &authority.bundle(), START).unwrap();
    let [view] = &authority.list()[..1] else { panic!() };
    assert_eq!(view.key_id.len(), 40, "{view:?}");
    let event = house.store.events.lock().unwrap()[0].clone();
    assert_eq!(event.kind, marque_audit::EventKind::AuthorityCreated);
}

#[test]
fn the_clock_leaves_the_next_authority_to_the_people_and_activates_it() {
    let safe = Safe::at(START);
    let house = founded(&safe);
    let authority = house.open_with(by_hand(), START).unwrap();
    let first = minted(&authority, START);
    assert!(!authority.wants_certificate(later(DAY / 2 - 1)));
    assert!(authority.wants_certificate(later(DAY / 2)));
    now(authority.keep_up(later(DAY / 2))).unwrap();
    assert_eq!(states(&authority).len(), 1, "nobody was asked");
    let refused =
        authority.prepare(KeyPurpose::X509Authority, OrderedBy::default(), later(DAY / 2));
    let AuthorityError::Refused(refused) = now(refused).unwrap_err() else { panic!() };
    assert_eq!(refused.code(), "authority_signed_by_hand");
    let clock = FixedClock::new(later(DAY / 2));
    let nobody = now(authority.prepare_below_upstream(OrderedBy::default(), &clock)).unwrap_err();
    assert!(matches!(nobody, AuthorityError::Refused(OrderRefusal::SignedByHand { .. })));

    let at = later(DAY / 2 + 60);
    let safe_then = Safe { domain: ScratchTrustDomain::at(NAME, at), ..safe };
    let sequence = authority.bundle().sequence();
    let request = now(authority.request(at)).unwrap();
    now(authority.import(&safe_then.sign(&request), OrderedBy::default(), at)).unwrap();
    assert!(!authority.wants_certificate(at));
    assert!(authority.bundle().sequence() > sequence);
    assert_eq!(authority.bundle().x509_authorities().len(), 1, "one root above both");
    assert_eq!(minted(&authority, at).chain.get(1), first.chain.get(1), "not before its time");

    let late = later(DAY - DAY / 6);
    now(authority.keep_up(late)).unwrap();
    let second = minted(&authority, late);
    assert_ne!(second.chain.get(1), first.chain.get(1));
    verified(&second, &authority.bundle(), late).unwrap();
}

#[test]
fn a_revoked_authority_is_refused_although_its_root_stays() {
    let safe = Safe::at(START);
    let house = founded(&safe);
    let authority = house.open_with(by_hand(), START).unwrap();
    let lost = minted(&authority, START);
    let request = now(authority.request(START)).unwrap();
    now(authority.import(&safe.sign(&request), OrderedBy::default(), START)).unwrap();
    let first = slot("x509-authority-a-1");
    now(authority.taint(first.clone(), OrderedBy::default(), START)).unwrap();
    let trusted = authority.trusted();
    verified(&lost, &trusted.bundle, START).unwrap();
    let refused = verified(&lost, &trusted.untainted, START).unwrap_err();
    assert_eq!(refused, X509SvidError::Distrusted(1), "it is to be issued anew");
    verified(&minted(&authority, START), &trusted.untainted, START).unwrap();

    now(authority.revoke(first, OrderedBy::default(), START)).unwrap();
    let refused = verified(&lost, &authority.bundle(), START).unwrap_err();
    assert_eq!(refused, X509SvidError::Distrusted(1));
    assert_eq!(authority.bundle().x509_authorities().len(), 1, "the other one needs the root");
    // A bundle document has no word for it.
    assert_eq!(
        authority.bundle().to_document()["keys"].as_array().unwrap().len(),
        house.open_with(by_hand(), START).unwrap().bundle().to_document()["keys"]
            .as_array()
            .unwrap()
            .len()
    );
    let reopened = house.open_with(by_hand(), START).unwrap();
    verified(&lost, &reopened.bundle(), START).unwrap_err();

    // It is remembered until its certificate has ended, and then forgotten.
    let safe_then = |at| Safe {
        domain: ScratchTrustDomain::at(NAME, at),
        root: ScratchCa::root(params(&ScratchTrustDomain::at(NAME, at), "production")),
    };
    let late = later(DAY - 60);
    let request = now(reopened.request(late)).unwrap();
    now(reopened.import(&safe_then(late).sign(&request), OrderedBy::default(), late)).unwrap();
    now(reopened.keep_up(later(DAY - 1))).unwrap();
    assert!(states(&reopened).iter().any(|(_, state)| *state == AuthorityState::Revoked));
    now(reopened.keep_up(later(DAY + 1))).unwrap();
    assert!(states(&reopened).iter().all(|(_, state)| *state != AuthorityState::Revoked));
}

#[test]
fn whoever_is_asked_is_asked_at_the_first_start_and_for_each_next_key() {
    let (safe, house, asked) = (Safe::at(START), House::default(), Arc::new(Asked::default()));
    let down = house.open_with(asking(&asked), START).unwrap_err();
    assert!(matches!(down, AuthorityError::Upstream { .. }), "{down:?}");
    let answer = asked.will_answer();
    answer.send(safe.sign(&asked.last())).unwrap();
    let authority = house.open_with(asking(&asked), START).unwrap();
    verified(&minted(&authority, START), &authority.bundle(), START).unwrap();

    // While the answer is waited for, a key is given up at once.
    let clock = FixedClock::new(later(60));
    let answer = asked.will_answer();
    let mut preparing = Box::pin(authority.prepare_below_upstream(OrderedBy::default(), &clock));
    assert!((&mut preparing).now_or_never().is_none());
    let taint = authority.taint(slot("jwt-svid-a-1"), OrderedBy::default(), later(60));
    let refused = now(taint).unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(OrderRefusal::NothingPrepared { .. })));
    answer.send(safe.sign(&asked.last())).unwrap();
    assert_eq!(now(preparing).unwrap(), slot("x509-authority-b-1"));
    assert_eq!(
        states(&authority).last().unwrap(),
        &("x509-authority-b-1".to_owned(), AuthorityState::Prepared)
    );
    let again = now(authority.prepare_below_upstream(OrderedBy::default(), &clock)).unwrap_err();
    assert!(matches!(again, AuthorityError::Refused(OrderRefusal::AlreadyPrepared { .. })));
}

#[test]
fn a_start_after_the_end_asks_for_another_certificate() {
    let (safe, house, asked) = (Safe::at(START), House::default(), Arc::new(Asked::default()));
    let answer = asked.will_answer();
    house.open_with(by_hand(), START).unwrap_err();
    let request = now(ceremony(&house, by_hand()).request(START)).unwrap();
    answer.send(safe.sign(&request)).unwrap();
    house.open_with(asking(&asked), START).unwrap();

    let late = later(2 * DAY);
    let ended = house.open_with(by_hand(), late).unwrap_err();
    assert!(matches!(ended, AuthorityError::Ended { .. }), "{ended:?}");
    let safe = Safe::at(late);
    let request = now(ceremony(&house, by_hand()).request(late)).unwrap();
    asked.will_answer().send(safe.sign(&request)).unwrap();
    let authority = house.open_with(asking(&asked), late).unwrap();
    verified(&minted(&authority, late), &authority.bundle(), late).unwrap();
}

#[test]
fn a_trust_domain_moves_below_an_upstream_and_back_without_a_gap() {
    let (safe, house) = (Safe::at(START), House::default());
    let own = minted(&house.open().unwrap(), START);
    let authority = house.open_with(by_hand(), START).unwrap();
    let request = now(authority.request(START)).unwrap();
    now(authority.import(&safe.sign(&request), OrderedBy::default(), START)).unwrap();
    verified(&own, &authority.bundle(), START).unwrap();
    let signed = slot("x509-authority-b-1");
    now(authority.activate(signed, true, OrderedBy::default(), START)).unwrap();
    let below = minted(&authority, START);
    assert_eq!((own.chain.len(), below.chain.len()), (1, 2));
    let bundle = authority.bundle();
    assert_eq!(bundle.x509_authorities().len(), 2);
    verified(&own, &bundle, START).unwrap();
    verified(&below, &bundle, START).unwrap();

    let authority = house.open().unwrap();
    let next = now(authority.prepare(KeyPurpose::X509Authority, OrderedBy::default(), START));
    now(authority.activate(next.unwrap(), true, OrderedBy::default(), START)).unwrap();
    let back = minted(&authority, START);
    assert_eq!(back.chain.len(), 1);
    for svid in [own, below, back] {
        verified(&svid, &authority.bundle(), START).unwrap();
    }
    let refused = now(authority.request(START)).unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(OrderRefusal::NoUpstream)), "{refused:?}");
}

#[test]
fn a_request_is_signed_by_its_key_and_asks_for_no_more_than_a_root_has() {
    let house = House::default();
    let request = now(ceremony(&house, by_hand()).request(START)).unwrap();
    let read = rcgen::CertificateSigningRequestParams::from_pem(&request.pem).unwrap();
    let key = house.keys.load(&request.slot).unwrap().unwrap();
    use rcgen::PublicKeyData as _;
    assert_eq!(read.public_key.der_bytes(), key.public_key());
    assert!(matches!(read.params.is_ca, IsCa::Ca(BasicConstraints::Constrained(0))));
    assert!(matches!(
        read.params.subject_alt_names.as_slice(),
        [SanType::URI(uri)] if uri.as_str() == "spiffe://prod.example.org"
    ));
    let unit = read.params.distinguished_name.get(&DnType::OrganizationalUnitName);
    assert_eq!(unit, Some(&rcgen::DnValue::Utf8String("production".to_owned())));

    // The key signs no request of another kind, and a request only as a request.
    let signer = || CertificateSigner::for_request(key.clone(), &by_hand());
    let mut other = CertificateParams::default();
    other.subject_alt_names = vec![SanType::URI("spiffe://dev.example.org".try_into().unwrap())];
    assert!(other.serialize_request(&signer()).is_err(), "another name");
    assert!(CertificateParams::default().serialize_request(&signer()).is_err(), "no name");
    let mut root = params(&ScratchTrustDomain::new(NAME), "production");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert!(root.self_signed(&signer()).is_err(), "a certificate");
    let leaves = CertificateSigner::for_leaves(key, &by_hand(), later(DAY));
    assert!(root.serialize_request(&leaves).is_err(), "a request by a key for leaves");
}
