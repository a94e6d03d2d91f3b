//! Who is stopped, in memory: what the database holds, and what so far only the journal holds.
//!
//! A kill is in force from the moment it is in memory; being recorded only makes it outlive the process. A lift is in force
//! when it is kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use marque_exchange::KILLS_HEARD_WITHIN;
use marque_intent::{Agents, KillOrder, KillState};
use tokio::sync::watch;

use crate::JournalError;
use crate::journal::{Journal, Order};

/// When the database was last asked what all replicas did.
#[derive(Debug)]
pub(crate) struct Heard(Option<Mutex<Instant>>);

impl Heard {
    /// There is nobody else to hear of.
    pub(crate) fn alone() -> Self {
        Self(None)
    }

    /// Whether others share the database.
    pub(crate) fn is_of_others(&self) -> bool {
        self.0.is_some()
    }

    /// It was asked at `at`.
    pub(crate) fn since(at: Instant) -> Self {
        Self(Some(Mutex::new(at)))
    }

    /// It has answered what it was asked at `at`.
    pub(crate) fn hear(&self, at: Instant) {
        if let Some(last) = &self.0 {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = at.max(*last);
        }
    }

    /// Whether that is not too long ago.
    pub(crate) fn is_current(&self) -> bool {
        self.0.as_ref().is_none_or(|last| {
            let last = last.lock().unwrap_or_else(PoisonError::into_inner);
            last.elapsed() <= KILLS_HEARD_WITHIN
        })
    }
}

/// The kill state of one trust domain as this process knows it.
#[derive(Debug)]
pub(crate) struct KillBoard {
    inner: Mutex<Inner>,
    journal: Mutex<Journal>,
    state: watch::Sender<Arc<KillState>>,
}

#[derive(Debug)]
struct Inner {
    stored: KillState,
    /// Every order that was given here or heard of and lost since, also those that the database holds: it may lose what it
    /// has committed.
    orders: Vec<Order>,
    /// Those of them that `stored` does not hold.
    pending: Vec<Order>,
    /// Those of them that the journal does not hold, either.
    unkept: Vec<Order>,
    agents: Option<Arc<dyn Agents>>,
}

impl KillBoard {
    /// Merges what the database holds with what the journal holds.
    pub(crate) fn new(journal: Journal, orders: Vec<Order>, stored: KillState) -> Self {
        // An order that was tried again has several lines.
        let mut each: Vec<Order> = Vec::new();
        for order in orders {
            if !each.contains(&order) {
                each.push(order);
            }
        }
        let pending = missing(&each, &stored);
        let inner = Inner { stored, orders: each, pending, unkept: Vec::new(), agents: None };
        let state = watch::Sender::new(Arc::new(inner.effective()));
        Self { inner: Mutex::new(inner), journal: Mutex::new(journal), state }
    }

    /// Says by whom the agents are known. The first word stands.
    pub(crate) fn know(&self, agents: Arc<dyn Agents>) {
        let mut inner = self.lock();
        inner.agents.get_or_insert(agents);
        let effective = Arc::new(inner.effective());
        self.state.send_replace(effective);
    }

    /// By whom the agents are known.
    pub(crate) fn agents(&self) -> Option<Arc<dyn Agents>> {
        self.lock().agents.clone()
    }

    /// Puts a kill or a lift in force, at once. One that is in force already is not another one.
    pub(crate) fn order(&self, order: Order) {
        self.change(|inner| {
            if !inner.orders.contains(&order) {
                inner.orders.push(order.clone());
                inner.pending.extend(missing(&[order], &inner.stored));
            }
        });
    }

    /// The order with whom it hits by the entries of now: an entry that is deleted or made anew later frees nobody.
    pub(crate) fn hitting(&self, mut what: KillOrder) -> KillOrder {
        if let (KillOrder::Kill(kill), Some(agents)) = (&mut what, self.agents())
            && kill.hits.is_empty()
        {
            kill.hits = Arc::new(agents.within(&kill.scope));
        }
        what
    }

    /// The journal does not hold it, or not yet.
    pub(crate) fn not_kept(&self, order: Order) {
        let mut inner = self.lock();
        if !inner.unkept.contains(&order) {
            inner.unkept.push(order);
        }
    }

    /// The journal holds it.
    pub(crate) fn kept(&self, order: &Order) {
        self.lock().unkept.retain(|one| one != order);
    }

