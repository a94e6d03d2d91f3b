//! Requests at the instants at which they are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::issuer::Running;

/// Requests, and how many of them are due in a second; without a rate each is due once there is a connection for it.
pub(crate) struct Load {
    pub(crate) requests: Vec<Arc<[u8]>>,
    pub(crate) rate: Option<u32>,
    /// What each is answered with.
    pub(crate) status: u16,
    /// What is sent next on the same connection, by the number of the request and the body of its answer. That is load
    /// too, and nobody waits for it.
    pub(crate) then: Option<Then>,
}

/// Makes the request that follows on another.
pub(crate) type Then = Arc<dyn Fn(usize, &[u8]) -> Vec<u8> + Send + Sync>;

/// What came of a load; latencies in microseconds.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Microseconds of the issuer's processor time for each request.
    pub(crate) cpu: f64,
}

impl Load {
    pub(crate) async fn run(self, issuer: &Running, connections: usize) -> Figures {
        let open = (0..connections).map(|_| Connection::open(&issuer.client().place));
        let open: Vec<Connection> = futures::future::join_all(open).await;
        let (load, next) = (Arc::new(self), Arc::new(AtomicUsize::new(0)));
        let cpu = issuer.cpu_time();
        let started = Instant::now();
        let callers: Vec<_> = open
            .into_iter()
            .map(|connection| {
                tokio::spawn(call(Arc::clone(&load), connection, Arc::clone(&next), started))
            })
            .collect();
        let mut taken = Vec::with_capacity(load.requests.len());
        for caller in callers {
            taken.extend(caller.await.expect("a caller"));
        }
        let seconds = started.elapsed().as_secs_f64();
        let cpu = issuer.cpu_time() - cpu;
        taken.sort_by(f64::total_cmp);
        let count = f64::from(u32::try_from(taken.len()).expect("few"));
        Figures {
            per_second: count / seconds,
            p50: taken[taken.len() / 2],
            p99: taken[taken.len() * 99 / 100],
            cpu: cpu.as_secs_f64() * 1e6 / count,
        }
    }

    /// When a request is due, after the start.
    fn due(&self, at: usize) -> Option<Duration> {
        let rate = self.rate?;
        Some(Duration::from_secs_f64(f64::from(u32::try_from(at).expect("few")) / f64::from(rate)))
    }
}

/// Takes the next request that nobody has taken, until there is none. Microseconds from when each was due.
async fn call(
    load: Arc<Load>,
    mut connection: Connection,
    next: Arc<AtomicUsize>,
    started: Instant,
) -> Vec<f64> {
    let mut taken = Vec::new();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = load.requests.get(at) else { return taken };
        let due = match load.due(at) {
            Some(due) => {
                tokio::time::sleep_until((started + due).into()).await;
                started + due
            }
            None => Instant::now(),
        };
        let answer = connection.ask(request, load.status).await;
        taken.push(due.elapsed().as_secs_f64() * 1e6);
        if let Some(then) = &load.then {
            let next = then(at, answer);
            let _answer = connection.ask(&next, 200).await;
        }
    }
}
