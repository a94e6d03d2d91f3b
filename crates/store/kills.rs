//! Who is stopped, in memory: what the database holds, and what so far only the journal holds.
//!
//! A kill is in force from the moment it is in memory; being recorded only makes it outlive the process.

use std::sync::{Arc, Mutex, PoisonError};

use marque_intent::KillState;
use tokio::sync::watch;

use crate::JournalError;
use crate::journal::{Journal, Order};

/// The kill state of one trust domain as this process knows it.
#[derive(Debug)]
pub(crate) struct KillBoard {
    inner: Mutex<Inner>,
    state: watch::Sender<Arc<KillState>>,
}

#[derive(Debug)]
struct Inner {
    journal: Journal,
    stored: KillState,
    pending: Vec<Order>,
}

impl KillBoard {
    /// Merges what the database holds with what the journal holds.
    pub(crate) fn new(journal: Journal, orders: Vec<Order>, stored: KillState) -> Self {
        let mut inner = Inner { journal, stored: KillState::default(), pending: orders };
        inner.store(stored);
        let state = watch::Sender::new(Arc::new(inner.effective()));
        Self { inner: Mutex::new(inner), state }
    }

    /// Puts a kill in force, on disk first. It is in force even if the journal cannot be written.
    pub(crate) fn order(&self, order: Order) -> Result<(), JournalError> {
        self.change(|inner| {
            let journaled = inner.journal.append(&order);
            inner.pending.push(order);
            journaled
        })
    }

    /// Takes up what the database holds now.
    pub(crate) fn store(&self, stored: KillState) {
        self.change(|inner| inner.store(stored));
    }

    /// What the database held when it was last looked at.
    pub(crate) fn stored(&self) -> KillState {
        self.lock().stored.clone()
    }

    /// The kills that the database does not hold yet.
    pub(crate) fn pending(&self) -> Vec<Order> {
        self.lock().pending.clone()
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
        if stored.epoch >= self.stored.epoch {
            self.pending.retain(|order| !stored.kills.iter().any(|kill| order.became(kill)));
            self.stored = stored;
        }
    }

    fn effective(&self) -> KillState {
        effective(&self.stored, &self.pending)
    }
}

/// What is in force when the database holds `stored` and `pending` waits to be recorded.
pub(crate) fn effective(stored: &KillState, pending: &[Order]) -> KillState {
    pending.iter().fold(stored.clone(), |state, order| {
        let known = state.kills.iter().any(|kill| order.became(kill));
        if known { state } else { state.after(order.kill.clone(), order.at) }
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use marque_intent::{KillScope, NewKill, Reason};
    use marque_spiffe::SpiffeId;

    use super::*;

    fn order(name: &str) -> Order {
        let agent: SpiffeId = format!("spiffe://prod.example.org/agent/{name}").parse().unwrap();
        let kill = NewKill {
            scope: KillScope::Agent(agent),
            reason: Reason::new("drill").unwrap(),
            actor: "operator:alice(1000)".to_owned(),
        };
        Order { kill, at: Timestamp::UNIX_EPOCH }
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
        board.order(order("one")).unwrap();
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow_and_update().epoch, 1);
        let stored = effective(&board.stored(), &board.pending());
        board.store(stored);
        assert!(!watch.has_changed().unwrap());
        assert_eq!((board.pending().len(), board.state().epoch), (0, 1));
    }

    #[test]
    fn the_journal_brings_back_what_was_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        board(&dir, KillState::default()).order(order("one")).unwrap();
        let elsewhere = effective(&KillState::default(), &[order("two")]);
        let board = board(&dir, elsewhere);
        assert_eq!(board.pending(), [order("one")]);
        assert_eq!(board.state().epoch, 2);
    }

    #[test]
    fn an_older_answer_of_the_database_takes_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let board = board(&dir, effective(&KillState::default(), &[order("one")]));
        board.store(KillState::default());
        assert_eq!(board.state().epoch, 1);
    }
}
