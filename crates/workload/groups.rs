//! Which groups there are, and which of them a change concerns.
//!
//! Every change of the issuer's state comes here first and wakes only the groups that it may concern: for an entry,
//! those with all of its selectors. Whether it does concern them they find out themselves; that a stream looks again
//! without need costs a little, that it does not look would be a lie.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use jiff::Timestamp;
use marque_registry::Entry;
use marque_spiffe::{Clock, Selector};
use tokio::sync::{Notify, watch};

use crate::group::{Group, Who, lock};
use crate::state::IssuerState;
use crate::terms::mint_alike;

/// Every group that somebody is in.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    kept: Mutex<Kept>,
    /// An alarm was set that goes off before all others.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    last_id: u64,
    by_who: HashMap<Arc<Who>, (u64, Weak<Group>)>,
    /// Each group under each of its selectors.
    by_selector: HashMap<Selector, HashMap<u64, Weak<Group>>>,
    alarms: BTreeMap<(Timestamp, u64), Weak<Group>>,
}

impl Groups {
    /// The group of whoever is asking like this.
    pub(crate) fn join(self: &Arc<Self>, who: Who) -> Arc<Group> {
        let mut kept = lock(&self.kept);
        if let Some(group) = kept.by_who.get(&who).and_then(|(_, group)| group.upgrade()) {
            return group;
        }
        kept.last_id += 1;
        let (id, who) = (kept.last_id, Arc::new(who));
        let group = Arc::new(Group::new(id, Arc::clone(&who), Arc::clone(self)));
        for selector in who.selectors.iter() {
            let groups = kept.by_selector.entry(selector.clone()).or_default();
            groups.insert(id, Arc::downgrade(&group));
        }
        kept.by_who.insert(who, (id, Arc::downgrade(&group)));
        group
    }

    /// Who is asking, and how many of them.
    pub(crate) fn members(&self) -> Vec<(Arc<Who>, usize)> {
        let kept = lock(&self.kept);
        let members =
            kept.by_who.iter().map(|(who, (_, group))| (Arc::clone(who), group.strong_count()));
        members.filter(|(_, count)| *count > 0).collect()
    }

    /// A group that nobody is in any more.
    pub(crate) fn leave(&self, id: u64, who: &Who, wakes_at: Timestamp) {
        let mut kept = lock(&self.kept);
        kept.alarms.remove(&(wakes_at, id));
        for selector in who.selectors.iter() {
            if let Some(groups) = kept.by_selector.get_mut(selector) {
                groups.remove(&id);
                if groups.is_empty() {
                    kept.by_selector.remove(selector);
                }
            }
        }
        // Somebody may have come since, and have founded it anew.
        if kept.by_who.get(who).is_some_and(|(held, _)| *held == id) {
            kept.by_who.remove(who);
        }
    }

    pub(crate) fn set_alarm(&self, group: &Arc<Group>, old: Timestamp, new: Timestamp) {
        let mut kept = lock(&self.kept);
        kept.alarms.remove(&(old, group.id));
        kept.alarms.insert((new, group.id), Arc::downgrade(group));
        if kept.alarms.keys().next() == Some(&(new, group.id)) {
            self.earlier.notify_one();
        }
    }

    /// Wakes the groups whose time has come; when the next one's comes.
    fn wake_due(&self, now: Timestamp) -> Option<Timestamp> {
        let mut due = Vec::new();
        let next = {
            let mut kept = lock(&self.kept);
            while let Some(alarm) = kept.alarms.first_entry().filter(|alarm| alarm.key().0 <= now) {
                due.push(alarm.remove());
            }
            kept.alarms.keys().next().map(|(at, _)| *at)
        };
        for group in due.iter().filter_map(Weak::upgrade) {
            // Forgotten first: whoever is woken sets it anew.
            group.forget_alarm();
            group.wake();
        }
        next
    }

    /// Wakes the groups that a change of the state may concern.
    fn wake_concerned(&self, old: &IssuerState, new: &IssuerState) {
        let same_bundles = Arc::ptr_eq(&old.bundles, &new.bundles) || old.bundles == new.bundles;
        let (was, is) = (&old.stops, &new.stops);
        let same_terms = mint_alike(old.registry.document(), new.registry.document());
        if !same_bundles || !same_terms || was.all != is.all || was.builds != is.builds {
            return self.wake_all();
        }
        let entry = |agent| {
            let find = |state: &IssuerState| state.registry.entry_by_spiffe_id(agent).cloned();
            find(new).or_else(|| find(old))
        };
        let stopped = old.stops.agents.symmetric_difference(&new.stops.agents).filter_map(entry);
        let changed = new.registry.changed_since(&old.registry);
        for entry in changed.into_iter().chain(stopped) {
            for group in self.with_selectors_of(&entry) {
                group.wake();
            }
        }
    }

    fn with_selectors_of(&self, entry: &Entry) -> Vec<Arc<Group>> {
        let kept = lock(&self.kept);
        // The selector that the fewest groups have; if nobody has one of them, nobody has them all.
        let lists = entry.selectors().iter().map(|selector| kept.by_selector.get(selector));
        let rarest = lists.min_by_key(|groups| groups.map_or(0, HashMap::len)).flatten();
        let candidates: Vec<_> =
            rarest.into_iter().flat_map(HashMap::values).filter_map(Weak::upgrade).collect();
        // Whoever drops the last hold on a group wants the lock.
        drop(kept);
        let mut concerned = candidates;
        concerned.retain(|group| entry.selectors().is_subset(&group.who.selectors));
        concerned
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let kept = lock(&self.kept);
        let by_selector: std::collections::HashSet<u64> =
            kept.by_selector.values().flat_map(|groups| groups.keys().copied()).collect();
        assert_eq!(by_selector.len(), kept.by_who.len());
        kept.by_who.len()
    }

    fn wake_all(&self) {
        let all: Vec<Arc<Group>> = {
            let kept = lock(&self.kept);
            kept.by_who.values().filter_map(|(_, group)| group.upgrade()).collect()
        };
        all.iter().for_each(|group| group.wake());
    }
}

/// Wakes groups as the state changes and as time passes, until the issuer is gone. `seen` is the state that every group
/// founded so far has yet to be woken for.
pub(crate) async fn drive(
    groups: Arc<Groups>,
    clock: Arc<dyn Clock>,
    mut states: watch::Receiver<Arc<IssuerState>>,
    mut seen: Arc<IssuerState>,
) {
    loop {
        let now = Arc::clone(&states.borrow_and_update());
        groups.wake_concerned(&seen, &now);
        seen = now;
        let next = groups.wake_due(clock.now());
        let alarm = async {
            match next {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = states.changed() => if changed.is_err() {
                return groups.wake_all();
            },
            () = alarm => {}
            () = groups.earlier.notified() => {}
        }
    }
}
