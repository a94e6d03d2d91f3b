//! Who uses which identity, and who was refused one: what the doors that hand out SVIDs tell, and operators ask for.
//!
//! Every door that hands out SVIDs passes them through [`SharedIdentities`] first, and tells [`Denials`] whom it
//! refused. Deliberately absent: the rules about sharing (`marque-workload`), and selectors in anything that is kept or
//! logged, but for those that the trust domain's document allows.

mod denials;
mod loggable;
mod presence;
mod record;
mod report;
mod shared;

use marque_attest::{Fingerprint, ProcessPin};
use marque_spiffe::{Selector, SelectorSet};
use marque_workload::IdentityUser;

pub use self::denials::Denials;
pub(crate) use self::denials::Denied;
pub(crate) use self::loggable::loggable;
pub(crate) use self::presence::{Lost, Presence};
pub(crate) use self::record::IDENTITY_SHARED;
pub(crate) use self::report::{SharedIdentity, SharedIdentityHolder};
pub(crate) use self::shared::Refused;
pub use self::shared::SharedIdentities;

/// Selectors that are another's after a restart of the very same program, or in its next replica: they tell runs apart, not
/// programs.
const OF_ONE_RUN: [&str; 3] = ["systemd:invocation_id:", "k8s:pod-uid:", "k8s:pod-name:"];

/// The user of an identity behind a process that attests as these selectors.
pub(crate) fn user_of(process: &ProcessPin, selectors: &SelectorSet) -> IdentityUser {
    IdentityUser {
        fingerprint: looks(selectors),
        process: Some(process.instance()),
        uid: Some(process.uid()),
    }
}

/// What a program looks like, however often it is started.
pub(crate) fn looks(selectors: &SelectorSet) -> Fingerprint {
    let of_one_run =
        |selector: &&Selector| OF_ONE_RUN.iter().any(|kind| selector.as_str().starts_with(kind));
    if !selectors.iter().any(|selector| of_one_run(&selector)) {
        return Fingerprint::of(selectors);
    }
    Fingerprint::of(&selectors.iter().filter(|selector| !of_one_run(selector)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> SelectorSet {
        texts.iter().map(|text| text.parse::<Selector>().unwrap()).collect()
    }

    #[test]
    fn a_unit_that_was_restarted_is_the_same_program() {
        let run = |id: &str| {
            let invocation = format!("systemd:invocation_id:{id}");
            looks(&set(&["systemd:id:agent.service", "unix:uid:1", &invocation]))
        };
        assert_eq!(run("aa"), run("bb"));
        assert_ne!(run("aa"), looks(&set(&["systemd:id:other.service", "unix:uid:1"])));
    }
}
