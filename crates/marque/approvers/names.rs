//! What one human being is called at every door: `[[operators]]` of the trust domain's document says which local user is
//! which person and has which address.

use std::collections::BTreeSet;

use marque_intent::Principal;
use marque_registry::{OperatorPrincipal, OperatorRule, TrustDomainDocument};
use nix::unistd::{Uid, User};

use crate::grpc::admin::names_of;

/// The names of everybody whom the document links, by human being.
#[derive(Debug)]
pub(super) struct Namesakes(Vec<BTreeSet<Principal>>);

impl Namesakes {
    /// Asks the name service for the number or the name of each local user; do so once.
    pub(super) fn of(document: &TrustDomainDocument) -> Self {
        Self(document.operators().iter().map(every_name).collect())
    }

    /// Somebody's names with all others that are theirs as well.
    pub(super) fn with(&self, mut known: BTreeSet<Principal>) -> BTreeSet<Principal> {
        let linked = |names: &&BTreeSet<Principal>| {
            names.iter().any(|name| known.iter().any(|own| own.is(name)))
        };
        let more: Vec<Principal> = self.0.iter().filter(linked).flatten().cloned().collect();
        known.extend(more);
        known
    }
}

fn every_name(rule: &OperatorRule) -> BTreeSet<Principal> {
    let found = match rule.principal() {
        OperatorPrincipal::Uid(uid) => User::from_uid(Uid::from_raw(*uid)),
        OperatorPrincipal::User(name) => User::from_name(name),
    };
    let local = found.ok().flatten().map(|user| (user.uid.as_raw(), user.name));
    let written = match rule.principal() {
        OperatorPrincipal::Uid(uid) => format!("uid:{uid}"),
        OperatorPrincipal::User(name) => format!("user:{name}"),
    };
    let looked_up = local.map(|(uid, name)| [format!("uid:{uid}"), format!("user:{name}")]);
    let all = std::iter::once(written).chain(looked_up.into_iter().flatten());
    names_of([rule]).into_iter().chain(all.filter_map(|name| name.parse().ok())).collect()
}
