//! A process that ends at any point of a key's life, before or after what it was about to do became durable.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use marque_keys::KeyError;
use marque_testkit::SeededRandom;

use super::*;
use crate::{Authority, AuthorityOrder, AuthorityStoreError};

const H: u64 = 3600;

/// Counts what becomes durable, and ends the process at one of them.
#[derive(Debug, Default)]
struct Fate {
    effects: Mutex<usize>,
    /// At which effect, and whether it becomes durable before the end.
    ends_at: Mutex<Option<(usize, bool)>>,
}

impl Fate {
    /// Has `effect` happen, unless the process ends before.
    fn meet<T>(&self, effect: impl FnOnce() -> T) -> Option<T> {
        let number = {
            let mut effects = self.effects.lock().unwrap();
            *effects += 1;
            *effects - 1
        };
        match *self.ends_at.lock().unwrap() {
            Some((end, _)) if number > end => None,
            Some((end, durable)) if number == end => {
                if durable {
                    effect();
                }
                None
            }
            _ => Some(effect()),
        }
    }
}

#[derive(Debug)]
struct Keys(Arc<MemoryKeys>, Arc<Fate>);

impl KeyManager for Keys {
    fn generate(&self, slot: &SlotId, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyError> {
        let ended = || KeyError::Generate { slot: slot.clone() };
        self.1.meet(|| self.0.generate(slot, algorithm)).unwrap_or_else(|| Err(ended()))
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, KeyError> {
        self.0.load(slot)
    }

    fn list(&self) -> Result<Vec<SlotId>, KeyError> {
        self.0.list()
    }

    fn remove(&self, slot: &SlotId) -> Result<(), KeyError> {
        let ended = || KeyError::Generate { slot: slot.clone() };
        self.1.meet(|| self.0.remove(slot)).unwrap_or_else(|| Err(ended()))
    }
}

#[derive(Debug)]
struct Store(Arc<MemoryStore>, Arc<Fate>);

impl AuthorityStore for Store {
    fn load(&self) -> BoxFuture<'_, Result<Vec<AuthorityRecord>, AuthorityStoreError>> {
        self.0.load()
    }

    fn order(
        &self,
        order: AuthorityOrder,
    ) -> BoxFuture<'_, Result<Result<(), OrderRefusal>, AuthorityStoreError>> {
        let done = self.1.meet(|| self.0.order(order).now_or_never().unwrap());
        let done = done.unwrap_or_else(|| Err(AuthorityStoreError::new("the process ended")));
        std::future::ready(done).boxed()
    }
}

/// What stays when a process ends.
struct Host {
    house: House,
    fate: Arc<Fate>,
    /// The newest sequence that anybody saw.
    seen: Mutex<Option<Arc<Bundle>>>,
}

type Action = fn(&Authority, u64) -> BoxFuture<'_, Result<(), AuthorityError>>;

impl Host {
    fn new(ends_at: Option<(usize, bool)>) -> Self {
        let fate = Arc::new(Fate::default());
        *fate.ends_at.lock().unwrap() = ends_at;
        Self { house: House::default(), fate, seen: Mutex::default() }
    }

    fn open(&self, at: u64) -> Result<Authority, AuthorityError> {
        let keys = Arc::new(Keys(Arc::clone(&self.house.keys), Arc::clone(&self.fate)));
        let store = Arc::new(Store(Arc::clone(&self.house.store), Arc::clone(&self.fate)));
        let random = Arc::new(SeededRandom::new(7));
        let config = config("prod.example.org");
        Authority::open(config, keys, store, random, later(at)).now_or_never().unwrap()
    }

    /// Lives through everything; a process that ends is started again, and does what it was about to do.
    fn live(&self, life: &[(u64, Action)]) -> Authority {
        let mut authority = self.open_again(0);
        for (at, action) in life {
            loop {
                let done = action(&authority, *at).now_or_never().unwrap();
                match done {
                    // A second attempt finds that the first one did it.
                    Ok(()) | Err(AuthorityError::Refused(_)) => break,
                    Err(_ended) => authority = self.open_again(*at),
                }
            }
            self.check(&authority, *at);
            if life.last().is_some_and(|(last, _)| last == at) {
                authority.mint_x509_svid(&x509_template("/agent/a"), later(*at)).unwrap();
                authority.mint_jwt_svid(&jwt_template("/agent/a"), later(*at)).unwrap();
            }
        }
        authority
    }

