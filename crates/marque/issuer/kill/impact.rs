//! Whom a kill would hit, without throwing the switch.

use std::time::Duration;

use jiff::Timestamp;
use marque_exchange::{
    STATUS_LIST_PLACES, SuspectQuery, TokenLifeStore as _, is_live, is_not_stopped,
};
use marque_intent::kill::{KillMode, KillScope, KillState, NewKill};
use marque_intent::{IntentFilter, IntentStore as _, MAX_LISTED, Reason, State, StopPoint};
use marque_registry::Entry;
use marque_workload::Workload;
use serde::Serialize;

use super::{KillError, KillSwitch};
use crate::irrevocable::Outliving;

/// How many tokens are read at a time.
const READ_AT_ONCE: usize = 256;
/// How many of a kind are named; all are counted.
const MAX_NAMED: usize = 1000;

/// Whom a kill would hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impact {
    /// What was asked about.
    #[serde(flatten)]
    pub scope: KillScope,
    /// How far it would go.
    pub mode: KillMode,
    /// Registered agents that would be given no SVID and no token.
    pub agents: Named,
    /// Intents that wait for somebody or give tokens, and would be stopped.
    pub grants: Named,
    /// Access tokens that are live and would read as inactive.
    pub tokens: Named,
    /// Which of those tokens stay good until they expire, where nobody hears of their end.
    pub irrevocable: Outliving,
    /// By when every SVID has ended that the agents have: whoever verifies one asks nobody. Absent where no agent is hit.
    pub svids_until: Option<Timestamp>,
    /// Open streams of the Workload API that would end or lose an identity.
    pub streams: usize,
    /// Whether there were more intents than are looked through.
    pub truncated: bool,
}

/// How many there are, and the first of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    /// How many.
    pub count: usize,
    /// At most a thousand of them.
    pub names: Vec<String>,
}

impl Named {
    fn add(&mut self, name: &impl ToString) {
        self.count += 1;
        if self.names.len() < MAX_NAMED {
            self.names.push(name.to_string());
        }
    }
}

impl KillSwitch {
    /// Whom a kill of this scope in this mode would hit that no kill hits now. It changes nothing and is not on record.
    ///
    /// # Errors
    /// The mode stops nothing of the scope, or the store cannot be read.
    pub async fn impact(
        &self,
        scope: KillScope,
        mode: KillMode,
        workload: Option<&Workload>,
    ) -> Result<Impact, KillError> {
        super::has_effect(&scope, mode)?;
        let (now, before) = (self.clock.now(), self.state());
        let after = hypothetical(&before, &scope, mode, now);
        let mut impact = Impact {
            scope,
            mode,
            agents: Named::default(),
            grants: Named::default(),
            tokens: Named::default(),
            irrevocable: Outliving::default(),
            svids_until: None,
            streams: 0,
            truncated: false,
        };
        let newly = |stops: &dyn Fn(&KillState) -> bool| !stops(&before) && stops(&after);
        let registry = self.registry.snapshot();
        for entry in registry.entries() {
            let id = entry.spiffe_id();
            if newly(&|kills| kills.stops_agent(id, StopPoint::Issue).is_some()) {
                impact.agents.add(id);
                let ends = now.checked_add(self.longest_svid(entry)).ok();
                impact.svids_until = impact.svids_until.max(ends);
            }
        }
        for state in [State::Pending, State::Approved, State::Active] {
            let filter = IntentFilter { state: Some(state), ..IntentFilter::default() };
            let intents = self.store.list(filter).await.map_err(KillError::store)?;
            impact.truncated |= intents.len() >= MAX_LISTED;
            let point = match state {
                State::Pending => StopPoint::Ask,
                _ => StopPoint::Issue,
            };
            for intent in intents {
                if newly(&|kills| kills.stops_grant(intent.grant(), point).is_some()) {
                    impact.grants.add(intent.id());
                }
            }
        }
        self.tokens(&mut impact, &before, &after, now).await?;
        if let Some(workload) = workload {
            impact.streams = workload
                .would_lose(|id| newly(&|kills| kills.stops_agent(id, StopPoint::Issue).is_some()));
        }
        Ok(impact)
    }

    /// How long an SVID of this entry lasts at most.
    fn longest_svid(&self, entry: &Entry) -> Duration {
        let document = self.registry.document();
        let x509 = entry.x509_lifetime().unwrap_or_else(|| document.x509_svid_lifetime());
        let jwt = entry.jwt_lifetime().unwrap_or_else(|| document.jwt_svid_lifetime());
        x509.max(jwt).max(document.wit_svid_lifetime())
    }

    async fn tokens(
        &self,
        impact: &mut Impact,
        before: &KillState,
        after: &KillState,
        now: Timestamp,
    ) -> Result<(), KillError> {
        let places = self.store.places().await.map_err(KillError::store)?;
        // Places are given out in an order of their own, list by list.
        let whole = |place: u64| place / STATUS_LIST_PLACES * STATUS_LIST_PLACES;
        let places = whole(places.start)..whole(places.end).saturating_add(STATUS_LIST_PLACES);
        let query = SuspectQuery { places, now, decided_before: i64::MAX.unsigned_abs() };
        let all = self.store.suspects(query).await.map_err(KillError::store)?;
        let ids: Vec<_> = all.tokens.into_iter().map(|(_, id)| id).collect();
        for some in ids.chunks(READ_AT_ONCE) {
            let found = self.store.tokens(some.to_vec()).await.map_err(KillError::store)?;
            for (record, intent) in found {
                let live = is_live(&record, &intent, before, now).is_ok();
                if live && is_not_stopped(&record, &intent, after, StopPoint::Use).is_err() {
                    impact.tokens.add(&record.id.as_str());
                    impact.irrevocable.add(&record, &self.registry.document());
                }
            }
        }
        Ok(())
    }
}

/// What would be in force.
fn hypothetical(state: &KillState, scope: &KillScope, mode: KillMode, now: Timestamp) -> KillState {
    let Ok(reason) = Reason::new("dry run") else { return state.clone() };
    let (scope, actor) = (scope.clone(), String::new());
    state.after(
        NewKill {
            scope,
            mode,
            reason,
            actor,
            expires_at: None,
            origin: None,
            hits: Default::default(),
        },
        now,
    )
}
