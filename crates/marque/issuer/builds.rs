//! Work that many may ask for and that is done once: a task for each thing that is being made, and few at a time.
//!
//! Whoever asks waits for the task that is under way. Whoever hangs up leaves it to the others and to the next who asks: it
//! runs to its end, so that asking and hanging up again costs no more than asking does. There are as many tasks as there
//! are things to make, however many ask. Deliberately absent: what is made, and for how long it is good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};

/// How many are made at a time: each may take one of the store's readers, and these are for everybody.
const AT_ONCE: usize = 2;

/// What is being made, by its number.
#[derive(Debug)]
pub(super) struct Builds<T> {
    under_way: Arc<Mutex<BTreeMap<u64, UnderWay<T>>>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct UnderWay<T> {
    /// What it knows at least.
    epoch: u64,
    done: watch::Receiver<Option<T>>,
}

/// Takes its entry away when the task ends, however it ends.
struct Entry<T> {
    under_way: Arc<Mutex<BTreeMap<u64, UnderWay<T>>>>,
    number: u64,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        locked(&self.under_way).remove(&self.number);
    }
}

impl<T> Default for Builds<T> {
    fn default() -> Self {
        Self { under_way: Arc::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl<T: Clone + Send + Sync + 'static> Builds<T> {
    /// What is made under this number, by `make` if nobody else is at it: it was begun when `epoch` was known. `None` if
    /// the task came to a bad end.
    pub(super) async fn get<F>(&self, number: u64, epoch: u64, make: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        loop {
            let mut under_way = self.join(number, epoch, &make);
            let made = under_way.done.wait_for(Option::is_some).await.ok()?.clone();
            if under_way.epoch >= epoch {
                return made;
            }
        }
    }

    fn join<F>(&self, number: u64, epoch: u64, make: &impl Fn() -> F) -> UnderWay<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = locked(&self.under_way);
        if let Some(UnderWay { epoch, done }) = under_way.get(&number) {
            return UnderWay { epoch: *epoch, done: done.clone() };
        }
        let (tell, done) = watch::channel(None);
        under_way.insert(number, UnderWay { epoch, done: done.clone() });
        let entry = Entry { under_way: Arc::clone(&self.under_way), number };
        let (turns, making) = (Arc::clone(&self.turns), make());
        tokio::spawn(async move {
            let turn = turns.acquire_owned().await;
            let made = making.await;
            drop((turn, entry));
            tell.send_replace(Some(made));
        });
        UnderWay { epoch, done }
    }
}

fn locked<T>(entries: &Mutex<BTreeMap<u64, T>>) -> MutexGuard<'_, BTreeMap<u64, T>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Makes nothing before it is let.
    struct Stage {
        builds: Arc<Builds<usize>>,
        begun: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
    }

    impl Stage {
        fn new() -> Self {
            let (begun, most) = (Arc::default(), Arc::default());
            Self { builds: Arc::default(), begun, most, gate: Arc::new(Semaphore::new(0)) }
        }

        /// Asks in a task; answers how many had been begun when this was.
        fn ask(&self, number: u64, epoch: u64) -> tokio::task::JoinHandle<Option<usize>> {
            let (builds, begun) = (Arc::clone(&self.builds), Arc::clone(&self.begun));
            let (most, gate) = (Arc::clone(&self.most), Arc::clone(&self.gate));
            tokio::spawn(async move {
                let make = || {
                    let (begun, most, gate) =
                        (Arc::clone(&begun), Arc::clone(&most), Arc::clone(&gate));
                    async move {
                        let this = begun.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(this, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        this
                    }
                };
                builds.get(number, epoch, make).await
            })
        }

        async fn begun(&self, count: usize) {
            while self.begun.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets everybody come as far as they can.
    async fn settle() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn however_many_ask_one_task_makes_it() {
        let stage = Stage::new();
        let asking: Vec<_> = (0..100).map(|_| stage.ask(7, 0)).collect();
        stage.begun(1).await;
        settle().await;
        stage.gate.add_permits(1);
        for one in asking {
            assert_eq!(one.await.unwrap(), Some(1));
        }
        assert_eq!(stage.begun.load(Ordering::SeqCst), 1);
        assert_eq!(locked(&stage.builds.under_way).len(), 0);
    }

    #[tokio::test]
    async fn those_who_hang_up_leave_one_task_and_the_next_one_gets_what_it_made() {
        let stage = Stage::new();
        for _ in 0..50 {
            let asking = stage.ask(7, 0);
            stage.begun(1).await;
            settle().await;
            asking.abort();
        }
        let next = stage.ask(7, 0);
        settle().await;
        stage.gate.add_permits(1);
        assert_eq!(next.await.unwrap(), Some(1));
        assert_eq!(stage.begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn few_are_made_at_a_time() {
        let stage = Stage::new();
        let asking: Vec<_> = (0..20).map(|number| stage.ask(number, 0)).collect();
        settle().await;
        assert_eq!(stage.most.load(Ordering::SeqCst), AT_ONCE);
        stage.gate.add_permits(20);
        for one in asking {
            assert!(one.await.unwrap().is_some());
        }
        assert_eq!(stage.begun.load(Ordering::SeqCst), 20);
    }

    #[tokio::test]
    async fn whoever_knows_a_later_kill_gets_what_was_begun_after_it() {
        let stage = Stage::new();
        let before = stage.ask(7, 1);
        stage.begun(1).await;
        let after = stage.ask(7, 2);
        settle().await;
        stage.gate.add_permits(2);
        assert_eq!((before.await.unwrap(), after.await.unwrap()), (Some(1), Some(2)));
    }

    #[tokio::test]
    async fn a_task_that_comes_to_a_bad_end_is_nobodys_answer_and_the_next_one_begins_anew() {
        let builds = Builds::<usize>::default();
        assert_eq!(builds.get(7, 0, || async { panic!("on purpose") }).await, None);
        assert_eq!(builds.get(7, 0, || async { 1 }).await, Some(1));
    }
}
