//! What each uid has taken of a socket: connections, open calls, and how fast it calls.
//!
//! A uid is what the kernel says of the process that connected, so nobody can call in another's name. Absent on purpose:
//! what one connection may do (HTTP/2's own limits), and every limit that is about content.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::limit::Limit;
use super::live::LiveLimits;
use super::serve::Limits;

/// Below this many uids nothing is looked through for those that are gone.
const FEW_UIDS: usize = 64;

/// The accounts of one socket.
#[derive(Debug)]
pub(super) struct Accounts {
    limits: LiveLimits,
    calls: AtomicU32,
    open: Mutex<Open>,
    open_connections: metrics::Gauge,
    open_calls: metrics::Gauge,
}

#[derive(Debug, Default)]
struct Open {
    connections: u32,
    of_uid: HashMap<u32, Held>,
    /// How many uids there may be before those that are gone are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Held {
    account: Arc<Account>,
    connections: u32,
    /// Since when there is no connection. Kept until the account owes nothing, so that a new connection is no fresh start.
    idle_since: Instant,
}

#[derive(Debug)]
struct Account {
    calls: AtomicU32,
    rate: ArcSwap<Rate>,
    limits: LiveLimits,
}

/// How fast a uid calls, by the limits that it was begun with.
#[derive(Debug)]
struct Rate {
    per_second: u32,
    burst: u32,
    limiter: DefaultDirectRateLimiter,
}

/// One connection's place; given back on drop.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    uid: u32,
    account: Arc<Account>,
    accounts: Arc<Accounts>,
}

/// One open call's place; given back on drop.
#[derive(Debug)]
pub(super) struct CallPlace {
    account: Arc<Account>,
    accounts: Arc<Accounts>,
}

/// How fast the caller's uid calls, for a call in which the client asks more than once: each counts.
#[derive(Debug, Clone)]
pub(super) struct CallRate(Arc<Account>);

impl Accounts {
    pub(super) fn new(limits: impl Into<LiveLimits>) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.into(),
            calls: AtomicU32::new(0),
            open: Mutex::default(),
            open_connections: metrics::gauge!("marque_connections_open"),
            open_calls: metrics::gauge!("marque_calls_open"),
        })
    }

    /// A place for one more connection of `uid`.
    pub(super) fn connect(self: &Arc<Self>, uid: u32) -> Result<ConnectionPlace, Limit> {
        let limits = self.limits.now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.connections >= limits.connections {
            return Err(Limit::Connections);
        }
        if !open.of_uid.contains_key(&uid) && open.of_uid.len() >= open.sweep_at {
            sweep(&mut open, &limits);
        }
        let held = open.of_uid.entry(uid).or_insert_with(|| Held {
            account: Arc::new(Account::new(&self.limits)),
            connections: 0,
            idle_since: Instant::now(),
        });
        if held.connections >= limits.connections_per_uid {
            return Err(Limit::ConnectionsPerUid);
        }
        held.connections += 1;
        let account = Arc::clone(&held.account);
        open.connections += 1;
        self.open_connections.increment(1);
        Ok(ConnectionPlace { uid, account, accounts: Arc::clone(self) })
    }
}

/// Forgets uids that have no connection and whose burst is whole again.
fn sweep(open: &mut Open, limits: &Limits) {
    let refill = f64::from(limits.request_burst_per_uid)
        / f64::from(limits.requests_per_second_per_uid.max(1));
    let refill = Duration::from_secs_f64(refill);
    open.of_uid.retain(|_uid, held| {
        held.connections > 0
            || held.account.calls.load(Ordering::Relaxed) > 0
            || held.idle_since.elapsed() < refill
    });
    // Twice as many as are left before the next look, so that looking stays cheap.
    open.sweep_at = FEW_UIDS.max(open.of_uid.len() * 2);
}

impl Account {
    fn new(limits: &LiveLimits) -> Self {
        let rate = ArcSwap::from_pointee(Rate::by(&limits.now()));
        Self { calls: AtomicU32::new(0), rate, limits: limits.clone() }
    }

    /// Counts one call, or one question more on a call.
    fn count(&self) -> Result<(), Limit> {
        let limits = self.limits.now();
        let mut rate = self.rate.load_full();
        if !rate.is_by(&limits) {
            rate = Arc::new(Rate::by(&limits));
            self.rate.store(Arc::clone(&rate));
        }
        rate.limiter.check().map_err(|_not_until| Limit::RequestsPerSecondPerUid)
    }
}

impl Rate {
    fn by(limits: &Limits) -> Self {
        let (per_second, burst) =
            (limits.requests_per_second_per_uid, limits.request_burst_per_uid);
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self { per_second, burst, limiter: RateLimiter::direct(quota) }
    }

    fn is_by(&self, limits: &Limits) -> bool {
        (self.per_second, self.burst)
            == (limits.requests_per_second_per_uid, limits.request_burst_per_uid)
    }
}

impl ConnectionPlace {
    /// A place for one more call on this connection.
    pub(super) fn call(&self) -> Result<CallPlace, Limit> {
        let Self { uid: _, account, accounts } = self;
        let limits = accounts.limits.now();
        account.count()?;
        take(&account.calls, limits.calls_per_uid).ok_or(Limit::CallsPerUid)?;
        if take(&accounts.calls, limits.calls).is_none() {
            account.calls.fetch_sub(1, Ordering::AcqRel);
            return Err(Limit::Calls);
        }
        accounts.open_calls.increment(1);
        Ok(CallPlace { account: Arc::clone(account), accounts: Arc::clone(accounts) })
    }
}