    /// Whether the journal or the database holds it.
    pub(crate) fn keeps(&self, order: &Order) -> bool {
        let inner = self.lock();
        !(inner.unkept.contains(order) && inner.pending.contains(order))
    }

    /// Whether something is in force that the database does not hold.
    pub(crate) fn has_pending(&self) -> bool {
        !self.lock().pending.is_empty()
    }

    /// Puts an order on disk. This takes as long as the disk takes; nobody else waits for it.
    pub(crate) fn journal(&self, order: &Order) -> Result<(), JournalError> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).append(order)
    }

    /// Takes up what the database holds now.
    pub(crate) fn store(&self, stored: KillState) {
        self.change(|inner| inner.store(stored));
    }

    /// What the database held when it was last looked at.
    pub(crate) fn stored(&self) -> KillState {
        self.lock().stored.clone()
    }

    /// What this replica knows of and a database which holds `loaded` does not hold: not yet, or not any more.
    pub(crate) fn pending(&self, loaded: &KillState) -> Vec<Order> {
        let inner = self.lock();
        if inner.stored == *loaded {
            return inner.pending.clone();
        }
        let mut pending = inner.lost(loaded);
        pending.extend(missing(&inner.orders, loaded));
        // A kill before its lift: only then the lift's record can say whom it lets go on.
        pending.sort_by_key(|order| order.at);
        pending
    }

    /// Everything that is in force.
    pub(crate) fn state(&self) -> Arc<KillState> {
        self.state.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<KillState>> {
        self.state.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let effective = inner.effective();
        // Still under the lock, so that two changes cannot be told in the wrong order.
        self.state.send_if_modified(|state| {
            let changed = **state != effective;
            if changed {
                *state = Arc::new(effective);
            }
            changed
        });
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // The state is whole after every statement: a panic elsewhere must not switch the kill switch off.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn store(&mut self, stored: KillState) {
        // An older answer that comes late changes nothing.
        if stored.epoch >= self.stored.epoch && stored != self.stored {
            // What it held and does not hold any more is ours to tell it again: nobody else may know.
            let lost = self.lost(&stored);
            self.orders.extend(lost);
            self.orders.sort_by_key(|order| order.at);
            self.pending = missing(&self.orders, &stored);
            self.stored = stored;
        }
    }

    /// What the database held when it was last looked at, is not ours, and `now` does not hold.
    fn lost(&self, now: &KillState) -> Vec<Order> {
        if now.history().starts_with(self.stored.history()) {
            return Vec::new();
        }
        let held: Vec<Order> = self.stored.history().iter().map(Order::of).collect();
        let mut lost = missing(&held, now);
        lost.retain(|order| !self.orders.contains(order));
        lost
    }

    fn effective(&self) -> KillState {
        effective(&self.stored, &self.pending).with_agents(self.agents.clone())
    }
}

/// The orders that none of the records was made of.
pub(crate) fn missing(orders: &[Order], stored: &KillState) -> Vec<Order> {
    let missing = |order: &&Order| !stored.history().iter().any(|record| order.became(record));
    orders.iter().filter(missing).cloned().collect()
}

