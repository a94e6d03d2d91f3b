//! Who follows the log: the figures that are counted from it, and whoever is to hear of a broken glass at once, in the
//! daemon's own log.
//!
//! Webhooks are delivered from the same events. Every replica says what it sees, so that no alert hangs on one of them.
//! Absent: deciding anything.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::find::first_recorded;
use marque_audit::{Event, EventKind, LogError, LogStore};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Lasting;
use super::figures::{Figures, LOOK_BACK};

/// How many leaves are read at a time.
const PAGE: usize = 256;
/// How long after a failed read the next one is.
const AGAIN: Duration = Duration::from_secs(1);
/// The most leaves that are read before it begins to follow.
const MAX_LEAVES: u64 = 500_000;

/// Follows the log until it is told to stop.
pub(super) async fn watch(issuer: Arc<Lasting>, stop: CancellationToken) {
    let log: Arc<dyn LogStore> = Arc::clone(&issuer.store) as _;
    let mut grown = log.changed();
    issuer.figures.begin();
    let mut next = None;
    while !stop.is_cancelled() {
        let followed = follow(&*log, &issuer, &mut next).await;
        let wait = async {
            match followed {
                Ok(()) => drop(grown.changed().await),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the log is not followed"
                    );
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Takes up what is new; what was there before it began is not counted again.
async fn follow(
    log: &dyn LogStore,
    issuer: &Lasting,
    next: &mut Option<u64>,
) -> Result<(), LogError> {
    let figures = &issuer.figures;
    let mut from = match *next {
        Some(from) => from,
        None => recall(log, figures, issuer.clock.now()).await?,
    };
    loop {
        let page = log.leaves(from, PAGE).await?;
        let Some(last) = page.last() else { break };
        for leaf in &page {
            figures.tell(leaf.event());
            alert(leaf.event(), figures);
            issuer.federation_news.hear(leaf.event().kind);
        }
        from = last.seq() + 1;
        *next = Some(from);
    }
    *next = Some(from);
    Ok(())
}

/// Reads what still matters of what was recorded before, and gives where it ends.
async fn recall(log: &dyn LogStore, figures: &Figures, now: Timestamp) -> Result<u64, LogError> {
    // What an attempt that failed has read is read again.
    figures.forget_all();
    let since = now.checked_sub(LOOK_BACK).unwrap_or(Timestamp::MIN);
    let size = log.size().await?;
    let mut from = first_recorded(log, size, since).await?.max(size.saturating_sub(MAX_LEAVES));
    while from < size {
        let page = log.leaves(from, PAGE).await?;
        let Some(last) = page.last() else { break };
        page.iter().filter(|leaf| leaf.seq() < size).for_each(|leaf| figures.recall(leaf.event()));
        from = last.seq() + 1;
    }
    Ok(size)
}

/// Says at once that somebody asks to break the glass, or broke it.
fn alert(event: &Event, figures: &Figures) {
    let agent = event.agent.as_ref().map(ToString::to_string).unwrap_or_default();
    let playbook = event.playbook.as_ref().map(|pin| pin.id.clone()).unwrap_or_default();
    match event.kind {
        EventKind::BreakGlassRequested => {
            tracing::warn!(%agent, %playbook, intent = event.intent, "an agent asks to break the glass");
        }
        EventKind::BreakGlassActivated => {
            let lately = figures.broken_lately(event.time);
            let mark = event.detail.get("break_glass");
            let member = |name: &str| mark.and_then(|mark| mark.get(name));
            let alert = member("alert").and_then(Value::as_str).unwrap_or_default();
            tracing::warn!(%agent, %playbook, intent = event.intent, alert, lately, "the glass is broken");
            let above = member("alert_above").and_then(Value::as_u64).unwrap_or(u64::MAX);
            if u64::try_from(lately).unwrap_or(u64::MAX) > above {
                tracing::error!(
                    lately,
                    above,
                    "the glass is broken too often: the ordinary playbooks are too hard to use"
                );
            }
        }
        _ => {}
    }
}
