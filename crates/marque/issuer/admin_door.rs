//! The issuer as its operators reach it: the admin socket's door onto this trust domain.

mod refused;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use jiff::Timestamp;
use marque_audit::{Event, EventKind, LogStore, VerifierKey};
use marque_authority::{AuthorityView, CertificateRequest};
use marque_exchange::{
    Endpoint, RevocationOutcome, Revoker, TokenId, TokenLifeStore as _, TokenRecord,
    TokenRevocation, TokenStore, is_live,
};
use marque_intent::IntentStore;
use marque_intent::kill::{KillMode, KillScope, KillState};
use marque_intent::pace::{Family, Standing};
use marque_intent::{
    DecisionRecord, Denial, DenialCode, DenialFilter, DenialId, DenialRecord, EndReason, Holding,
    Intent, IntentChange, IntentFilter, IntentId, OpenBy, OpenCount, OpenIntents as _, PlaybookSet,
    PostureSignal, PostureState, Reason, Release, Rosters,
};
use marque_registry::{Entry, EntryId, EntryRole, NewEntry, Snapshot, TrustDomainDocument};
use marque_spiffe::{SelectorSet, SpiffeId};

use self::refused::{no_token, of_registrar, of_signal, of_webhook, unavailable};
use super::folder::FolderFiles;
use super::kill::{DrillReport, Impact, LiftAsk};
use super::reload::{FolderStanding, ReloadReport};
use super::{Issuer, Lasting};
use crate::approvers::{Told, Word};
use crate::discovery::{self, Published};
use crate::federation::Federations;
use crate::grpc::admin::{
    AdminDoor, AdminError, AuthorityChange, DaemonStatus, NewKillOrder, NewPosture, Operator,
    Refusal, TokenStanding, UpstreamStanding,
};
use crate::identities::{Denials, SharedIdentities};
use crate::sinks::SinkView;
use crate::ssf::SignalView;
use crate::telemetry::health::NotReady;
use crate::webhooks::WebhookView;

/// How many tokens a page has.
const TOKENS_AT_ONCE: usize = 1_000;

impl Issuer {
    async fn change(&self, id: IntentId, change: IntentChange) -> Result<Intent, AdminError> {
        let changed = self.store.change(id.clone(), change, self.clock.now()).await;
        changed.map_err(|error| AdminError::of_change(&id, error))
    }

    async fn token_with_intent(&self, id: &TokenId) -> Result<(TokenRecord, Intent), AdminError> {
        let found = TokenStore::token(&*self.store, id).await.map_err(unavailable)?;
        found.ok_or_else(|| no_token(id))
    }

    fn standing(&self, record: TokenRecord, intent: &Intent) -> TokenStanding {
        let kills = self.kill_switch.state();
        let ended = is_live(&record, intent, &kills, self.clock.now()).err();
        TokenStanding { record, ended }
    }
}

impl AdminDoor for Issuer {
    fn document(&self) -> Arc<TrustDomainDocument> {
        Arc::clone(&self.document)
    }

    fn registry(&self) -> Arc<Snapshot> {
        self.registrar.entries()
    }

    fn agents_for(&self, selectors: &SelectorSet) -> Vec<SpiffeId> {
        let own = std::slice::from_ref(self.registrar.registry());
        let registries = self.neighbours.get().map_or(own, |all| all.as_slice());
        registries.iter().flat_map(|registry| agents(&registry.snapshot(), selectors)).collect()
    }

    fn playbooks(&self) -> Arc<PlaybookSet> {
        Arc::clone(&self.intents.playbooks)
    }

    fn sources(&self) -> FolderFiles {
        self.files.clone()
    }

    fn rosters(&self) -> Arc<Rosters> {
        Arc::clone(&self.intents.rosters)
    }