/// What is in force when the database holds `stored` and `pending` waits to be recorded.
pub(crate) fn effective(stored: &KillState, pending: &[Order]) -> KillState {
    let mut state = stored.clone();
    for order in pending {
        // Also of those that wait, two may be one.
        if !state.history().iter().any(|record| order.became(record)) {
            state.take(order.what.clone(), order.at);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use marque_intent::{KillMode, KillOrder, KillScope, NewKill, NewLift, Reason, StopPoint};
    use marque_spiffe::SpiffeId;

    use super::*;

    fn order(name: &str) -> Order {
        let agent: SpiffeId = format!("spiffe://prod.example.org/agent/{name}").parse().unwrap();
        let kill = NewKill {
            scope: KillScope::Agent(agent),
            mode: KillMode::Stop,
            reason: Reason::new("drill").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            expires_at: None,
            origin: None,
            hits: Default::default(),
        };
        Order { what: KillOrder::Kill(kill), at: Timestamp::UNIX_EPOCH }
    }

    fn board(dir: &tempfile::TempDir, stored: KillState) -> KillBoard {
        let domain = "prod.example.org".parse().unwrap();
        let (journal, orders) = Journal::open(&dir.path().join("kills"), &domain).unwrap();
        KillBoard::new(journal, orders, stored)
    }

    #[test]
    fn a_kill_is_in_force_before_it_is_stored_and_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let board = board(&dir, KillState::default());
        let mut watch = board.subscribe();
        board.order(order("one"));
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow_and_update().epoch, 1);
        let stored = recorded(&board);
        board.store(stored.clone());
        assert!(!watch.has_changed().unwrap());
        assert_eq!((board.pending(&stored).len(), board.state().epoch), (0, 1));
    }

    #[test]
    fn the_journal_brings_back_what_was_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        board(&dir, KillState::default()).journal(&order("one")).unwrap();
        let elsewhere = effective(&KillState::default(), &[order("two")]);
        let board = board(&dir, elsewhere.clone());
        assert_eq!(board.pending(&elsewhere), [order("one")]);
        assert_eq!(board.state().epoch, 2);
    }

    /// What the database holds once it has taken what is pending.
    fn recorded(board: &KillBoard) -> KillState {
        let stored = board.stored();
        effective(&stored, &board.pending(&stored))
    }

    #[test]
    fn a_kill_that_the_database_has_lost_stays_in_force_and_is_recorded_again() {
        let dir = tempfile::tempdir().unwrap();
        let board = board(&dir, KillState::default());
        board.order(order("one"));
        board.store(recorded(&board));
        // A standby that had not heard of it has taken over: in its transactions it is as new.
        assert_eq!(board.pending(&KillState::default()), [order("one")]);
        // And so it is when somebody else's kill has got its epoch there.
        let other = effective(&KillState::default(), &[order("two")]);
        board.store(other.clone());
        assert_eq!(board.pending(&other), [order("one")]);
        let stopped = board.state();
        let both = ["one", "two"].map(|name| match order(name).what {
            KillOrder::Kill(NewKill { scope: KillScope::Agent(agent), .. }) => {
                stopped.stops_agent(&agent, StopPoint::Use).is_some()
            }
            _ => false,
        });
        assert_eq!((both, stopped.epoch), ([true, true], 2));
    }

    #[test]
    fn what_others_ordered_and_the_database_has_lost_stays_in_force_and_the_epoch_never_goes_back()
    {
        let dir = tempfile::tempdir().unwrap();
        let theirs = effective(&KillState::default(), &[order("one"), order("two")]);
        let board = board(&dir, theirs);
        assert_eq!(board.state().epoch, 2);
        // A standby that had heard of neither takes over, and gets two others.
        let others = effective(&KillState::default(), &[order("three"), order("four")]);
        board.store(others.clone());
        assert_eq!((board.state().epoch, board.state().kills.len()), (4, 4));
        assert_eq!(board.pending(&others), [order("one"), order("two")]);
        // A writer may see it before the board does.
        assert_eq!(board.pending(&KillState::default()).len(), 4);
    }

    #[test]
    fn a_kill_that_the_database_has_lost_is_told_again_before_its_lift() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = effective(&KillState::default(), &[order("one")]);
        let board = board(&dir, theirs.clone());
        let lift = NewLift {
            lifts: theirs.kills[0].id(),
            to: None,
            reason: Reason::new("over").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
            confirmed_by: None,
        };
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1);
        let lift = Order { what: KillOrder::Lift(lift), at };
        board.order(lift.clone());
        // The kill was heard of, the lift was given here; what takes over knows neither.
        let others = effective(&KillState::default(), &[order("two")]);
        board.store(others.clone());
        assert_eq!(board.pending(&others), [order("one"), lift]);
    }

    #[test]
    fn what_neither_the_journal_nor_the_database_holds_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let board = board(&dir, KillState::default());
        board.order(order("one"));
        board.order(order("one"));
        assert_eq!(board.state().epoch, 1, "the same order is one");
        assert!(board.keeps(&order("one")) && board.has_pending());
        board.not_kept(order("one"));
        assert!(!board.keeps(&order("one")));
        board.store(recorded(&board));
        assert!(board.keeps(&order("one")) && !board.has_pending());
    }

    #[test]
    fn an_older_answer_of_the_database_takes_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let board = board(&dir, effective(&KillState::default(), &[order("one")]));
        board.store(KillState::default());
        assert_eq!(board.state().epoch, 1);
    }
}
