//! Ends of intents that nobody asks for: clocks that ran out, parents that ended, agents whose last process exited.
//!
//! A reader never sees an intent that ran out as alive; this tells the log. Absent: what ends an intent, which the rules of
//! `intent` say.

use std::time::Duration;

use futures::FutureExt as _;
use marque_intent::{
    ChangeError, DenialCode, EndReason, Holding, IntentChange, IntentStore as _, IntentStoreError,
    MAX_LISTED, OpenBy, OpenIntents as _,
};
use marque_spiffe::SpiffeId;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use crate::identities::Lost;

/// Counts intents that ended though nobody asked for it: why, and whether they were used and nobody said how it went.
const ENDED: &str = "marque_intents_ended_total";

/// How many intents are ended before the next are looked for.
const AT_ONCE: usize = 500;
/// How long to wait before an end that could not be stored is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Ends every intent of which a clock has run out, and every one whose parent ended where it hangs on that.
pub(super) async fn sweep(issuer: &Lasting, stop: &CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let now = issuer.clock.now();
        let due = issuer.store.due(now, AT_ONCE).await?;
        for intent in &due {
            end(issuer, intent.id().clone(), IntentChange::Expire).await?;
        }
        if due.len() < AT_ONCE {
            break;
        }
    }
    for (child, parent) in issuer.store.orphans(AT_ONCE).await? {
        if child.ends_with(&parent) {
            let by = format!("parent:{}", parent.id());
            end(issuer, child.id().clone(), because(EndReason::ParentEnded, by)).await?;
        }
    }
    Ok(())
}

/// Ends what hangs on an agent's process when its last one has exited, until told to stop.
pub(super) async fn end_with_agents(
    issuer: &Lasting,
    mut lost: UnboundedReceiver<Lost>,
    stop: &CancellationToken,
) {
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = lost.recv() => next,
        };
        let Some(next) = next else { return };
        while let Err(error) = end_of(issuer, &next).await {
            warn(&next.agent, &error);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

fn warn(agent: &SpiffeId, error: &IntentStoreError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(error, %agent, "the grants of a lost agent could not be ended");
}

/// Whatever the agent asked for before it was lost; what a new process of it asks for is its own.
async fn end_of(issuer: &Lasting, lost: &Lost) -> Result<(), IntentStoreError> {
    loop {
        let holding = Holding { by: OpenBy::Agent, name: lost.agent.to_string() };
        let held = issuer.store.held(holding).await?;
        let ended = held.iter().filter(|intent| {
            intent.grant().conditions.ends.with_agent && intent.created_at() <= lost.at
        });
        let mut count = 0;
        for intent in ended {
            count += 1;
            let change = because(EndReason::AgentLost, node(&lost.agent));
            end(issuer, intent.id().clone(), change).await?;
        }
        if held.len() < MAX_LISTED || count == 0 {
            return Ok(());
        }
    }
}

fn node(agent: &SpiffeId) -> String {
    format!("node:{}", agent.trust_domain())
}

fn because(why: EndReason, by: String) -> IntentChange {
    IntentChange::End { why, code: DenialCode::GrantExpired, by, reason: None }
}

/// Applies one change. An intent that somebody ended meanwhile stays what it is.
async fn end(
    issuer: &Lasting,
    id: marque_intent::IntentId,
    change: IntentChange,
) -> Result<(), IntentStoreError> {
    let changed = issuer.store.change(id, change, issuer.clock.now()).boxed().await;
    match changed {
        Ok(intent) => {
            if let Some(why) = intent.ended_for() {
                let unreported = if intent.is_unreported() { "true" } else { "false" };
                metrics::counter!(ENDED, "for" => why.as_str(), "unreported" => unreported)
                    .increment(1);
            }
            Ok(())
        }
        Err(ChangeError::NotFound | ChangeError::Refused(_)) => Ok(()),
        Err(ChangeError::Store(error)) => Err(error),
    }
}
