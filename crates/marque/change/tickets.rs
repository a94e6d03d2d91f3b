//! Asking one ticket system: answers are kept for a few seconds, and nobody asks twice at a time for the same ticket.
//!
//! A failure is kept for a moment as well: whoever waited for it does not ask again at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_intent::{TicketFacts, TicketLookupError, TicketRef, TicketSystemName};
use marque_spiffe::Clock;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

/// How often ticket systems were asked.
const LOOKUPS: &str = "marque_ticket_lookups_total";

/// How many tickets are kept in mind.
const MAX_KEPT: usize = 1024;
/// How many questions to one system are under way at a time.
const MAX_QUESTIONS: usize = 16;
/// For how long a failure is believed.
const FAILURE_AGE: Duration = Duration::from_secs(1);

/// A system that knows tickets.
pub(crate) trait TicketSource: fmt::Debug + Send + Sync {
    /// One ticket as it is now. Bounded in time and size, whatever the other side does.
    fn look_up<'a>(
        &'a self,
        ticket: &'a TicketRef,
    ) -> BoxFuture<'a, Result<TicketFacts, TicketLookupError>>;
}

/// One ticket system, and what it said a moment ago.
#[derive(Debug)]
pub(crate) struct Tickets {
    name: TicketSystemName,
    source: Arc<dyn TicketSource>,
    max_age: Duration,
    kept: Mutex<BTreeMap<TicketRef, Place>>,
    turns: Semaphore,
    clock: Arc<dyn Clock>,
}

type Place = Arc<AsyncMutex<Option<Said>>>;

#[derive(Debug, Clone)]
struct Said {
    facts: Result<TicketFacts, TicketLookupError>,
    /// From when the answer is; of a failure, when it was known.
    at: Timestamp,
}

impl Tickets {
    pub(crate) fn new(
        name: TicketSystemName,
        source: Arc<dyn TicketSource>,
        max_age: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (kept, turns) = (Mutex::default(), Semaphore::new(MAX_QUESTIONS));
        Self { name, source, max_age, kept, turns, clock }
    }

    /// A ticket as it is now or was a few seconds ago, and from when that is.
    pub(crate) async fn look_up(
        &self,
        ticket: &TicketRef,
    ) -> (Result<TicketFacts, TicketLookupError>, Timestamp) {
        let place = self.place(ticket);
        // Who comes while somebody asks waits for that answer.
        let mut said = place.lock().await;
        if let Some(said) = said.as_ref().filter(|said| self.is_fresh(said)) {
            return (said.facts.clone(), said.at);
        }
        let new = self.ask(ticket).await;
        *said = Some(new.clone());
        (new.facts, new.at)
    }

    async fn ask(&self, ticket: &TicketRef) -> Said {
        let _turn = self.turns.acquire().await;
        // Counted from before the question: whatever happened later may be missing from the answer.
        let asked_at = self.clock.now();
        let facts = self.source.look_up(ticket).await;
        let result = match &facts {
            Ok(_) => "answered",
            Err(TicketLookupError::Unknown) => "unknown",
            Err(TicketLookupError::Unavailable(why)) => {
                tracing::warn!(system = %self.name, %ticket, why, "a ticket could not be looked up");
                "unavailable"
            }
        };
        let system = self.name.to_string();
        metrics::counter!(LOOKUPS, "system" => system, "result" => result).increment(1);
        let at = if facts.is_ok() { asked_at } else { self.clock.now() };
        Said { facts, at }
    }

    fn is_fresh(&self, said: &Said) -> bool {
        let age = if said.facts.is_ok() { self.max_age } else { self.max_age.min(FAILURE_AGE) };
        let now = self.clock.now();
        // What is from later than now is from a clock that went back.
        said.at <= now && said.at.checked_add(age).is_ok_and(|end| now < end)
    }

    fn place(&self, ticket: &TicketRef) -> Place {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT && !kept.contains_key(ticket) {
            // Whoever waits for a ticket holds its place.
            kept.retain(|_ticket, place| Arc::strong_count(place) > 1);
        }
        Arc::clone(kept.entry(ticket.clone()).or_default())
    }
}

#[cfg(test)]
mod tests;
