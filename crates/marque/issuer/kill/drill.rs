//! How fast a kill reaches each point of this replica, measured with one that hits nobody.
//!
//! A drill kills a credential that there is not. It goes the whole way of a kill and ends by itself a minute later; both
//! are on record. What it measures at the Workload API is when the state changed that every stream follows. Absent: what
//! other replicas and resource servers take, whose own polling comes on top.

use std::sync::Arc;
use std::time::{Duration, Instant};

use marque_exchange::TokenService;
use marque_intent::Reason;
use marque_intent::kill::{KillId, KillMode, KillScope, KillState};
use marque_workload::IssuerState;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{KillError, KillSwitch};
use crate::grpc::admin::NewKillOrder;

/// How long a drill's kill stands.
const STANDS: Duration = Duration::from_secs(60);
/// How long a point has to hear of it.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// What a drill measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrillReport {
    /// The drill's kill.
    pub kill: KillId,
    /// The epoch that it began.
    pub epoch: u64,
    /// Each point, in the order of its time.
    pub points: Vec<Heard>,
}

/// When a point had heard of the kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// The point.
    pub point: &'static str,
    /// After so many microseconds; nothing where it had not within five seconds.
    pub micros: Option<u64>,
}

/// When the statement and the newest list were signed.
type Published = (Option<Duration>, Option<Duration>);

impl KillSwitch {
    /// Measures how fast a kill reaches every point, without hitting anybody.
    ///
    /// # Errors
    /// As for [`Self::kill`].
    pub async fn drill(
        &self,
        actor: String,
        mut streams: watch::Receiver<Arc<IssuerState>>,
        tokens: &TokenService,
    ) -> Result<DrillReport, KillError> {
        let now = self.clock.now();
        let name = format!("drill-{}", now.as_microsecond());
        let scope = KillScope::parse("credential", Some(&name)).map_err(KillError::store)?;
        let reason = Reason::new("drill").map_err(KillError::store)?;
        let expires_at = Some(now.saturating_add(STANDS).map_err(KillError::store)?);
        let order = NewKillOrder { scope: scope.clone(), mode: KillMode::Stop, reason, expires_at };
        let is_of = |state: &KillState| state.kills.iter().any(|kill| kill.scope == scope);
        let mut decisions = super::kill_watch(&self.store);
        let target = self.state().epoch + 1;
        let begun = Instant::now();
        let decided = async {
            timeout(HEARD_WITHIN, decisions.wait_for(|state| is_of(state))).await.ok()?.ok()?;
            Some(begun.elapsed())
        };
        let streamed = async {
            let hears = streams.wait_for(|state| state.epoch >= target);
            timeout(HEARD_WITHIN, hears).await.ok()?.ok()?;
            Some(begun.elapsed())
        };
        let mut told = super::kill_watch(&self.store);
        let published = async {
            timeout(HEARD_WITHIN, told.wait_for(|state| is_of(state))).await.ok()?.ok()?;
            let statement = tokens.kill_state().is_ok().then(|| begun.elapsed());
            let list = matches!(tokens.newest_status_list().await, Ok(Some(_)));
            Some((statement, list.then(|| begun.elapsed())))
        };
        let durable = async { self.kill(order, actor).await.map(|state| (state, begun.elapsed())) };
        let (decided, streamed, published, durable) =
            tokio::join!(decided, streamed, published, durable);
        let (state, durable) = durable?;
        let (statement, list): Published = published.unwrap_or_default();
        let kill = state.kills.iter().find(|kill| kill.scope == scope).ok_or(KillError::Raced)?;
        let mut points: Vec<Heard> = [
            ("issuance, redeem and introspection", decided),
            ("workload api streams", streamed),
            ("kill state for verifiers", statement),
            ("status list", list),
            ("journal and database", Some(durable)),
        ]
        .into_iter()
        .map(|(point, after)| Heard { point, micros: after.map(micros) })
        .collect();
        points.sort_by_key(|heard| heard.micros.unwrap_or(u64::MAX));
        Ok(DrillReport { kill: kill.id(), epoch: kill.epoch, points })
    }
}

fn micros(after: Duration) -> u64 {
    u64::try_from(after.as_micros()).unwrap_or(u64::MAX)
}
