//! What the log says of every intent of a period, put together from its events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use marque_audit::find::first_recorded;
use marque_audit::{Event, EventKind, LogError, LogStore};
use serde_json::Value;

/// How many leaves are read from the store at a time.
const PAGE: usize = 1024;
/// The most leaves of one ledger.
const MAX_LEAVES: usize = 500_000;

/// Intents and refusals of a period.
#[derive(Debug)]
pub(crate) struct Ledger {
    since: Timestamp,
    until: Timestamp,
    intents: BTreeMap<String, Told>,
    refusals: Vec<Refused>,
    cut: bool,
}

/// What was told of one intent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) playbook: String,
    pub(crate) parameters: String,
    pub(crate) requested: Option<Timestamp>,
    pub(crate) approved: Option<Timestamp>,
    /// The end that its approval set.
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) ended: Option<(Timestamp, EventKind)>,
    /// The code, if it was refused.
    pub(crate) code: Option<String>,
    /// Who said what, and when; `true` for yes.
    pub(crate) decided: Vec<(String, Timestamp, bool)>,
    pub(crate) audiences: Vec<String>,
    pub(crate) scopes: Vec<String>,
    /// What marks a break-glass grant.
    pub(crate) break_glass: Option<Value>,
    /// Who looked at it afterwards, and what they found.
    pub(crate) reviewed: Option<(String, String)>,
}

/// A refusal, of which an intent came or not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused {
    pub(crate) at: Timestamp,
    pub(crate) agent: String,
    pub(crate) playbook: String,
    pub(crate) code: String,
}

impl Ledger {
    /// An empty one.
    pub(crate) const fn new(since: Timestamp, until: Timestamp) -> Self {
        Self { since, until, intents: BTreeMap::new(), refusals: Vec::new(), cut: false }
    }

    /// Reads what was recorded since then.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn read(
        log: &dyn LogStore,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Self, LogError> {
        let mut ledger = Self::new(since, until);
        let mut next = first_recorded(log, log.size().await?, since).await?;
        let mut read = 0;
        loop {
            let page = log.leaves(next, PAGE).await?;
            let Some(last) = page.last() else { return Ok(ledger) };
            next = last.seq() + 1;
            read += page.len();
            page.iter().for_each(|leaf| ledger.tell(leaf.event()));
            if read >= MAX_LEAVES {
                ledger.cut = true;
                return Ok(ledger);
            }
        }
    }

    /// Whether there was more than is read.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// The period.
    pub(crate) const fn period(&self) -> (Timestamp, Timestamp) {
        (self.since, self.until)
    }

    /// Every intent, by id and so by age.
    pub(crate) fn intents(&self) -> impl Iterator<Item = &Told> {
        self.intents.values()
    }

    /// Every refusal, in order.
    pub(crate) fn refusals(&self) -> &[Refused] {
        &self.refusals
    }

    /// Takes up one event.
    pub(crate) fn tell(&mut self, event: &Event) {
        if event.kind == EventKind::IntentDenied {
            self.refusals.push(Refused {
                at: event.time,
                agent: event.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
                playbook: playbook_of(event),
                code: event.code.clone().unwrap_or_default(),
            });
        }
        let Some(id) = event.intent.clone().filter(|_| concerns(event.kind)) else { return };
        let told = self.intents.entry(id.clone()).or_insert_with(|| Told { id, ..Told::default() });
        told.take(event);
    }
}

impl Told {
    fn take(&mut self, event: &Event) {
        if let Some(agent) = &event.agent {
            self.agent = agent.to_string();
        }
        if let Some(playbook) = &event.playbook {
            self.playbook.clone_from(&playbook.id);
        }
        if let Some(mark) = event.detail.get("break_glass") {
            self.break_glass = Some(mark.clone());
        }
        let text = |name: &str| event.detail.get(name).and_then(Value::as_str).unwrap_or_default();
        match event.kind {
            EventKind::IntentRequested => {
                self.requested = Some(event.time);
                self.audiences.clone_from(&event.audience);
                self.scopes = text("scope").split_whitespace().map(str::to_owned).collect();
                let parameters = event.detail.get("parameters");
                self.parameters = parameters.map(ToString::to_string).unwrap_or_default();
            }
            EventKind::IntentApproved => {
                self.approved = Some(event.time);
                self.ends_at = event.expires_at;
            }
            EventKind::ApprovalRecorded => self.decide(event, true),
            EventKind::IntentDenied => {
                self.code.clone_from(&event.code);
                self.ended = Some((event.time, event.kind));
                if event.actor.is_some() {
                    self.decide(event, false);
                }
            }
            EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentExpired
            | EventKind::IntentClosedUnreported
            | EventKind::IntentRevoked => self.ended = Some((event.time, event.kind)),
            EventKind::BreakGlassReviewed => {
                let by = event.actor.clone().unwrap_or_default();
                self.reviewed = Some((by, text("finding").to_owned()));
            }
            _ => {}
        }
    }

    fn decide(&mut self, event: &Event, yes: bool) {
        self.decided.push((event.actor.clone().unwrap_or_default(), event.time, yes));
    }

    /// From when until when it was in force, as far as that is over or `now` is.
    pub(crate) fn in_force(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let from = self.approved?;
        let end = self.ended.map(|(at, _)| at).or(self.ends_at).unwrap_or(now);
        Some((from, end.min(now).max(from)))
    }
}

const fn concerns(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::IntentRequested
            | EventKind::IntentPending
            | EventKind::IntentDenied
            | EventKind::IntentApproved
            | EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentExpired
            | EventKind::IntentClosedUnreported
            | EventKind::IntentRevoked
            | EventKind::ApprovalRecorded
            | EventKind::BreakGlassReviewed
    )
}

fn playbook_of(event: &Event) -> String {
    let pinned = event.playbook.as_ref().map(|pin| pin.id.clone());
    let named = event.detail.get("playbook").and_then(Value::as_str).map(str::to_owned);
    pinned.or(named).unwrap_or_default()
}
