//! The posture signals of the trust domain: kept in the store, so that they outlive the process and reach every replica.
//!
//! What is in the store is read again when it was read more than a second ago: so late a signal of another replica is seen
//! here. One that is set here holds at once. Absent: what follows of a posture, which is the decision's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_intent::{PostureScope, PostureSignal, PostureState};
use marque_store::{Failure, Kept, KeptChange, Store};

/// The kind of the rows.
const KIND: &str = "posture";
/// How old what was read may be.
const MAX_AGE: Duration = Duration::from_secs(1);
/// How long a signal without an end is kept.
const KEPT: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// How often a write is tried when another replica writes the same scope.
const TRIES: usize = 5;

/// The signals, with a look back of at most a second.
#[derive(Debug)]
pub(in crate::issuer) struct PostureBoard {
    store: Arc<Store>,
    read: Mutex<Read>,
}

/// What was read last, and how often something was set here: what was read before that is not kept after it.
#[derive(Debug)]
struct Read {
    set: u64,
    last: Option<(Timestamp, Arc<PostureState>)>,
}

/// A signal could not be kept.
#[derive(Debug, thiserror::Error)]
pub(in crate::issuer) enum PostureSetError {
    /// The store cannot be written.
    #[error("the posture could not be kept")]
    Store(#[source] Failure),
    /// Somebody else keeps setting the same one.
    #[error("the posture is being set by somebody else")]
    Busy,
}

impl PostureBoard {
    pub(in crate::issuer) const fn new(store: Arc<Store>) -> Self {
        Self { store, read: Mutex::new(Read { set: 0, last: None }) }
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every signal, ended ones too.
    pub(in crate::issuer) async fn now(
        &self,
        now: Timestamp,
    ) -> Result<Arc<PostureState>, Failure> {
        let fresh = |at: Timestamp| at <= now && at.checked_add(MAX_AGE).is_ok_and(|end| now < end);
        let set = {
            let Read { set, last } = &*self.read();
            if let Some((_, state)) = last.as_ref().filter(|(at, _)| fresh(*at)) {
                return Ok(Arc::clone(state));
            }
            *set
        };
        let rows = self.store.all_kept(KIND, now).await?;
        let signals = rows.iter().map(Kept::read).collect::<Result<_, _>>()?;
        let state = Arc::new(PostureState::new(signals));
        let mut read = self.read();
        if read.set == set {
            read.last = Some((now, Arc::clone(&state)));
        }
        Ok(state)
    }

    /// Sets a signal in the place of the last of its scope, with its leaf in the log.
    pub(in crate::issuer) async fn set(
        &self,
        signal: PostureSignal,
    ) -> Result<(), PostureSetError> {
        let key = key(&signal.scope);
        let until = match signal.expires_at {
            Some(end) => end,
            None => signal.at.checked_add(KEPT).unwrap_or(Timestamp::MAX),
        };
        for _ in 0..TRIES {
            let there =
                self.store.kept(KIND, &key, signal.at).await.map_err(PostureSetError::Store)?;
            let change = match (&there, signal.posture.is_normal()) {
                (None, true) => None,
                (Some(row), true) => Some(Ok(row.taken_away())),
                (Some(row), false) => Some(row.replaced_by(&signal, until)),
                (None, false) => Some(KeptChange::new(KIND, &key, &signal, until)),
            };
            let changes = change.into_iter().collect::<Result<_, _>>();
            let changes = changes.map_err(PostureSetError::Store)?;
            let kept = self.store.keep_on_record(changes, event(&signal)).await;
            if kept.map_err(PostureSetError::Store)? {
                let mut read = self.read();
                (read.set, read.last) = (read.set + 1, None);
                return Ok(());
            }
        }
        Err(PostureSetError::Busy)
    }
}

/// What a signal is about, as the key of its row.
fn key(scope: &PostureScope) -> String {
    scope.to_string()
}

fn event(signal: &PostureSignal) -> Event {
    let event = Event::new(EventKind::PostureSet, signal.at)
        .with_actor(signal.actor.clone())
        .with_detail("scope", signal.scope.to_string())
        .with_detail("posture", signal.posture.as_str())
        .with_detail("reason", signal.reason.as_str());
    let event = match &signal.scope {
        PostureScope::Agent(agent) => event.with_agent(agent.clone()),
        PostureScope::Playbook(_) | PostureScope::TrustDomain => event,
    };
    match signal.expires_at {
        Some(end) => event.with_expires_at(end),
        None => event,
    }
}
