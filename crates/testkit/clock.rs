//! A clock that stands still until a test moves it.

use std::{pin::Pin, time::Duration};

use jiff::Timestamp;
use marque_spiffe::Clock;
use tokio::sync::watch;

/// Where clocks of tests begin: 2030-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::constant(1_893_456_000, 0);

/// A settable clock; its clones show the same time, and moving it wakes whoever sleeps on any of them.
#[derive(Debug, Clone)]
pub struct FixedClock(watch::Sender<Timestamp>);

impl FixedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    /// Shows `now` from here on, be it later or earlier.
    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }

    /// Moves the clock forward.
    ///
    /// # Panics
    /// Past the year 9999.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.checked_add(by).expect("a time before the year 10000"));
    }

    /// How many tasks are asleep on this clock, so that a test can wait until they are.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.0.receiver_count()
    }
}

impl Default for FixedClock {
    fn default() -> Self {
        Self::new(START)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let mut changes = self.0.subscribe();
        Box::pin(async move {
            if changes.wait_for(|now| *now >= at).await.is_err() {
                // Every clock is gone, so the time never comes.
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use marque_spiffe::Clock as _;

    use super::{FixedClock, START};

    #[test]
    fn the_start_is_the_first_second_of_2030() {
        assert_eq!(START.to_string(), "2030-01-01T00:00:00Z");
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = FixedClock::default();
        let until = START.checked_add(Duration::from_secs(10)).unwrap();
        let sleeper = tokio::spawn(clock.sleep_until(until));
        assert_eq!(clock.clone().sleepers(), 1);
        clock.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.clone().set(until);
        sleeper.await.unwrap();
        assert_eq!((clock.now(), clock.sleepers()), (until, 0));
    }

    #[tokio::test]
    async fn a_past_instant_does_not_sleep() {
        FixedClock::default().sleep_until(START).await;
    }
}
