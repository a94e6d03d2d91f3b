//! How many refused logins are on record one by one: anybody on the network can be refused, as often as they like.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// How many for one reason have a leaf of their own in an hour; the first one afterwards says how many more there were.
const MOST: u32 = 30;
const HOUR: Duration = Duration::from_hours(1);

/// What was refused of late, by reason: one noisy reason hides no other.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<&'static str, Tally>>);

#[derive(Debug)]
struct Tally {
    since: Timestamp,
    recorded: u32,
    more: u64,
}

impl Refusals {
    /// Counts one more; if it is to be on record, how many before it are not.
    pub(super) fn tell(&self, code: &'static str, now: Timestamp) -> Option<u64> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(code).or_insert(Tally { since: now, recorded: 0, more: 0 });
        let over = tally.since.saturating_add(HOUR).is_ok_and(|end| end <= now);
        if over || now < tally.since {
            (tally.since, tally.recorded) = (now, 0);
        }
        if tally.recorded == MOST {
            tally.more += 1;
            return None;
        }
        tally.recorded += 1;
        Some(std::mem::take(&mut tally.more))
    }
}

#[cfg(test)]
mod tests {
    use marque_testkit::START;

    use super::*;

    #[test]
    fn a_reason_is_on_record_so_often_and_the_next_hour_says_how_many_more_there_were() {
        let refusals = Refusals::default();
        let told = |code, at| refusals.tell(code, START + Duration::from_secs(at));
        for at in 0..u64::from(MOST) {
            assert_eq!(told("login_state_mismatch", at), Some(0));
        }
        assert_eq!(
            (told("login_state_mismatch", 60), told("login_state_mismatch", 3599)),
            (None, None)
        );
        assert_eq!(told("login_code_refused", 3599), Some(0));
        assert_eq!(told("login_state_mismatch", 3600), Some(2));
        assert_eq!(told("login_state_mismatch", 3601), Some(0));
    }
}