impl CallPlace {
    /// For the questions that follow the first one of this call.
    pub(super) fn rate(&self) -> CallRate {
        CallRate(Arc::clone(&self.account))
    }
}

impl CallRate {
    /// Counts one more question.
    pub(super) fn once_more(&self) -> Result<(), Limit> {
        self.0.count()
    }
}

pub(super) fn take(counter: &AtomicU32, limit: u32) -> Option<()> {
    let one_more = |count| (count < limit).then_some(count + 1);
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok().map(|_before| ())
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut open = self.accounts.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections -= 1;
        if let Some(held) = open.of_uid.get_mut(&self.uid) {
            held.connections -= 1;
            held.idle_since = Instant::now();
        }
        self.accounts.open_connections.decrement(1);
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.account.calls.fetch_sub(1, Ordering::AcqRel);
        self.accounts.calls.fetch_sub(1, Ordering::AcqRel);
        self.accounts.open_calls.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(change: impl FnOnce(&mut Limits)) -> Arc<Accounts> {
        let mut limits = Limits::default();
        change(&mut limits);
        Accounts::new(limits)
    }

    #[test]
    fn a_uid_gets_as_many_connections_as_its_limit_and_no_more() {
        let accounts = accounts(|limits| limits.connections_per_uid = 2);
        let _held = (accounts.connect(1).unwrap(), accounts.connect(1).unwrap());
        assert_eq!(accounts.connect(1).unwrap_err(), Limit::ConnectionsPerUid);
        accounts.connect(2).unwrap();
    }

    #[test]
    fn a_connection_that_ends_gives_its_place_back() {
        let accounts = accounts(|limits| {
            limits.connections_per_uid = 1;
            limits.connections = 1;
        });
        drop(accounts.connect(1).unwrap());
        accounts.connect(1).unwrap();
    }

    #[test]
    fn all_uids_together_stay_below_the_sockets_limit() {
        let accounts = accounts(|limits| limits.connections = 2);
        let _held = (accounts.connect(1).unwrap(), accounts.connect(2).unwrap());
        assert_eq!(accounts.connect(3).unwrap_err(), Limit::Connections);
    }

    #[test]
    fn open_calls_are_counted_over_all_connections_of_a_uid_and_over_all_uids() {
        let accounts = accounts(|limits| {
            limits.calls_per_uid = 2;
            limits.calls = 3;
        });
        let connections = [1, 1, 2].map(|uid| accounts.connect(uid).unwrap());
        let first = connections[0].call().unwrap();
        let _second = connections[1].call().unwrap();
        assert_eq!(connections[0].call().unwrap_err(), Limit::CallsPerUid);
        let _third = connections[2].call().unwrap();
        assert_eq!(connections[2].call().unwrap_err(), Limit::Calls);
        // What was refused took nothing.
        drop(first);
        connections[2].call().unwrap();
    }

    #[test]
    fn a_uid_that_calls_too_fast_is_refused_and_a_new_connection_does_not_help() {
        let accounts = accounts(|limits| {
            limits.requests_per_second_per_uid = 1;
            limits.request_burst_per_uid = 2;
        });
        let connection = accounts.connect(1).unwrap();
        let _calls = (connection.call().unwrap(), connection.call().unwrap());
        assert_eq!(connection.call().unwrap_err(), Limit::RequestsPerSecondPerUid);
        drop(connection);
        let again = accounts.connect(1).unwrap();
        assert_eq!(again.call().unwrap_err(), Limit::RequestsPerSecondPerUid);
        accounts.connect(2).unwrap().call().unwrap();
    }

    #[test]
    fn another_limit_holds_for_those_who_are_there() {
        let limits = LiveLimits::from(Limits { connections_per_uid: 3, ..Limits::default() });
        let accounts = Accounts::new(limits.clone());
        let [one, two] = [1, 1].map(|uid| accounts.connect(uid).unwrap());
        let _call = one.call().unwrap();
        limits.change(Limits { connections_per_uid: 2, calls_per_uid: 1, ..Limits::default() });
        assert_eq!(accounts.connect(1).unwrap_err(), Limit::ConnectionsPerUid);
        assert_eq!(two.call().unwrap_err(), Limit::CallsPerUid);
        limits.change(Limits { request_burst_per_uid: 1, ..limits.now() });
        assert_eq!(two.call().unwrap_err(), Limit::CallsPerUid);
        assert_eq!(two.call().unwrap_err(), Limit::RequestsPerSecondPerUid);
        limits.change(Limits { connections: 2, ..Limits::default() });
        assert_eq!(accounts.connect(2).unwrap_err(), Limit::Connections);
        limits.change(Limits::default());
        two.call().unwrap();
        accounts.connect(1).unwrap();
    }

    fn known(burst: u32, rate: u32) -> Vec<u32> {
        let accounts = accounts(|limits| {
            limits.request_burst_per_uid = burst;
            limits.requests_per_second_per_uid = rate;
        });
        let _stays = accounts.connect(0).unwrap();
        (1..500).for_each(|uid| drop(accounts.connect(uid).unwrap()));
        accounts.open.lock().unwrap().of_uid.keys().copied().collect()
    }

    #[test]
    fn uids_that_are_gone_are_forgotten_once_they_owe_nothing() {
        let known = known(1, 1_000_000);
        assert!(known.contains(&0) && known.len() <= 2 * FEW_UIDS, "{}", known.len());
    }

    #[test]
    fn uids_that_are_gone_are_remembered_while_their_burst_is_not_whole() {
        assert_eq!(known(3600, 1).len(), 500);
    }
}
