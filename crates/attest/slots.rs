//! Room for costly work, shared among users so that none of them can take all of it.
//!
//! Reading a whole file or asking a service for every caller is a lever for overload. One user's
//! processes get at most a quarter of the room, and wait in the common queue with no more than
//! that, so what another user has to wait for is bounded by how many *users* there are, not by how
//! many processes one of them starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room.
#[derive(Debug)]
pub(crate) struct Slots {
    total: Arc<Semaphore>,
    per_user: usize,
    /// Holds the users who have or wait for a slot, and nobody else.
    users: Mutex<HashMap<u32, Arc<Semaphore>>>,
}

/// A right to work until dropped. It goes along with the work, so that a caller who gives up does
/// not make room while the work still runs.
#[derive(Debug)]
pub(crate) struct Slot {
    // In this order: the user is forgotten after the permits are back.
    _total: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _place: Place,
}

/// A user's entry in the table for as long as it is needed.
#[derive(Debug)]
struct Place {
    slots: Arc<Slots>,
    uid: u32,
    semaphore: Arc<Semaphore>,
}

impl Slots {
    /// Room for `total` at once, at least one.
    pub(crate) fn new(total: usize) -> Arc<Self> {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            total: Arc::new(Semaphore::new(total)),
            per_user: (total / 4).max(1),
            users: Mutex::default(),
        })
    }

    /// Waits for room. `None` never happens: the semaphores are not closed.
    pub(crate) async fn acquire(self: &Arc<Self>, uid: u32) -> Option<Slot> {
        let place = self.place(uid);
        let own = Arc::clone(&place.semaphore).acquire_owned().await.ok()?;
        let total = Arc::clone(&self.total).acquire_owned().await.ok()?;
        Some(Slot { _total: total, _own: own, _place: place })
    }

    fn place(self: &Arc<Self>, uid: u32) -> Place {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(self.per_user));
        let semaphore = Arc::clone(users.entry(uid).or_insert_with(new));
        drop(users);
        Place { slots: Arc::clone(self), uid, semaphore }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut users = self.slots.users.lock().unwrap_or_else(PoisonError::into_inner);
        // The table's and this one: nobody else has a slot or waits for one.
        if Arc::strong_count(&self.semaphore) <= 2 {
            users.remove(&self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn users(slots: &Slots) -> usize {
        slots.users.lock().unwrap().len()
    }

    #[tokio::test]
    async fn one_user_gets_a_quarter_and_others_get_the_rest() {
        let slots = Slots::new(8);
        let greedy = [slots.acquire(1).await, slots.acquire(1).await];
        let mut third = Box::pin(slots.acquire(1));
        assert!((&mut third).now_or_never().is_none());
        let others: Vec<_> =
            [2, 2, 3, 3, 4, 4].map(|uid| slots.acquire(uid).now_or_never().unwrap()).into();
        assert!(slots.acquire(5).now_or_never().is_none(), "the room is full");
        drop(others);
        assert!((&mut third).now_or_never().is_none());
        drop(greedy);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_stands_before_the_later_ones_of_a_user_with_many() {
        let slots = Slots::new(1);
        let first = slots.acquire(1).await;
        let mut more: Vec<_> = (0..100).map(|_| Box::pin(slots.acquire(1))).collect();
        assert!(more.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let mut other = Box::pin(slots.acquire(2));
        assert!((&mut other).now_or_never().is_none());
        drop(first);
        // The next of user 1 queues up only now, behind user 2.
        assert!(more.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        assert!(other.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_user_without_work_is_forgotten() {
        let slots = Slots::new(4);
        let first = slots.acquire(1).await;
        let second = Box::pin(slots.acquire(2));
        let mut given_up = Box::pin(slots.acquire(1));
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        drop(second);
        assert_eq!(users(&slots), 1);
        drop(first);
        assert_eq!(users(&slots), 0);
        assert!(slots.acquire(1).now_or_never().is_some());
        assert_eq!(users(&slots), 0);
    }
}
