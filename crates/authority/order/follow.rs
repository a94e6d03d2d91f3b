//! What the bundle of an upstream changes on record: one record holds what is followed, and each authority below it has its
//! roots from there.

use std::collections::BTreeSet;

use marque_audit::{Event, EventKind};
use marque_jose::PublicKey;
use marque_keys::{KeyPurpose, SlotId};
use serde_json::{Value, json};

use super::{AuthorityDecision, AuthorityOrder};
use crate::{
    AuthorityRecord, AuthorityState, FollowedBundle, FollowedKey, FollowedRoot, MAX_FOLLOWED_ROOTS,
    OrderRefusal,
    followed::{active, followed, stands_on},
    record::{newest, of},
    signer::name_key,
};

const PURPOSE: KeyPurpose = KeyPurpose::X509Authority;

/// How many names of one list a leaf holds.
const MAX_TOLD: usize = 16;

impl AuthorityOrder {
    /// Goes by what an upstream tells. One that says nothing new is refused, as is one that is older than what is followed.
    pub(super) fn follow(
        &self,
        records: &[AuthorityRecord],
        heard: &FollowedBundle,
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let present = followed(records);
        let before = present.filter(|present| present.source == heard.source);
        if let Some(before) = before.filter(|before| heard.sequence < before.sequence) {
            let (from, to) = (before.sequence, heard.sequence);
            return Err(OrderRefusal::UpstreamWentBack { from, to });
        }
        let (keys, own) = without_own_keys(records, &heard.keys);
        let heard = FollowedBundle { keys, ..heard.clone() };
        let next = match before {
            Some(before) => heard.in_place_of(before),
            None => heard,
        };
        let mut after =
            self.of_another_source(records, present.filter(|_| before.is_none()), Some(&next))?;
        let adopted = adopt(&mut after, &next);
        let retired = self.without_prepared_on(&mut after, records, &next);
        if before.is_some_and(|before| before.says_as(&next)) && !adopted && retired.is_none() {
            return Err(OrderRefusal::NothingNew);
        }
        let is_same = before.is_some_and(|before| before.publishes_as(&next)) && !adopted;
        let mut event = self.followed_event(before, &next, &own);
        if let Some(retired) = retired {
            event = event.with_detail("retired", retired.to_string());
        }
        self.holding(records, after, Some(&next), (is_same, event))
    }

    /// Follows nobody any more. What stands below the upstream keeps the roots that it published last; refused while the
    /// authority that signs stands on none of them.
    pub(super) fn unfollow(
        &self,
        records: &[AuthorityRecord],
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let present = followed(records).ok_or(OrderRefusal::NothingNew)?;
        let after = self.of_another_source(records, Some(present), None)?;
        let event = Event::new(EventKind::AuthorityFollowed, self.at)
            .with_detail("upstream", present.source.as_str())
            .with_detail("ended", true);
        self.holding(records, after, None, (false, event))
    }

    /// The record that holds what is followed, with the root that a new authority stands on: a certificate and its root are
    /// the upstream's word as well.
    pub(super) fn with_root_of(
        &self,
        records: &[AuthorityRecord],
        new: &AuthorityRecord,
    ) -> Option<AuthorityRecord> {
        let mut holder = records.iter().find(|record| record.followed.is_some())?.clone();
        let followed = holder.followed.as_mut().filter(|followed| followed.has_no_root_of(new))?;
        let mut roots = new.upstream.iter().flat_map(|upstream| &upstream.roots);
        let certificate_der = roots.find(|root| stands_on(new, root))?.clone();
        followed.roots.push(FollowedRoot {
            certificate_der,
            since: self.at,
            tainted: false,
            tainted_since: None,
        });
        followed.sort();
        Some(holder)
    }

    /// A prepared key would stand on a root that is given up or gone as soon as it signs, so it never does; gives its name.
    fn without_prepared_on(
        &self,
        after: &mut [AuthorityRecord],
        records: &[AuthorityRecord],
        next: &FollowedBundle,
    ) -> Option<SlotId> {
        let prepared = after
            .iter_mut()
            .find(|record| record.state == AuthorityState::Prepared && next.gives_up(record))?;
        *prepared = self.left(records, prepared, AuthorityState::Retired);
        Some(prepared.slot.clone())
    }

    /// The records of X.509 authorities. Those whose roots were those of `gone` have them as their own from now on, and what
    /// stands on none of them, or on one that is given up, has left with it. Refused where what signs stands on none of them,
    /// unless it stands on a root of `next`: its root would come back into the bundle.
    fn of_another_source(
        &self,
        records: &[AuthorityRecord],
        gone: Option<&FollowedBundle>,
        next: Option<&FollowedBundle>,
    ) -> Result<Vec<AuthorityRecord>, OrderRefusal> {
        let mut after: Vec<_> = of(records, PURPOSE).cloned().collect();
        let Some(gone) = gone else { return Ok(after) };
        let lost = active(records).filter(|active| gone.has_no_root_of(active));
        if let Some(lost) = lost
            && next.and_then(|next| next.root_of(lost)).is_none()
        {
            return Err(OrderRefusal::StandsOnLostRoot { slot: lost.slot.clone() });
        }
        for record in after.iter_mut().filter(|record| gone.speaks_for(record)) {
            let (stands, leaves) = (gone.root_of(record).is_some(), gone.gives_up(record));
            let roots = roots_left_to(record, gone);
            if let Some(upstream) = &mut record.upstream {
                upstream.source = None;
                if stands {
                    upstream.roots = roots;
                }
            }
            if leaves && matches!(record.state, AuthorityState::Prepared | AuthorityState::Old) {
                *record = self.left(records, record, AuthorityState::Retired);
            }
        }
        Ok(after)
    }

