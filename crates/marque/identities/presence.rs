//! Which live processes hold which identity, by their pins: what a grant that ends with its agent hangs on.
//!
//! Every process that an SVID was handed to is held by its pidfd until it exits, whether it keeps its connection or not.
//! When the last process that was handed an identity has exited, that is told once. Not seen: a process that got the key
//! of an SVID from another one, containers that are known by name alone, and whatever was handed out before this daemon
//! started. A process that executes another program counts until it exits.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use marque_attest::{ProcessInstance, ProcessPin};
use marque_spiffe::{Clock, SpiffeId};
use tokio::sync::mpsc;

/// How many processes are watched at once, each for one descriptor. Those beyond are taken to live for ever.
const MAX_WATCHED: usize = 8192;

/// The last process of an identity has exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The identity.
    pub(crate) agent: SpiffeId,
    /// When that was seen.
    pub(crate) at: Timestamp,
}

/// The live processes of every identity.
#[derive(Debug)]
pub(crate) struct Presence {
    held: Mutex<Held>,
    lost: mpsc::UnboundedSender<Lost>,
    /// Whether any grant hangs on who lives, as playbooks are now.
    wanted: AtomicBool,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Held {
    by_process: HashMap<ProcessInstance, HashSet<SpiffeId>>,
    by_identity: HashMap<SpiffeId, HashSet<ProcessInstance>>,
}

impl Presence {
    /// Nobody holds anything yet; who is lost is told to the receiver.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> (Arc<Self>, mpsc::UnboundedReceiver<Lost>) {
        let (lost, told) = mpsc::unbounded_channel();
        let wanted = AtomicBool::new(false);
        (Arc::new(Self { held: Mutex::default(), lost, wanted, clock }), told)
    }

    /// Says whether a grant may hang on who lives. Processes are watched in any case, because playbooks may want that later;
    /// those beyond what can be watched are known only while it is wanted.
    pub(crate) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether a live process holds the identity.
    pub(crate) fn has(&self, agent: &SpiffeId) -> bool {
        self.held().by_identity.contains_key(agent)
    }

    /// Says that a process is handed these identities.
    pub(crate) fn handed(self: &Arc<Self>, ids: &[SpiffeId], process: ProcessInstance) {
        let is_new = {
            let mut held = self.held();
            if held.is_full() && !self.wanted.load(Ordering::Relaxed) {
                return;
            }
            held.add(ids, process)
        };
        if !is_new {
            return;
        }
        if self.held().by_process.len() > MAX_WATCHED {
            tracing::warn!(MAX_WATCHED, "a process is not watched: its grants do not end with it");
            return;
        }
        // Pinned anew: what connected may have gone, and its pid may be another process by now.
        match ProcessPin::open(process.pid()) {
            Ok(pin) if pin.instance() == process => {
                let presence = Arc::clone(self);
                tokio::spawn(async move { presence.watch(&pin).await });
            }
            Ok(_) | Err(_) => self.exited(process),
        }
    }

    async fn watch(&self, pin: &ProcessPin) {
        pin.exited().await;
        if pin.is_alive() {
            tracing::warn!(
                pid = pin.pid(),
                "a process cannot be watched: its grants do not end with it"
            );
        } else {
            self.exited(pin.instance());
        }
    }

    fn exited(&self, process: ProcessInstance) {
        let lost = self.held().remove(process);
        let at = self.clock.now();
        for agent in lost {
            tracing::info!(%agent, "the last process of an identity has exited");
            // Nobody listens any more when the daemon stops.
            drop(self.lost.send(Lost { agent, at }));
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_full(&self) -> bool {
        self.by_process.len() >= MAX_WATCHED
    }

    /// Whether the process is a new one.
    fn add(&mut self, ids: &[SpiffeId], process: ProcessInstance) -> bool {
        let is_new = !self.by_process.contains_key(&process);
        let held = self.by_process.entry(process).or_default();
        for id in ids {
            held.insert(id.clone());
            self.by_identity.entry(id.clone()).or_default().insert(process);
        }
        is_new
    }

    /// The identities that nobody holds any more.
    fn remove(&mut self, process: ProcessInstance) -> Vec<SpiffeId> {
        let mut lost = Vec::new();
        for id in self.by_process.remove(&process).unwrap_or_default() {
            if let Some(holders) = self.by_identity.get_mut(&id) {
                holders.remove(&process);
                if holders.is_empty() {
                    self.by_identity.remove(&id);
                    lost.push(id);
                }
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SpiffeId {
        format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
    }

    #[test]
    fn an_identity_is_lost_with_its_last_process_and_not_before() {
        let mut held = Held::default();
        let [one, two] = [11, 12].map(|pid| ProcessInstance::named(pid, 7));
        assert!(held.add(&[id("a"), id("b")], one));
        assert!(!held.add(&[id("a")], one));
        assert!(held.add(&[id("a")], two));
        assert_eq!(held.remove(one), [id("b")]);
        assert_eq!(held.remove(one), []);
        assert_eq!(held.remove(two), [id("a")]);
        assert!(held.by_identity.is_empty() && held.by_process.is_empty());
    }

    #[tokio::test]
    async fn a_process_that_exits_is_told_of_once() {
        let clock = Arc::new(marque_testkit::FixedClock::new(marque_testkit::START));
        let (presence, mut lost) = Presence::new(clock);
        let mut child = tokio::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let process = ProcessPin::open(pid).unwrap().instance();
        presence.handed(&[id("a")], process);
        presence.handed(&[id("a")], process);
        assert!(presence.has(&id("a")));
        child.kill().await.unwrap();
        let told = lost.recv().await.unwrap();
        assert_eq!((told.agent, presence.has(&id("a"))), (id("a"), false));
        assert!(lost.try_recv().is_err());
        // One that was gone before it could be pinned is no holder either.
        presence.handed(&[id("b")], process);
        assert_eq!(lost.recv().await.unwrap().agent, id("b"));
    }
}
