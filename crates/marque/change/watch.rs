//! Ending what change control does not let live on: grants whose ticket was closed, and grants whose tokens live in a blackout
//! that was declared after they were given.
//!
//! A ticket that cannot be looked up ends nothing: no token is given for it meanwhile, and those that are out end soon.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use marque_intent::{
    DenialCode, EndReason, Intent, IntentChange, IntentStore, IntentStoreError, OpenIntents,
    PlaybookSet, Reason, State, UnendedPage,
};
use marque_spiffe::Clock;
use tokio_util::sync::CancellationToken;

use super::ChangeControl;

/// How many grants were ended by this.
const ENDED: &str = "marque_change_ended_grants_total";

/// How often grants are looked through.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many of them are read at a time.
const PAGE: usize = 256;
/// How many tickets are looked at at a time.
const AT_ONCE: usize = 8;
/// In whose name.
const ACTOR: &str = "change-control";

/// Looks through the grants of one trust domain, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) control: Arc<ChangeControl>,
    pub(crate) playbooks: Arc<PlaybookSet>,
    pub(crate) store: Arc<dyn IntentStore>,
    pub(crate) open: Arc<dyn OpenIntents>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What grants are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// Blackouts, of which everything is known here.
    Calendars,
    /// Tickets, about which somebody has to be asked.
    Tickets,
}

/// Why a grant ends.
type Over = (EndReason, DenialCode, String);

impl Watch {
    /// Until `stop`. Calendars wait for no ticket system: each is looked through by itself.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::join!(self.follow(Against::Calendars, &stop), self.follow(Against::Tickets, &stop));
    }

    /// Where no playbook wants it, nothing is ever looked at.
    async fn follow(&self, against: Against, stop: &CancellationToken) {
        let wanted = self.playbooks.iter().any(|playbook| match against {
            Against::Calendars => !playbook.blackouts().is_empty(),
            Against::Tickets => {
                playbook.ticket_condition().is_some_and(|ticket| ticket.revoke_on_close)
            }
        });
        if !wanted {
            return stop.cancelled().await;
        }
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look(against) => looked,
            };
            if let Err(error) = looked {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, ?against, "grants could not be looked through");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(self.clock.now() + INTERVAL) => {}
            }
        }
    }

    /// Looks at every grant once; how many were ended.
    pub(crate) async fn look(&self, against: Against) -> Result<usize, IntentStoreError> {
        let (mut ended, mut after) = (0, None);
        loop {
            let UnendedPage { intents, last: Some(last) } = self.open.unended(after, PAGE).await?
            else {
                return Ok(ended);
            };
            after = Some(last);
            let held = intents.into_iter().filter(|intent| self.is_live(intent));
            let looked =
                futures::stream::iter(held).map(|intent| self.end_if_over(intent, against));
            let looked: Vec<bool> = looked.buffer_unordered(AT_ONCE).collect().await;
            ended += looked.into_iter().filter(|ended| *ended).count();
        }
    }

    /// Whether anything can still come of it.
    fn is_live(&self, intent: &Intent) -> bool {
        matches!(intent.state(), State::Approved | State::Active | State::Consumed)
            && intent.holds_until().is_some_and(|end| self.clock.now() < end)
    }

    async fn end_if_over(&self, intent: Intent, against: Against) -> bool {
        let over = match against {
            Against::Calendars => self.in_a_blackout(&intent),
            Against::Tickets => self.of_a_closed_ticket(&intent).await,
        };
        let Some((why, code, detail)) = over else { return false };
        let change = IntentChange::End {
            why,
            code,
            by: ACTOR.to_owned(),
            reason: Reason::new(&detail).ok(),
        };
        let id = intent.id().clone();
        match self.store.change(id.clone(), change, self.clock.now()).await {
            Ok(_ended) => {
                tracing::info!(intent = %id, %why, "a grant was ended");
                metrics::counter!(ENDED, "reason" => why.as_str()).increment(1);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, intent = %id, "a grant could not be ended");
                false
            }
        }
    }

    /// What was never used waits; a token that lives in a blackout does not.
    fn in_a_blackout(&self, intent: &Intent) -> Option<Over> {
        if intent.uses().is_empty() {
            return None;
        }
        let denial = self.control.blackout(intent.grant()).err()?;
        Some((EndReason::Blackout, denial.code(), denial.detail().to_owned()))
    }

    async fn of_a_closed_ticket(&self, intent: &Intent) -> Option<Over> {
        let grant = intent.grant();
        if !grant.conditions.ticket.as_ref()?.revoke_on_close {
            return None;
        }
        match self.control.of_ticket(grant).await {
            Err(denial) if denial.code() == DenialCode::TicketClosed => {
                Some((EndReason::TicketClosed, denial.code(), denial.detail().to_owned()))
            }
            Ok(()) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