    fn decisions(&self) -> BoxFuture<'_, Result<Vec<(String, DecisionRecord)>, AdminError>> {
        Box::pin(async move {
            let decisions = self.store.approver_decisions(self.clock.now()).await;
            decisions.map_err(|error| AdminError::Unavailable(Box::new(error)))
        })
    }

    fn status(&self) -> DaemonStatus {
        DaemonStatus {
            started_at: self.started_at,
            bundle_sequence: self.authority.bundle().sequence(),
            unreadable_rows: self.store.unreadable_rows(),
        }
    }

    fn authorities(&self) -> Vec<AuthorityView> {
        self.authority_list()
    }

    fn upstream(&self) -> Option<UpstreamStanding> {
        self.upstream_standing()
    }

    fn request_certificate(&self) -> BoxFuture<'_, Result<CertificateRequest, AdminError>> {
        Box::pin(Lasting::request_certificate(self))
    }

    fn change_authority(
        &self,
        change: AuthorityChange,
        operator: Operator,
    ) -> BoxFuture<'_, Result<String, AdminError>> {
        Box::pin(async move { Lasting::change_authority(self, change, &operator).await })
    }

    fn readiness(&self) -> BoxFuture<'_, Vec<NotReady>> {
        Box::pin(Lasting::readiness(self))
    }

    fn measure(&self) -> BoxFuture<'_, ()> {
        Box::pin(Lasting::measure(self))
    }

    fn create_entry(
        &self,
        entry: NewEntry,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<Entry>, AdminError>> {
        Box::pin(async move {
            let created = self.registrar.create(entry, &operator.to_string()).await;
            created.map(Arc::new).map_err(|error| of_registrar(error, ""))
        })
    }

    fn delete_entry(
        &self,
        id: EntryId,
        operator: Operator,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let deleted = self.registrar.delete(&id, &operator.to_string()).await;
            deleted.map_err(|error| of_registrar(error, id.as_str()))
        })
    }

    fn intents(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, AdminError>> {
        Box::pin(async move { Ok(self.store.list(filter).await?) })
    }

    fn intent(&self, id: IntentId) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(async move {
            let found = self.store.find(&id).await?;
            let intent =
                found.ok_or_else(|| AdminError::NotFound { what: "intent", id: id.to_string() })?;
            match intent.expire_if_due(self.clock.now()) {
                Some(_) => self.change(id, IntentChange::Expire).await,
                None => Ok(intent),
            }
        })
    }

    fn look_at(&self, operator: Operator, id: IntentId) -> BoxFuture<'_, Result<Told, AdminError>> {
        let decider = operator.decider(self.clock.now());
        Box::pin(async move {
            let told = self.approval_desk.looked_at(&decider, &id).await;
            told.map_err(|error| AdminError::of_decision(&id, error))
        })
    }

    fn decide(
        &self,
        operator: Operator,
        id: IntentId,
        word: Word,
        key: Option<String>,
    ) -> BoxFuture<'_, Result<Told, AdminError>> {
        let decider = operator.decider(self.clock.now());
        Box::pin(async move {
            let told = self.approval_desk.decide(&decider, &id, word, key.as_deref()).await;
            told.map_err(|error| AdminError::of_decision(&id, error))
        })
    }

    fn open_counts(&self, by: OpenBy) -> BoxFuture<'_, Result<Vec<OpenCount>, AdminError>> {
        Box::pin(async move { Ok(self.store.open_counts(by, self.clock.now()).await?) })
    }

    fn revoke_held(
        &self,
        operator: Operator,
        holding: Holding,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<IntentId>, AdminError>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            loop {
                let before = ended.len();
                for intent in self.store.held(holding.clone()).await? {
                    let change = IntentChange::End {
                        why: EndReason::Operator,
                        code: DenialCode::ApprovalDenied,
                        by: operator.to_string(),
                        reason: Some(reason.clone()),
                    };
                    match self.change(intent.id().clone(), change).await {
                        Ok(_) => ended.push(intent.id().clone()),
                        // It ended meanwhile, by itself or by somebody else.
                        Err(AdminError::Refused(_) | AdminError::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                // What was asked for meanwhile is found by another look.
                if ended.len() == before {
                    return Ok(ended);
                }
            }
        })
    }

    fn refusals(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, AdminError>> {
        Box::pin(async move { Ok(IntentStore::denials(&*self.store, filter).await?) })
    }

    fn refusal(&self, id: DenialId) -> BoxFuture<'_, Result<DenialRecord, AdminError>> {
        Box::pin(async move {
            let found = self.store.denial(id.clone()).await?;
            found.ok_or_else(|| AdminError::NotFound { what: "refusal", id: id.to_string() })
        })
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, AdminError>> {
        Box::pin(async move { Ok(IntentStore::standings(&*self.store).await?) })
    }

    fn release(
        &self,
        family: Family,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<bool, AdminError>> {
        let (actor, now) = (operator.to_string(), self.clock.now());
        let order = Release { family, actor, reason, now };
        Box::pin(async move { Ok(IntentStore::release(&*self.store, order).await?) })
    }

    fn review(
        &self,
        operator: Operator,
        id: IntentId,
        finding: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(
            self.change(
                id,
                IntentChange::Review { by: operator.decider(self.clock.now()), finding },
            ),
        )
    }

    fn erase(
        &self,
        operator: Operator,
        id: IntentId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Intent, AdminError>> {
        Box::pin(async move {
            let actor = operator.to_string();
            let change = IntentChange::Erase { actor: actor.clone(), reason: reason.clone() };
            let intent = self.change(id, change).await?;
            let erased = self.intents.payloads.erase(intent.id(), &actor, reason.as_str()).await;
            erased.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            Ok(intent)
        })
    }

    fn payloads(
        &self,
        operator: Operator,
        id: IntentId,
    ) -> BoxFuture<'_, Result<Vec<(&'static str, String)>, AdminError>> {
        Box::pin(async move {
            let read = self.intents.payloads.read(&id, &operator.to_string()).await;
            read.map_err(|error| AdminError::Unavailable(Box::new(error)))
        })
    }

    fn tokens_of(&self, intent: IntentId) -> BoxFuture<'_, Result<Vec<TokenStanding>, AdminError>> {
        Box::pin(async move {
            let found = self.store.find(&intent).await?;
            let intent = found
                .ok_or_else(|| AdminError::NotFound { what: "intent", id: intent.to_string() })?;
            let records = self.store.tokens_of(intent.id()).await.map_err(unavailable)?;
            Ok(records.into_iter().map(|record| self.standing(record, &intent)).collect())
        })
    }

    fn tokens_after(
        &self,
        after: Option<TokenId>,
    ) -> BoxFuture<'_, Result<Vec<TokenRecord>, AdminError>> {
        Box::pin(async move {
            let page = self.store.tokens_after(after, TOKENS_AT_ONCE).await;
            page.map_err(|failure| AdminError::Unavailable(Box::new(failure)))
        })
    }

    fn token(&self, id: TokenId) -> BoxFuture<'_, Result<TokenStanding, AdminError>> {
        Box::pin(async move {
            let (record, intent) = self.token_with_intent(&id).await?;
            Ok(self.standing(record, &intent))
        })
    }

    fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        reason: Reason,
    ) -> BoxFuture<'_, Result<Vec<TokenId>, AdminError>> {
        Box::pin(async move {
            let (record, _) = self.token_with_intent(&id).await?;
            let order = TokenRevocation {
                token: id.clone(),
                intent: record.intent,
                by: Revoker::Operator { actor: operator.to_string(), reason },
                now: self.clock.now(),
            };
            match self.store.revoke_token(order).await.map_err(unavailable)? {
                RevocationOutcome::Revoked(tokens) => Ok(tokens),
                RevocationOutcome::NotOwner | RevocationOutcome::Unknown => Err(no_token(&id)),
            }
        })
    }

    fn kill(
        &self,
        order: NewKillOrder,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async move { Ok(self.kill_switch.kill(order, operator.to_string()).await?) })
    }

    fn kill_state(&self) -> Arc<KillState> {
        self.kill_switch.state()
    }

    fn kills_kept_here_only(&self) -> bool {
        self.kill_switch.kept_here_only()
    }

    fn kill_impact(
        &self,
        scope: KillScope,
        mode: KillMode,
    ) -> BoxFuture<'_, Result<Impact, AdminError>> {
        Box::pin(
            async move { Ok(self.kill_switch.impact(scope, mode, self.workload.get()).await?) },
        )
    }

    fn kill_drill(&self, operator: Operator) -> BoxFuture<'_, Result<DrillReport, AdminError>> {
        Box::pin(async move {
            let streams = self.minting.follow_state();
            Ok(self.kill_switch.drill(operator.to_string(), streams, &self.tokens).await?)
        })
    }

    fn ask_lift(
        &self,
        kill: String,
        to: Option<KillMode>,
        reason: Reason,
        operator: Operator,
    ) -> BoxFuture<'_, Result<LiftAsk, AdminError>> {
        Box::pin(async move {
            let who = operator.decider(self.clock.now());
            Ok(self.kill_switch.ask_lift(&kill, to, reason, &who).await?)
        })
    }

    fn lift_asks(&self) -> BoxFuture<'_, Result<Vec<LiftAsk>, AdminError>> {
        Box::pin(async move { Ok(self.kill_switch.lift_asks().await?) })
    }

    fn confirm_lift(
        &self,
        ask: String,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<KillState>, AdminError>> {
        Box::pin(async move {
            let who = operator.decider(self.clock.now());
            Ok(self.kill_switch.confirm_lift(&ask, &who).await?)
        })
    }

    fn set_posture(
        &self,
        order: NewPosture,
        operator: Operator,
    ) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        Box::pin(async move {
            let NewPosture { scope, posture, reason, expires_at } = order;
            let (actor, at) = (operator.to_string(), self.clock.now());
            if expires_at.is_some_and(|end| end <= at) {
                let denial =
                    Denial::new(DenialCode::InvalidRequest, "the signal has ended already");
                return Err(AdminError::Refused(denial));
            }
            let signal = PostureSignal { scope, posture, reason, actor, at, expires_at };
            let set = self.intents.postures.set(signal).await;
            set.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            self.postures().await
        })
    }

    fn postures(&self) -> BoxFuture<'_, Result<Arc<PostureState>, AdminError>> {
        Box::pin(async move {
            let state = self.intents.postures.now(self.clock.now()).await;
            state.map_err(|error| AdminError::Unavailable(Box::new(error)))
        })
    }

    fn log(&self) -> Arc<dyn LogStore> {
        let log: Arc<dyn LogStore> = Arc::clone(&self.store) as _;
        log
    }

    fn log_key(&self) -> VerifierKey {
        self.log_key.clone()
    }

    fn cosigned_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, AdminError>> {
        Box::pin(async move {
            let found = self.witnesses.checkpoint().await;
            let found = found.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            Ok(found.map(|signed| signed.text().to_owned()))
        })
    }

    fn webhooks(&self) -> BoxFuture<'_, Result<Vec<WebhookView>, AdminError>> {
        Box::pin(async move { self.webhooks.views().await.map_err(|error| of_webhook(error, "")) })
    }

    fn published(&self) -> Vec<Published> {
        let bundle = self.authority.bundle();
        let tokens = Published {
            of: "tokens".to_owned(),
            issuer: self.issuer_url.to_string(),
            sequence: bundle.sequence(),
            configuration: self.tokens.openid_configuration(),
            keys_path: Endpoint::Jwks.path().to_owned(),
            keys: self.tokens.jwks(),
        };
        let svids = self.svid_issuer.as_ref().map(|issuer| Published {
            of: "svids".to_owned(),
            issuer: issuer.to_string(),
            sequence: bundle.sequence(),
            configuration: discovery::configuration(issuer, &bundle),
            keys_path: discovery::KEYS_PATH.to_owned(),
            keys: discovery::keys(&bundle),
        });
        svids.into_iter().chain([tokens]).collect()
    }

    fn federations(&self) -> Arc<Federations> {
        Arc::clone(&self.federations)
    }

    fn audit_sinks(&self) -> BoxFuture<'_, Result<Vec<SinkView>, AdminError>> {
        Box::pin(async move {
            let sinks = self.sinks.views().await;
            let mut views = sinks.map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            let witnesses = self.witnesses.views().await;
            views.extend(witnesses.map_err(|error| AdminError::Unavailable(Box::new(error)))?);
            Ok(views)
        })
    }

    fn reload(
        &self,
        operator: Operator,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<ReloadReport, AdminError>> {
        Box::pin(async move {
            let served = self.served.get().and_then(Weak::upgrade);
            let served = served.ok_or_else(|| AdminError::Unavailable("not served yet".into()))?;
            let reloaded = served.reload(operator.to_string(), dry_run).await;
            reloaded.map_err(|error| AdminError::Unavailable(error.into_boxed_dyn_error()))
        })
    }

    fn folder(&self) -> BoxFuture<'_, FolderStanding> {
        Box::pin(self.folder_standing())
    }

    fn signals(&self) -> BoxFuture<'_, Result<Vec<SignalView>, AdminError>> {
        Box::pin(async move { self.signals.views().await.map_err(|error| of_signal(error, "")) })
    }

    fn verify_signals(
        &self,
        stream: String,
        state: Option<String>,
    ) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let verified = self.signals.verify(&stream, state.as_deref()).await;
            verified.map_err(|error| of_signal(error, &stream))
        })
    }

    fn test_webhook(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            self.webhooks.test(&name).await.map_err(|error| of_webhook(error, &name))
        })
    }

    fn redeliver(&self, name: String, leaf: Option<u64>) -> BoxFuture<'_, Result<u64, AdminError>> {
        Box::pin(async move {
            let taken = self.webhooks.redeliver(&name, leaf).await;
            taken.map_err(|error| of_webhook(error, &name))
        })
    }

    fn sharing(&self) -> Arc<SharedIdentities> {
        Arc::clone(&self.sharing)
    }

    fn denials(&self) -> Arc<Denials> {
        Arc::clone(&self.denials)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn record_refusal(&self, refusal: Refusal) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let Refusal { method, user, agents, intent, code } = refusal;
            let agents: Vec<String> = agents.iter().map(ToString::to_string).collect();
            let mut event = Event::new(EventKind::ApprovalRefused, self.clock.now())
                .with_actor(user.to_string())
                .with_denial(code.as_str(), code.class().as_str())
                .with_detail("method", method)
                .with_detail("attests_as", agents);
            if let Some(intent) = intent {
                event = event.with_intent(intent.as_str());
            }
            self.store
                .append(event)
                .await
                .map_err(|error| AdminError::Unavailable(Box::new(error)))?;
            Ok(())
        })
    }
}

/// The agents that a process is, or would be if it asked.
fn agents(registry: &Snapshot, selectors: &SelectorSet) -> BTreeSet<SpiffeId> {
    let earned = registry.entries_for(selectors).into_iter();
    let earned = earned.filter(|entry| entry.role() == EntryRole::Agent);
    let given = registry.derive(selectors).into_iter();
    let given = given.filter(|one| one.template.role() == EntryRole::Agent);
    let given = given.filter_map(|one| one.outcome.ok().map(|made| made.spiffe_id().clone()));
    earned.map(|entry| entry.spiffe_id().clone()).chain(given).collect()
}
