//! A door that applies the domain's rules to what it remembers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{LogStore, VerifierKey};
use marque_authority::{AuthorityView, CertificateRequest};
use marque_exchange::{TokenId, TokenRecord};
use marque_intent::kill::{KillMode, KillScope, KillState, NewKill};
use marque_intent::pace::{Family, Standing};
use marque_intent::{
    Appeal, Approval, ApprovalRule, DecisionRecord, Delivery, DenialCode, DenialFilter, DenialId,
    DenialRecord, Digest, EndReason, Grant, GrantTerms, Holding, Intent, IntentChange,
    IntentFilter, IntentId, Justification, OpenBy, OpenCount, PinnedPlaybook, PlaybookSet,
    PostureSignal, PostureState, Reason, Rosters, Ruling,
};
use marque_registry::{
    Entry, EntryId, EntryRole, EntrySource, NewEntry, Registry, Snapshot, TrustDomainDocument,
};
use marque_spiffe::{Clock, Environment, SelectorSet, SpiffeId};
use marque_testkit::{MemoryLog, SeededRandom};

use super::super::door::{
    AdminDoor, AdminError, DaemonStatus, NewKillOrder, NewPosture, Operator, Refusal, TokenStanding,
};
use super::super::{AuthorityChange, UpstreamStanding};
use crate::approvers::{Told, Word};
use crate::clock::SystemClock;
use crate::federation::Federations;
use crate::identities::{Denials, SharedIdentities};
use crate::issuer::folder::FolderFiles;
use crate::issuer::kill::{DrillReport, Impact, KillError, LiftAsk};
use crate::issuer::reload::{FolderStanding, ReloadReport};
use crate::sinks::SinkView;
use crate::ssf::SignalView;
use crate::telemetry::health::NotReady;
use crate::webhooks::WebhookView;

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

fn told(intent: Intent) -> Told {
    Told { intent, owner: None, you: None, held: None, irrevocable: None }
}

impl AdminDoor for FakeDoor {
    fn document(&self) -> Arc<TrustDomainDocument> {
        self.registry.document()
    }

    fn registry(&self) -> Arc<Snapshot> {
        self.registry.snapshot()
    }

    fn agents_for(&self, selectors: &SelectorSet) -> Vec<SpiffeId> {
        let entries = self.registry.snapshot().entries_for(selectors);
        let agents = entries.iter().filter(|entry| entry.role() == EntryRole::Agent);
        agents.map(|entry| entry.spiffe_id().clone()).collect()
    }

    fn playbooks(&self) -> Arc<PlaybookSet> {
        Arc::new(PlaybookSet::empty(
            "test.example.org".parse().unwrap(),
            Environment::NonProduction,
        ))
    }

    fn authorities(&self) -> Vec<AuthorityView> {
        Vec::new()
    }

    fn upstream(&self) -> Option<UpstreamStanding> {
        None
    }