    /// Writes what changed: the newest record holds what is followed.
    fn holding(
        &self,
        records: &[AuthorityRecord],
        mut after: Vec<AuthorityRecord>,
        next: Option<&FollowedBundle>,
        (is_same, event): (bool, Event),
    ) -> Result<AuthorityDecision, OrderRefusal> {
        let newest = newest(records, PURPOSE).map(|newest| &newest.slot);
        let newest = newest.ok_or(OrderRefusal::NothingActive { purpose: PURPOSE })?;
        for record in &mut after {
            record.followed = None;
            if record.slot == *newest {
                record.followed = next.cloned().map(Box::new);
                if !is_same {
                    record.bundle_sequence = self.sequence_after(records, PURPOSE);
                }
            }
        }
        after.retain(|record| !records.contains(record));
        Ok(AuthorityDecision { put: after, remove: None, event })
    }

    fn followed_event(
        &self,
        before: Option<&FollowedBundle>,
        next: &FollowedBundle,
        own: &[String],
    ) -> Event {
        let none = FollowedBundle { roots: Vec::new(), keys: Vec::new(), ..next.clone() };
        let before = before.unwrap_or(&none);
        let (added, removed) = (Names::of(next).but(before), Names::of(before).but(next));
        let mut event = Event::new(EventKind::AuthorityFollowed, self.at)
            .with_detail("upstream", next.source.as_str())
            .with_detail("upstream_sequence", next.sequence);
        for (name, names) in [
            ("roots_added", added.roots),
            ("roots_removed", removed.roots),
            ("roots_tainted", Names::tainted(next).roots),
            ("keys_added", added.keys),
            ("keys_removed", removed.keys),
            ("keys_tainted", Names::tainted(next).keys),
            ("keys_left_out", own.to_vec()),
        ] {
            if !names.is_empty() {
                event = event.with_detail(name, told(&names));
            }
        }
        event
    }
}

/// The names of roots and keys.
struct Names {
    roots: Vec<String>,
    keys: Vec<String>,
}

impl Names {
    fn of(bundle: &FollowedBundle) -> Self {
        Self::picked(bundle, |_| true, |_| true)
    }

    fn tainted(bundle: &FollowedBundle) -> Self {
        Self::picked(bundle, |root| root.tainted, |key| key.tainted)
    }

    fn picked(
        bundle: &FollowedBundle,
        root: impl Fn(&FollowedRoot) -> bool,
        key: impl Fn(&FollowedKey) -> bool,
    ) -> Self {
        let roots = bundle.roots.iter().filter(|one| root(one));
        let keys = bundle.keys.iter().filter(|one| key(one));
        Self {
            roots: roots.map(|root| root.digest().to_string()).collect(),
            keys: keys.map(|key| key.key_id.to_string()).collect(),
        }
    }

    fn but(mut self, other: &FollowedBundle) -> Self {
        let Self { roots, keys } = Self::of(other);
        self.roots.retain(|root| !roots.contains(root));
        self.keys.retain(|key| !keys.contains(key));
        self
    }
}

fn told(names: &[String]) -> Value {
    let more = names.len().saturating_sub(MAX_TOLD);
    let mut told: Vec<_> = names.iter().take(MAX_TOLD).cloned().collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    json!(told)
}

/// The roots of `gone` that an authority has from now on: those that it stands on come first, and of the others none that is
/// given up.
fn roots_left_to(record: &AuthorityRecord, gone: &FollowedBundle) -> Vec<Vec<u8>> {
    let (stood_on, others): (Vec<_>, Vec<_>) =
        gone.roots.iter().partition(|root| stands_on(record, &root.certificate_der));
    let others = others.into_iter().filter(|root| !root.tainted);
    let roots = stood_on.into_iter().chain(others).take(MAX_FOLLOWED_ROOTS);
    roots.map(|root| root.certificate_der.clone()).collect()
}

/// Authorities that were signed before anybody said whose roots these are: they are this upstream's where they stand on
/// one of its roots.
fn adopt(records: &mut [AuthorityRecord], heard: &FollowedBundle) -> bool {
    let mut adopted = false;
    for record in records {
        let stands = heard.roots.iter().any(|root| stands_on(record, &root.certificate_der));
        let upstream = record.upstream.as_mut().filter(|upstream| upstream.source.is_none());
        if let Some(upstream) = upstream.filter(|_| stands) {
            upstream.source = Some(heard.source.clone());
            adopted = true;
        }
    }
    adopted
}

/// The keys without those that are on record here: an upstream may hand on what was published to it, and a key that left here
/// does not come back that way. Of two keys of one name the own one counts; the names of such others are given, too.
fn without_own_keys(
    records: &[AuthorityRecord],
    keys: &[FollowedKey],
) -> (Vec<FollowedKey>, Vec<String>) {
    let named = |record: &AuthorityRecord| name_key(&record.slot, &record.public_key).ok();
    let (names, own): (BTreeSet<_>, Vec<PublicKey>) = records.iter().filter_map(named).unzip();
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    for key in keys {
        if PublicKey::from_spki_der(&key.spki_der).is_ok_and(|key| own.contains(&key)) {
            continue;
        }
        if names.contains(&key.key_id) {
            left_out.push(key.key_id.to_string());
        } else {
            taken.push(key.clone());
        }
    }
    (taken, left_out)
}
