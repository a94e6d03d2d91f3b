use super::*;

/// What another process saves that opens the same authorities at the same time, with keys of its own or with these.
fn records_of_another(keys: Option<&House>) -> Vec<AuthorityRecord> {
    let keys = keys.map(|house| std::sync::Arc::clone(&house.keys)).unwrap_or_default();
    let other = House { keys, ..House::default() };
    other.open_with(config("prod.example.org"), later(1)).unwrap();
    std::mem::take(&mut *other.store.records.lock().unwrap())
}

#[test]
fn of_two_that_open_at_once_with_keys_of_their_own_the_second_is_told_which_key_it_lacks() {
    for purpose in PURPOSES {
        let house = House::default();
        let theirs: Vec<_> = records_of_another(None)
            .into_iter()
            .filter(|record| record.slot.purpose() == purpose)
            .collect();
        // The other saves this one record while we are about to save our first.
        house.store.others.lock().unwrap().extend(theirs.clone());
        let error = house.open().unwrap_err();
        assert!(
            matches!(&error, AuthorityError::KeyMissing { slot } if slot.purpose() == purpose),
            "{error:?}"
        );
        assert!(error.to_string().contains("every replica"), "{error}");
        assert_eq!(house.store.record(purpose), theirs[0], "the first record stays");
        assert!(house.keys.load(&SlotId::first(purpose)).unwrap().is_none());
    }
}

#[test]
fn of_two_that_open_at_once_with_shared_keys_both_have_the_authorities_of_the_first() {
    let house = House::default();
    let theirs = records_of_another(Some(&house));
    // We had loaded no record yet when the other saved all of its own.
    house.store.others.lock().unwrap().extend(theirs.clone());
    let opened = house.open().unwrap();
    assert!(opened.created().is_empty());
    assert_eq!(*house.store.records.lock().unwrap(), theirs);
    let again = house.open().unwrap();
    assert_eq!(again.bundle(), opened.bundle());
    let root = theirs.iter().find_map(|record| record.certificate_der.as_deref()).unwrap();
    assert_eq!(opened.bundle().x509_authorities()[0].as_ref(), root);
    opened.mint_x509_svid(&x509_template("/agent/a"), later(1)).unwrap();
    opened.mint_jwt_svid(&jwt_template("/agent/a"), later(1)).unwrap();
}

/// Shared keys where another process makes each one between our look and our attempt.
#[derive(Debug)]
struct Overtaken(MemoryKeys);

impl KeyManager for Overtaken {
    fn generate(
        &self,
        slot: &SlotId,
        algorithm: KeyAlgorithm,
    ) -> Result<SigningKey, marque_keys::KeyError> {
        self.0.generate(slot, algorithm)?;
        self.0.generate(slot, algorithm)
    }

    fn load(&self, slot: &SlotId) -> Result<Option<SigningKey>, marque_keys::KeyError> {
        self.0.load(slot)
    }

    fn list(&self) -> Result<Vec<SlotId>, marque_keys::KeyError> {
        self.0.list()
    }

    fn remove(&self, slot: &SlotId) -> Result<(), marque_keys::KeyError> {
        self.0.remove(slot)
    }
}

#[test]
fn a_key_that_another_process_made_a_moment_ago_is_taken_up() {
    let store = std::sync::Arc::new(MemoryStore::default());
    let keys = std::sync::Arc::new(Overtaken(MemoryKeys::new()));
    let random = std::sync::Arc::new(marque_testkit::SeededRandom::new(7));
    let opening = crate::Authority::open(config("prod.example.org"), keys, store, random, START);
    futures::FutureExt::now_or_never(opening).unwrap().unwrap();
}
