//! A door that applies the domain's rules to what it remembers.

mod authorities;
mod deliveries;
mod entries;
mod federation;
mod folder;
mod intents;
mod kills;
mod log;
mod pace;
mod pending;
mod tokens;

pub(in crate::grpc::admin) use pending::intent;

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::VerifierKey;
use marque_intent::kill::KillState;
use marque_intent::{Intent, IntentChange, IntentId};
use marque_registry::Registry;
use marque_spiffe::Clock;
use marque_testkit::MemoryLog;

use super::super::door::{AdminDoor, AdminError, DaemonStatus, Refusal, TokenStanding};
use crate::clock::SystemClock;
use crate::identities::{Denials, SharedIdentities};
use crate::telemetry::health::NotReady;

#[derive(Debug)]
pub(in crate::grpc::admin) struct FakeDoor {
    registry: Arc<Registry>,
    intents: Mutex<Vec<Intent>>,
    tokens: Mutex<Vec<TokenStanding>>,
    kills: Mutex<Arc<KillState>>,
    actors: Mutex<Vec<String>>,
    refusals: Mutex<Vec<Refusal>>,
    log: Arc<MemoryLog>,
    sharing: Arc<SharedIdentities>,
    denials: Arc<Denials>,
}

impl FakeDoor {
    pub(in crate::grpc::admin) fn new(registry: Arc<Registry>) -> Self {
        let log = Arc::new(MemoryLog::of("test.example.org"));
        let clock = Arc::new(SystemClock);
        let sharing = SharedIdentities::new(
            Arc::clone(&registry),
            Arc::clone(&log) as _,
            Arc::clone(&clock) as _,
        );
        Self {
            sharing: Arc::new(sharing),
            denials: Arc::new(Denials::new(Arc::clone(&registry), clock)),
            registry,
            intents: Mutex::default(),
            tokens: Mutex::default(),
            kills: Mutex::default(),
            actors: Mutex::default(),
            refusals: Mutex::default(),
            log,
        }
    }

    pub(super) fn keep(&self, intent: Intent) {
        self.intents.lock().unwrap().push(intent);
    }

    pub(super) fn keep_token(&self, token: TokenStanding) {
        self.tokens.lock().unwrap().push(token);
    }

    pub(super) fn stored(&self, id: &IntentId) -> Intent {
        self.intents.lock().unwrap().iter().find(|intent| intent.id() == id).unwrap().clone()
    }

    pub(super) fn actors(&self) -> Vec<String> {
        self.actors.lock().unwrap().clone()
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap().clone()
    }

    pub(super) fn memory_log(&self) -> Arc<MemoryLog> {
        Arc::clone(&self.log)
    }

    pub(super) fn key(&self) -> VerifierKey {
        VerifierKey::new("test.example.org", [7; 32]).unwrap()
    }

    fn change(&self, id: &IntentId, change: &IntentChange) -> Result<Intent, AdminError> {
        let mut intents = self.intents.lock().unwrap();
        let found = intents.iter_mut().find(|intent| intent.id() == id);
        let intent =
            found.ok_or_else(|| AdminError::NotFound { what: "intent", id: id.to_string() })?;
        let (next, _events) =
            intent.apply(change, SystemClock.now()).map_err(AdminError::Refused)?;
        *intent = next;
        Ok(intent.clone())
    }
}

impl AdminDoor for FakeDoor {
    fn status(&self) -> DaemonStatus {
        DaemonStatus { started_at: SystemClock.now(), bundle_sequence: 7, unreadable_rows: 0 }
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<NotReady>> {
        Box::pin(async { vec![NotReady::LogUnsigned] })
    }

    fn measure(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn record_refusal(&self, refusal: Refusal) -> BoxFuture<'_, Result<(), AdminError>> {
        self.refusals.lock().unwrap().push(refusal);
        Box::pin(std::future::ready(Ok(())))
    }
}