    fn change_authority(
        &self,
        _change: AuthorityChange,
        _operator: Operator,
    ) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "key", id: String::new() }) })
    }

    fn request_certificate(&self) -> BoxFuture<'_, Result<CertificateRequest, AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "key", id: String::new() }) })
    }

    fn status(&self) -> DaemonStatus {
        DaemonStatus { started_at: SystemClock.now(), bundle_sequence: 7, unreadable_rows: 0 }
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<NotReady>> {
        Box::pin(async { vec![NotReady::LogUnsigned] })
    }

    fn measure(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn create_entry(
        &self,
        entry: NewEntry,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<Entry>, AdminError>> {
        Box::pin(async move {
            self.actors.lock().unwrap().push(operator.to_string());
            let id: EntryId = format!("e{}", self.actors.lock().unwrap().len()).parse().unwrap();
            let entry = entry.into_entry(id, EntrySource::Admin)?;
            self.registry.add(entry.clone())?;
            Ok(Arc::new(entry))
        })
    }

    fn delete_entry(
        &self,
        id: EntryId,
        operator: Operator,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            self.actors.lock().unwrap().push(operator.to_string());
            let removed = self.registry.remove(&id)?;
            removed
                .map(|_| ())
                .ok_or_else(|| AdminError::NotFound { what: "entry", id: id.to_string() })
        })
    }

    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, AdminError>> {
        Box::pin(async move {
            let intents = self.intents.lock().unwrap();
            let fits = |intent: &&Intent| filter.state.is_none_or(|state| state == intent.state());
            Ok(intents.iter().filter(fits).take(filter.effective_limit()).cloned().collect())
        })
    }

    fn intent(&self, id: IntentId) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(async move { self.change(&id, &IntentChange::Expire) })
    }

    fn look_at(
        &self,
        _operator: Operator,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Told, AdminError>> {
        Box::pin(async move { self.change(&id, &IntentChange::Expire).map(told) })
    }

    fn decide(
        &self,
        operator: Operator,
        id: IntentId,
        word: Word,
        _key: Option<String>,
    ) -> BoxFuture<'_, Result<Told, AdminError>> {
        let change = match word {
            Word::Approve { digest, less } => {
                let approval = Approval::new(operator.approver(), digest, SystemClock.now());
                match less {
                    Some(less) => IntentChange::ApproveLess { approval, less },
                    None => IntentChange::Approve { approval },
                }
            }
            Word::Deny { digest: _, reason } => {
                IntentChange::Deny { decider: operator.approver().into(), reason }
            }
            Word::Revoke { reason } => IntentChange::Revoke { actor: operator.to_string(), reason },
        };
        Box::pin(async move { self.change(&id, &change).map(told) })
    }

    fn sources(&self) -> FolderFiles {
        FolderFiles::default()
    }

    fn rosters(&self) -> Arc<Rosters> {
        Arc::default()
    }

    fn decisions(&self) -> BoxFuture<'_, Result<Vec<(String, DecisionRecord)>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn open_counts(&self, by: OpenBy) -> BoxFuture<'_, Result<Vec<OpenCount>, AdminError>> {
        let intents = self.intents.lock().unwrap();
        let held = |intent: &Intent| intent.holdings().into_iter().find(|one| one.by == by);
        let counts = intents
            .iter()
            .filter_map(held)
            .map(|holding| OpenCount { name: holding.name, grants: 1 })
            .collect();
        Box::pin(async move { Ok(counts) })
    }

    fn revoke_held(
        &self,
        operator: Operator,
        holding: Holding,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, AdminError>> {
        let intents = self.intents.lock().unwrap().clone();
        let held = intents.iter().filter(|intent| intent.holdings().contains(&holding));
        let ids: Vec<IntentId> = held.map(|intent| intent.id().clone()).collect();
        Box::pin(async move {
            for id in &ids {
                let change = IntentChange::End {
                    why: EndReason::Operator,
                    code: DenialCode::ApprovalDenied,
                    by: operator.to_string(),
                    reason: Some(reason.clone()),
                };
                self.change(id, &change)?;
            }
            Ok(ids)
        })
    }

    fn review(
        &self,
        operator: Operator,
        id: IntentId,
        finding: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        let change = IntentChange::Review { by: operator.approver().into(), finding };
        Box::pin(std::future::ready(self.change(&id, &change)))
    }

    fn erase(
        &self,
        operator: Operator,
        id: IntentId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        let change = IntentChange::Erase { actor: operator.to_string(), reason };
        Box::pin(std::future::ready(self.change(&id, &change)))
    }

    fn payloads(
        &self,
        _operator: Operator,
        _id: IntentId,
    ) -> BoxFuture<'_, Result<Vec<(&'static str, String)>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn tokens_of(&self, intent: IntentId) -> BoxFuture<'_, Result<Vec<TokenStanding>, AdminError>> {
        let tokens = self.tokens.lock().unwrap().clone();
        let of = tokens.into_iter().filter(move |token| token.record.intent == intent);
        Box::pin(async move { Ok(of.collect()) })
    }

    fn tokens_after(
        &self,
        after: Option<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, AdminError>> {
        let tokens = self.tokens.lock().unwrap().clone().into_iter().map(|token| token.record);
        let behind = move |token: &TokenRecord| after.as_ref().is_none_or(|id| token.id > *id);
        Box::pin(async move { Ok(tokens.filter(behind).collect()) })
    }

    fn token(&self, id: TokenId) -> BoxFuture<'_, Result<TokenStanding, AdminError>> {
        let tokens = self.tokens.lock().unwrap();
        let found = tokens.iter().find(|token| token.record.id == id).cloned();
        let none = || AdminError::NotFound { what: "token", id: id.to_string() };
        let found = found.ok_or_else(none);
        Box::pin(async move { found })
    }

    fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<TokenId>, AdminError>> {
        self.actors.lock().unwrap().push(format!("{operator} revokes {id}: {reason}"));
        Box::pin(async move { Ok(vec![id]) })
    }

    fn kill(
        &self,
        order: NewKillOrder,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async move {
            let mut kills = self.kills.lock().unwrap();
            let NewKillOrder { scope, mode, reason, expires_at } = order;
            let order = NewKill {
                scope,
                mode,
                reason,
                actor: operator.to_string(),
                expires_at,
                hits: Default::default(),
            };
            *kills = Arc::new(kills.after(order, SystemClock.now()));
            Ok(Arc::clone(&kills))
        })
    }

    fn kill_state(&self) -> Arc<KillState> {
        Arc::clone(&self.kills.lock().unwrap())
    }

    fn kills_kept_here_only(&self) -> bool {
        false
    }

    fn kill_impact(
        &self,
        _scope: KillScope,
        _mode: KillMode,
    ) -> BoxFuture<'_, Result<Impact, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn kill_drill(&self, _operator: Operator) -> BoxFuture<'_, Result<DrillReport, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn ask_lift(
        &self,
        _kill: String,
        _to: Option<KillMode>,
        _reason: Reason,
        _operator: Operator,
    ) -> BoxFuture<'_, Result<LiftAsk, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn lift_asks(&self) -> BoxFuture<'_, Result<Vec<LiftAsk>, AdminError>> {
        Box::pin(async { Err(AdminError::Unavailable("no store".into())) })
    }

    fn confirm_lift(
        &self,
        ask: String,
        _operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async { Err(KillError::NotAsked(ask).into()) })
    }

    fn set_posture(
        &self,
        order: NewPosture,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        let NewPosture { scope, posture, reason, expires_at } = order;
        let (actor, at) = (operator.to_string(), SystemClock.now());
        let signal = PostureSignal { scope, posture, reason, actor, at, expires_at };
        let state = PostureState::default().after(signal);
        Box::pin(std::future::ready(Ok(Arc::new(state))))
    }

    fn postures(&self) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        Box::pin(std::future::ready(Ok(Arc::default())))
    }

    fn log(&self) -> Arc<dyn LogStore> {
        self.memory_log()
    }

    fn log_key(&self) -> VerifierKey {
        self.key()
    }

    fn cosigned_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async { Ok(None) })
    }

    fn webhooks(&self) -> BoxFuture<'_, Result<Vec<WebhookView>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn audit_sinks(&self) -> BoxFuture<'_, Result<Vec<SinkView>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn reload(
        &self,
        operator: Operator,
        _dry_run: bool,
    ) -> BoxFuture<'_, Result<ReloadReport, AdminError>> {
        self.actors.lock().unwrap().push(operator.to_string());
        let refused = "there is no folder".to_owned();
        Box::pin(async { Err(AdminError::Unavailable(refused.into())) })
    }

    fn folder(&self) -> BoxFuture<'_, FolderStanding> {
        Box::pin(async {
            FolderStanding {
                digest: "sha256:00".to_owned(),
                loaded_at: Timestamp::UNIX_EPOCH,
                differs: false,
                refused: None,
            }
        })
    }

    fn signals(&self) -> BoxFuture<'_, Result<Vec<SignalView>, AdminError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn verify_signals(
        &self,
        stream: String,
        _state: Option<String>,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "stream", id: stream }) })
    }

    fn test_webhook(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "webhook", id: name }) })
    }

    fn redeliver(
        &self,
        name: String,
        _leaf: Option<u64>,
    ) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async { Err(AdminError::NotFound { what: "webhook", id: name }) })
    }

    fn published(&self) -> Vec<crate::discovery::Published> {
        Vec::new()
    }

    fn federations(&self) -> Arc<Federations> {
        unreachable!("nobody here asks about federation")
    }

    fn sharing(&self) -> Arc<SharedIdentities> {
        Arc::clone(&self.sharing)
    }

    fn denials(&self) -> Arc<Denials> {
        Arc::clone(&self.denials)
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn refusals(&self, _: DenialFilter) -> BoxFuture<'_, Result<Vec<DenialRecord>, AdminError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn refusal(&self, id: DenialId) -> BoxFuture<'_, Result<DenialRecord, AdminError>> {
        let error = AdminError::NotFound { what: "refusal", id: id.to_string() };
        Box::pin(std::future::ready(Err(error)))
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, AdminError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn release(
        &self,
        _: Family,
        _: Reason,
        _: Operator,
    ) -> BoxFuture<'_, Result<bool, AdminError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn record_refusal(&self, refusal: Refusal) -> BoxFuture<'_, Result<(), AdminError>> {
        self.refusals.lock().unwrap().push(refusal);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A pending intent of `agent`.
pub(in crate::grpc::admin) fn intent(agent: &str, now: Timestamp) -> Intent {
    let agent: SpiffeId = agent.parse().unwrap();
    let seed = agent.as_str().bytes().map(u64::from).sum();
    let id = IntentId::generate(&SeededRandom::new(seed), now).unwrap();
    let terms = GrantTerms {
        intent_id: id,
        trust_domain: "test.example.org".parse().unwrap(),
        tenant: "example".to_owned(),
        agent,
        attestation: None,
        playbook: PinnedPlaybook {
            id: "rotate".parse().unwrap(),
            version: 1,
            digest: Digest::of(b"playbook"),
            title: "Rotate".to_owned(),
            owner: "group:platform-sre".to_owned(),
            data_classes: vec!["tls_material".to_owned()],
            purpose: None,
        },
        parameters: [("service".to_owned(), "shop".into())].into_iter().collect(),
        audiences: vec!["https://api.example.org".to_owned()],
        scopes: Vec::new(),
        authorization_details: Vec::new(),
        resources: Vec::new(),
        tools: std::collections::BTreeMap::new(),
        constraints: marque_intent::Constraints::default(),
        limits: marque_intent::Limits::default(),
        on_behalf: None,
        delegators: None,
        parent: None,
        emergency: None,
        session: None,
        task: None,
        delivery: Delivery::Token,
        uses: 1,
        single_use_tokens: false,
        token_lifetime: Duration::from_secs(300),
        request_ttl: Duration::from_secs(1800),
        start_within: Duration::from_secs(900),
        max_duration: Duration::from_secs(600),
        not_before: now,
        not_after: now + Duration::from_secs(3600),
        ticket: None,
        approval: Some(ApprovalRule::of(std::num::NonZeroU32::MIN, Default::default()).into()),
        policy_set_digest: Digest::of(b"policy"),
        risk: 0,
        evidence: Default::default(),
        conditions: Default::default(),
    };
    let justification = Justification::new("please").unwrap();
    let ruling = Ruling::AskApproval { rules: Vec::new() };
    let appeal =
        Appeal { asked: "platform-sre".parse().unwrap(), message: Some("W4SCT".parse().unwrap()) };
    Intent::open(Grant::seal(terms).unwrap(), Some(justification), ruling, now)
        .0
        .with_appeal(Some(appeal))
}
