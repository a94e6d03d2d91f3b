//! What is told of a kill while no leaf can be written: it is in force and journaled, and the log learns of it later.
//!
//! Then it is pushed once more, under the same names. Absent: streams that are fetched, for which something has to be kept.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{EventKind, LogStore as _};
use marque_intent::IntentStore;
use marque_intent::kill::{Kill, KillState};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stops::Stop;
use super::told::{Part, Told};
use super::{Signals, Stream};

/// How long a leaf may take before nobody waits for it.
const RECORDED_WITHIN: Duration = Duration::from_millis(250);
/// How many of the newest leaves are looked at.
const NEWEST: u16 = 256;

/// The kills that somebody has seen to.
#[derive(Debug)]
pub(super) struct Direct {
    seen: BTreeSet<(Timestamp, String)>,
    new: Vec<Kill>,
    due: Option<Instant>,
}

impl Direct {
    /// Those that stand already are in the log, or were told of before.
    pub(super) fn new(state: &KillState) -> Self {
        Self { seen: state.kills.iter().map(key).collect(), new: Vec::new(), due: None }
    }

    /// Takes up kills that are new.
    pub(super) fn hear(&mut self, state: &KillState) {
        for kill in &state.kills {
            if self.seen.insert(key(kill)) {
                self.new.push(kill.clone());
                self.due.get_or_insert_with(|| Instant::now() + RECORDED_WITHIN);
            }
        }
    }

    /// Waits until a kill should have been recorded; for ever where there is none.
    pub(super) async fn is_due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self) -> Vec<Kill> {
        self.due = None;
        std::mem::take(&mut self.new)
    }
}

fn key(kill: &Kill) -> (Timestamp, String) {
    (kill.at, kill.actor.clone())
}

impl Signals {
    /// Pushes what no leaf tells of, until it is told to stop.
    pub(super) async fn tell_unrecorded(&self, stream: &Stream, stop: &CancellationToken) {
        if stream.delivery.destination.is_none() {
            return;
        }
        let mut kills = IntentStore::kill_state(&*self.store);
        let mut direct = Direct::new(&kills.borrow_and_update());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = kills.changed() => if changed.is_err() { return },
                () = direct.is_due() => for kill in direct.take() {
                    if !self.is_recorded(&kill).await {
                        self.send_at_once(stream, &Stop::of_kill(kill, &self.kills())).await;
                    }
                },
            }
            direct.hear(&kills.borrow_and_update());
        }
    }

    async fn is_recorded(&self, kill: &Kill) -> bool {
        let Ok(size) = self.store.size().await else { return false };
        let newest = self.store.leaves(size.saturating_sub(NEWEST.into()), NEWEST.into()).await;
        newest.is_ok_and(|leaves| {
            leaves.iter().map(marque_audit::Leaf::event).any(|event| {
                event.kind == EventKind::Kill
                    && event.time == kill.at
                    && event.actor.as_deref() == Some(&kill.actor)
            })
        })
    }

    async fn send_at_once(&self, stream: &Stream, stop: &Stop) {
        let name = stream.settings.name();
        tracing::warn!(stream = name, "a kill is not in the log; its receivers are told at once");
        let mut part = Part::Named;
        loop {
            match self.told_of_stop(stream, stop, part).await {
                Ok(Told { sets, next }) => {
                    if !self.push_all(stream, &sets).await {
                        return;
                    }
                    let Some(next) = next else { return };
                    part = next;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, stream = name, "what a kill ends cannot be read");
                    return;
                }
            }
        }
    }

    async fn push_all(&self, stream: &Stream, sets: &[marque_ssf::SetClaims]) -> bool {
        let Some(destination) = &stream.delivery.destination else { return false };
        for claims in sets {
            if let Err(error) = self.push(stream, destination, claims).await {
                let failure = error.told();
                tracing::error!(stream = stream.settings.name(), failure, "a kill was not taken");
                return false;
            }
        }
        true
    }
}
