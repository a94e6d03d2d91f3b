mod certificates;
mod downstream;
mod tokens;

use std::sync::Arc;

use marque_keys::{KeyAlgorithm, KeyManager, KeyPurpose, MemoryKeys, SigningKey};
use marque_testkit::{FixedClock, START};

use super::*;
use crate::testing::{Alarm, config, guard};

/// Settings by a clock that stands at `START`, and the alarm that hears of refusals.
fn watched() -> (crate::AuthorityConfig, Arc<Alarm>, FixedClock) {
    let (alarm, clock) = (Arc::new(Alarm::default()), FixedClock::new(START));
    let guard = guard(Arc::new(clock.clone()), Arc::clone(&alarm) as _);
    (crate::AuthorityConfig { guard, ..config("prod.example.org") }, alarm, clock)
}

fn key(purpose: KeyPurpose) -> SigningKey {
    MemoryKeys::new().generate(&SlotId::first(purpose), KeyAlgorithm::EcdsaP256).unwrap()
}

/// What the alarm was told since it was asked last.
fn told(alarm: &Alarm) -> Vec<Breach> {
    alarm.0.lock().unwrap().drain(..).map(|refusal| refusal.breach).collect()
}

#[test]
fn a_refusal_names_the_key_and_what_is_outside() {
    let refusal =
        CeilingRefusal { slot: SlotId::first(KeyPurpose::AccessToken), breach: Breach::Lifetime };
    assert_eq!(
        refusal.to_string(),
        "the key `access-token-a-1` refuses to sign: it lasts longer than the ceiling of the trust domain"
    );
    let mut names: Vec<_> = Breach::ALL.into_iter().map(Breach::as_str).collect();
    names.dedup();
    assert_eq!(names.len(), Breach::ALL.len());
}
