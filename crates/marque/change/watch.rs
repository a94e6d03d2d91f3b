//! Ending what change control does not let live on: grants whose ticket was closed, and grants whose tokens live in a blackout
//! that was declared after they were given.
//!
//! A ticket that cannot be looked up ends nothing: no token is given for it meanwhile, and those that are out end soon.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use marque_intent::{
    DenialCode, EndReason, Intent, IntentChange, IntentFilter, IntentStore, IntentStoreError,
    PlaybookSet, Reason, State,
};
use marque_spiffe::Clock;
use tokio_util::sync::CancellationToken;

use super::ChangeControl;

/// How many grants were ended by this.
pub(crate) const ENDED: &str = "marque_change_ended_grants_total";

/// How often grants are looked through.
const INTERVAL: Duration = Duration::from_secs(5);
/// How many of them are looked at at a time.
const AT_ONCE: usize = 8;
/// In whose name.
const ACTOR: &str = "change-control";

/// Looks through the grants of one trust domain, again and again.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) control: Arc<ChangeControl>,
    pub(crate) playbooks: Arc<PlaybookSet>,
    pub(crate) store: Arc<dyn IntentStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Watch {
    /// Until `stop`. Where no playbook wants it, nothing is ever looked at.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let wanted = self.playbooks.iter().any(|playbook| {
            !playbook.blackouts().is_empty()
                || playbook.ticket_condition().is_some_and(|ticket| ticket.revoke_on_close)
        });
        if !wanted {
            return stop.cancelled().await;
        }
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            if let Err(error) = looked {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "grants could not be held against their tickets");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(self.clock.now() + INTERVAL) => {}
            }
        }
    }

    /// Looks once; how many grants were ended.
    pub(crate) async fn look(&self) -> Result<usize, IntentStoreError> {
        let mut ended = 0;
        for state in [State::Approved, State::Active, State::Consumed] {
            let filter = IntentFilter { state: Some(state), ..IntentFilter::default() };
            let intents = self.store.list(filter).await?;
            let held = intents.into_iter().filter(|intent| self.is_live(intent));
            let looked = futures::stream::iter(held).map(|intent| self.end_if_over(intent));
            let looked: Vec<bool> = looked.buffer_unordered(AT_ONCE).collect().await;
            ended += looked.into_iter().filter(|ended| *ended).count();
        }
        Ok(ended)
    }

    /// Whether anything can still come of it.
    fn is_live(&self, intent: &Intent) -> bool {
        intent.holds_until().is_some_and(|end| self.clock.now() < end)
    }

    async fn end_if_over(&self, intent: Intent) -> bool {
        let Some((why, code, detail)) = self.over(&intent).await else { return false };
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

    /// Why it ends, if it does.
    async fn over(&self, intent: &Intent) -> Option<(EndReason, DenialCode, String)> {
        let grant = intent.grant();
        if !intent.uses().is_empty()
            && let Err(denial) = self.control.blackout(grant)
        {
            return Some((EndReason::Blackout, denial.code(), denial.detail().to_owned()));
        }
        let condition = grant.conditions.ticket.as_ref()?;
        if !condition.revoke_on_close {
            return None;
        }
        match self.control.of_approval(grant).await {
            Err(denial) if denial.code() == DenialCode::TicketClosed => {
                Some((EndReason::TicketClosed, denial.code(), denial.detail().to_owned()))
            }
            Ok(()) | Err(_) => None,
        }
    }
}