    fn open_again(&self, at: u64) -> Authority {
        for _attempt in 0..2 {
            match self.open(at) {
                Ok(authority) => {
                    *self.fate.ends_at.lock().unwrap() = None;
                    self.check(&authority, at);
                    return authority;
                }
                Err(_ended) => *self.fate.ends_at.lock().unwrap() = None,
            }
        }
        panic!("it does not open again: {:?}", self.open(at).unwrap_err());
    }

    /// What holds at every moment: one key of each purpose signs, what is to sign is there, and the bundle goes on.
    fn check(&self, authority: &Authority, at: u64) {
        let records = self.house.store.records.lock().unwrap().clone();
        for purpose in PURPOSES {
            let active = of(&records, purpose)
                .filter(|record| record.state == AuthorityState::Active)
                .count();
            assert_eq!(active, 1, "{purpose} at {at}");
        }
        for record in records.iter().filter(|record| {
            matches!(record.state, AuthorityState::Prepared | AuthorityState::Active)
        }) {
            let key = self.house.keys.load(&record.slot).unwrap();
            let key = key.unwrap_or_else(|| panic!("{} is lost", record.slot));
            assert_eq!(key.public_key(), record.public_key);
        }
        let bundle = authority.bundle();
        let mut seen = self.seen.lock().unwrap();
        if let Some(seen) = &*seen {
            bundle.supersedes(seen).unwrap();
        }
        *seen = Some(bundle);
    }

    /// Every record with its state, and every key.
    fn left(&self) -> (Vec<(SlotId, AuthorityState, bool)>, Vec<SlotId>) {
        let records = self.house.store.records.lock().unwrap();
        let mut told: Vec<_> = records
            .iter()
            .map(|record| (record.slot.clone(), record.state, record.is_tainted()))
            .collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        (told, self.house.keys.list().unwrap())
    }
}

fn clock(authority: &Authority, at: u64) -> BoxFuture<'_, Result<(), AuthorityError>> {
    authority.keep_up(later(at)).boxed()
}

fn prepare(authority: &Authority, at: u64) -> BoxFuture<'_, Result<(), AuthorityError>> {
    let purpose = KeyPurpose::X509Authority;
    authority.prepare(purpose, OrderedBy::default(), later(at)).map_ok(drop).boxed()
}

fn taint(authority: &Authority, at: u64) -> BoxFuture<'_, Result<(), AuthorityError>> {
    authority.taint(b(KeyPurpose::X509Authority), OrderedBy::default(), later(at)).boxed()
}

fn revoke(authority: &Authority, at: u64) -> BoxFuture<'_, Result<(), AuthorityError>> {
    authority.revoke(b(KeyPurpose::X509Authority), OrderedBy::default(), later(at)).boxed()
}

const LIFE: [(u64, Action); 9] = [
    (12 * H, clock),
    (20 * H, clock),
    (21 * H, prepare),
    (22 * H, taint),
    (22 * H, revoke),
    (25 * H, clock),
    (32 * H, clock),
    (37 * H, clock),
    (49 * H, clock),
];

#[test]
fn a_process_that_ends_at_any_step_loses_no_key_and_comes_to_the_same_end() {
    let undisturbed = Host::new(None);
    undisturbed.live(&LIFE);
    let (expected, effects) = (undisturbed.left(), *undisturbed.fate.effects.lock().unwrap());
    assert!(effects > 40, "{effects}");
    let kept = &expected.1;
    let pruned = SlotId::first(KeyPurpose::X509Authority);
    assert!(!kept.contains(&pruned), "the life is long enough to prune: {kept:?}");
    for end in 0..effects {
        for durable in [false, true] {
            let host = Host::new(Some((end, durable)));
            host.live(&LIFE);
            assert_eq!(host.left(), expected, "ended at {end}, durable: {durable}");
        }
    }
}
