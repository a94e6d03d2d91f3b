//! Who hears of a broken glass at once: the daemon's own log and the metrics, as soon as the audit log has it.
//!
//! Webhooks are delivered from the same events. Every replica says what it sees, so that no alert hangs on one of them.
//! Absent: deciding anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogError, LogStore};
use metrics::{counter, gauge};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Issuer;
use crate::reports::Ledger;

/// How many leaves are read at a time.
const PAGE: usize = 256;
/// How long after a failed read the next one is.
const AGAIN: Duration = Duration::from_secs(1);
/// How far back the trend goes.
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What each counter counts.
pub(crate) const COUNTERS: [(&str, &str); 1] =
    [("marque_break_glass_total", "Steps of break-glass grants, by the step")];
/// How often the glass was broken lately.
pub(crate) const TREND: (&str, &str) =
    ("marque_break_glass_30d", "How often the glass was broken in the last 30 days");

/// Follows the log until it is told to stop.
pub(super) async fn watch(issuer: Arc<Issuer>, stop: CancellationToken) {
    let log: Arc<dyn LogStore> = Arc::clone(&issuer.store) as _;
    let mut grown = log.changed();
    let mut seen = Seen::default();
    let mut next = None;
    while !stop.is_cancelled() {
        let followed = follow(&*log, &mut seen, &mut next, issuer.clock.now()).await;
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

/// Takes up what is new; what was there before it began is only counted into the trend.
async fn follow(
    log: &dyn LogStore,
    seen: &mut Seen,
    next: &mut Option<u64>,
    now: Timestamp,
) -> Result<(), LogError> {
    let mut from = match *next {
        Some(from) => from,
        None => {
            let size = log.size().await?;
            let since = now.checked_sub(MONTH).unwrap_or(Timestamp::MIN);
            let ledger = Ledger::read(log, since, now).await?;
            let broken = ledger.intents().filter(|told| told.break_glass.is_some());
            seen.broken = broken.filter_map(|told| told.approved).collect();
            size
        }
    };
    loop {
        let page = log.leaves(from, PAGE).await?;
        let Some(last) = page.last() else { break };
        page.iter().for_each(|leaf| seen.tell(leaf.event()));
        from = last.seq() + 1;
    }
    *next = Some(from);
    Ok(())
}

/// What is remembered between events.
#[derive(Debug, Default)]
struct Seen {
    /// When each glass was broken.
    broken: VecDeque<Timestamp>,
}

impl Seen {
    fn tell(&mut self, event: &Event) {
        let agent = event.agent.as_ref().map(ToString::to_string).unwrap_or_default();
        let playbook = event.playbook.as_ref().map(|pin| pin.id.clone());
        let playbook = playbook.unwrap_or_default();
        match event.kind {
            EventKind::BreakGlassRequested => {
                counter!("marque_break_glass_total", "step" => "requested").increment(1);
                tracing::warn!(%agent, %playbook, intent = event.intent, "an agent asks to break the glass");
            }
            EventKind::BreakGlassActivated => self.activated(event, &agent, &playbook),
            EventKind::BreakGlassUsed => {
                counter!("marque_break_glass_total", "step" => "used").increment(1);
            }
            EventKind::BreakGlassEnded => {
                counter!("marque_break_glass_total", "step" => "ended").increment(1);
            }
            EventKind::BreakGlassReviewed => {
                counter!("marque_break_glass_total", "step" => "reviewed").increment(1);
            }
            _ => {}
        }
    }

    fn activated(&mut self, event: &Event, agent: &str, playbook: &str) {
        self.broken.push_back(event.time);
        let month = event.time.checked_sub(MONTH).unwrap_or(Timestamp::MIN);
        while self.broken.front().is_some_and(|at| *at < month) {
            self.broken.pop_front();
        }
        let lately = self.broken.len();
        counter!("marque_break_glass_total", "step" => "activated").increment(1);
        gauge!(TREND.0).set(f64::from(u32::try_from(lately).unwrap_or(u32::MAX)));
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
}
