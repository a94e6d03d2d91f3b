use std::sync::Arc;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Mutex;

use super::kubelet::Kubelet;
use super::pods::Pods;
use crate::source::SourceError;

/// Start times are counted in ticks of 10 ms, on every architecture in use.
const LONGEST_TICK: Duration = Duration::from_millis(20);

/// The kubelet is not asked more often: processes that it does not list yet would otherwise keep it
/// busy.
const SPACING: Duration = Duration::from_millis(50);

/// The kubelet's list of pods, shared by everybody who asks within a short time. Ages are counted
/// on the clock that also counts the start of processes.
#[derive(Debug)]
pub(super) struct PodLists {
    kubelet: Kubelet,
    max_age: Duration,
    /// Held while the kubelet is asked, so that it is asked once for all who wait.
    last: Mutex<Option<Asked>>,
}

#[derive(Debug)]
struct Asked {
    at: Duration,
    answer: Result<Arc<Pods>, Arc<SourceError>>,
}

/// A list, and when it was asked for.
pub(super) struct Listed {
    pub(super) pods: Arc<Pods>,
    pub(super) asked_at: Duration,
}

impl PodLists {
    pub(super) fn new(kubelet: Kubelet, max_age: Duration) -> Self {
        Self { kubelet, max_age, last: Mutex::new(None) }
    }

    /// A list that was asked for at `not_before` or later, and not longer ago than the limit.
    pub(super) async fn asked_since(
        &self,
        not_before: Duration,
    ) -> Result<Listed, Arc<SourceError>> {
        let arrived = since_boot();
        let mut last = self.last.lock().await;
        let oldest = not_before.max(since_boot().saturating_sub(self.max_age));
        if let Some(Asked { at, answer }) = &*last {
            match answer {
                Ok(pods) if *at >= oldest => {
                    return Ok(Listed { pods: Arc::clone(pods), asked_at: *at });
                }
                // A failure is shared by those who were waiting when the question was put, so
                // that they do not wait for one another's deadlines; nobody later is refused by it.
                Err(error) if *at >= arrived => return Err(Arc::clone(error)),
                _too_old => {}
            }
        }
        let now = since_boot();
        // A process that started in this very tick may have started after this moment.
        let tick = not_before.saturating_sub(now).min(LONGEST_TICK);
        let spacing =
            last.as_ref().map_or(Duration::ZERO, |last| (last.at + SPACING).saturating_sub(now));
        tokio::time::sleep(tick.max(spacing)).await;
        let at = since_boot();
        let answer = self.kubelet.pods().await.map(Arc::new).map_err(Arc::new);
        let asked = last.insert(Asked { at, answer });
        let pods = asked.answer.as_ref().map_err(Arc::clone)?;
        Ok(Listed { pods: Arc::clone(pods), asked_at: at })
    }
}

/// The time since the machine started.
pub(super) fn since_boot() -> Duration {
    // Neither part is negative on this clock.
    let now = clock_gettime(ClockId::Boottime);
    let nanos = now.tv_nsec.try_into().unwrap_or_default();
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), nanos)
}

/// A moment at which a process with this start time had started: the end of its tick.
pub(super) fn started_by(start_time: u64) -> Duration {
    let ticks = clock_ticks_per_second().max(1);
    let nanos = u128::from(start_time.saturating_add(1)) * 1_000_000_000 / u128::from(ticks);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
