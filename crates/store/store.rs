//! The store: every storage trait of the rooms, over a queue of transactions and a reader.

mod deferrals;
mod records;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use marque_audit::Event;
use marque_exchange::{
    Derivation, Derived, RedeemError, Redeemed, Redemption, TokenId, TokenRecord, TokenStore,
    TokenStoreError,
};
use marque_intent::pace::{Asked, Family, PaceSettings, Repeated, Standing};
use marque_intent::{
    Agents, ApprovalLimits, ChangeError, DecisionRecord, Denial, DenialCode, DenialFilter,
    DenialId, DenialRecord, Grant, IdempotencyKey, Intent, IntentChange, IntentFilter, IntentId,
    IntentStore, IntentStoreError, Kill, KillOrder, KillRecord, KillState, Preview, RefusedRequest,
    Release, Submitted,
};
use tokio::sync::{oneshot, watch};

use crate::journal::Order;
use crate::queue::Queue;
use crate::reader::Reader;
use crate::transactions::{
    Answered, Append, Change, DECISIONS, Derive, LookUp, NotRedeemed, Pace, Probe, Proven,
    RecordDenial, RecordKill, RecordTokenRefusal, Redeem, ReleaseFamily, Submit, SubmitRefusal,
    above,
};
use crate::writer::Shared;
use crate::{Durability, Failure};

/// Everything that one trust domain keeps. Opened by [`crate::SqliteStore`] or [`crate::PostgresStore`]; from there on
/// the engines do not differ.
#[derive(Debug)]
pub struct Store {
    pub(crate) queue: Queue,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) durability: Durability,
    pub(crate) _listener: Option<Listener>,
    pub(crate) approval_limits: std::sync::RwLock<ApprovalLimits>,
}

/// How long a kill that is in force and journaled waits for the database before it is answered.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);

/// A background task that ends with the store.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// The engine's settings on which durability rests, as they were read back from the writing connection.
    #[must_use]
    pub fn durability(&self) -> &Durability {
        &self.durability
    }

    /// How many rows were found that do not read, and did not read since.
    #[must_use]
    pub fn unreadable_rows(&self) -> usize {
        self.shared.intents.unreadable().len()
    }

    /// Writes a row of no meaning, to find out whether rows can be written.
    ///
    /// # Errors
    /// They cannot be.
    pub async fn probe(&self) -> Result<(), Failure> {
        self.queue.run(Probe).await
    }

    /// Whether it was heard lately who is stopped, from all who share the database.
    #[must_use]
    pub fn hears_of_kills(&self) -> bool {
        self.shared.heard.is_current()
    }

    /// Says what kills may go by that the registry knows of agents. The first word stands.
    pub fn know_agents(&self, agents: Arc<dyn Agents>) {
        self.shared.kills.know(agents);
    }

    /// Says which tenant the trust domain belongs to, which leaves name from here on.
    pub fn know_tenant(&self, tenant: impl Into<String>) {
        let mut known = self.shared.tenant.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(tenant.into());
    }

    /// Says how much approvers are asked from here on; until then it is the default.
    pub fn limit_approvals(&self, limits: ApprovalLimits) {
        *self.approval_limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn approval_limits(&self) -> ApprovalLimits {
        *self.approval_limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of each approver's decisions, by approver.
    ///
    /// # Errors
    /// The store cannot be read, or a row no longer reads.
    pub async fn approver_decisions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(String, DecisionRecord)>, Failure> {
        let rows = self.all_kept(DECISIONS, now).await?;
        rows.into_iter().map(|row| Ok((row.key.clone(), row.read()?))).collect()
    }

    /// What is kept of tokens, by their ids, from the one behind `after` on; at most `limit` of them.
    ///
    /// # Errors
    /// The store cannot be read, or a row no longer reads.
    pub async fn tokens_after(
        &self,
        after: Option<TokenId>,
        limit: usize,
    ) -> Result<Vec<TokenRecord>, Failure> {
        self.reader.tokens_after(after, limit).await
    }

    async fn record(&self, event: Event) -> Result<(), Failure> {
        self.queue.run(Append { event }).await.map(drop)
    }

    /// How many kills and lifts the database held when it was last looked at.
    #[must_use]
    pub fn recorded_epoch(&self) -> u64 {
        self.shared.kills.stored().epoch
    }

    /// Whether kills or lifts are in force here that the database has not taken, where others share it: no other replica can
    /// hear of them.
    #[must_use]
    pub fn keeps_kills_here_only(&self) -> bool {
        self.shared.heard.is_of_others() && self.shared.kills.has_pending()
    }

    /// Whether a kill that stands, as far as it was ordered, outlives the process: the journal or the database has it.
    #[must_use]
    pub fn keeps(&self, kill: &Kill) -> bool {
        self.shared.kills.keeps(&Order::of(&KillRecord::Kill(kill.clone())))
    }

    /// Of a kill: memory first, then the journal, then the database. What is in force depends on neither, and neither has to
    /// wait in line behind anything that callers of the service can ask for. A lift is in force when the journal or the
    /// database has it: nobody goes on whom the next start would stop again.
    async fn throw_kill_switch(
        &self,
        what: KillOrder,
        at: Timestamp,
    ) -> Result<KillState, Failure> {
        let kills = &self.shared.kills;
        let order = Order { what: kills.hitting(what), at };
        let stops = matches!(order.what, KillOrder::Kill(_));
        if stops {
            kills.not_kept(order.clone());
            kills.order(order.clone());
        }
        let journaled = match self.journal(order.clone()).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    error = &*error as &dyn std::error::Error,
                    "a kill or a lift is not journaled"
                );
                false
            }
        };
        if journaled {
            kills.order(order.clone());
            kills.kept(&order);
        }
        let recorded = self.queue.run(RecordKill { order });
        if journaled {
            match tokio::time::timeout(RECORDED_WITHIN, recorded).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    let error = &failure as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "a kill is in force and journaled; the database does not take it"
                    );
                }
                Err(_) => {
                    tracing::warn!("a kill is in force and journaled; the database does not answer")
                }
            }
        } else {
            recorded.await?;
        }
        Ok(self.shared.kills.state().as_ref().clone())
    }
}

impl Store {
    /// The numbers by which requests and refusals are counted from here on.
    pub fn keep_pace(&self, settings: PaceSettings) {
        *self.shared.pace.write().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    fn pace_settings(&self) -> Option<PaceSettings> {
        self.shared.pace.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is counted of an intent's request, where anything is.
    fn pace_of(&self, intent: &Intent) -> Option<Pace> {
        let settings = self.pace_settings()?;
        // A sealed grant has a canonical form, and so has every part of it.
        let asked = Asked::of_intent(intent).ok()?;
        let terms = intent.grant().terms();
        // Agents of one family count together anyway.
        let asker = terms.parent.as_ref().map(|parent| &parent.agent);
        let asker = asker.filter(|asker| !asked.family.has(asker));
        let asker =
            asker.and_then(|asker| Asked::of_asker(terms, asker, intent.justification()).ok());
        Some(Pace { asked, asker, settings })
    }

    /// The same for a person's word on an intent; what an intent permits never changes, so that any version of it will do.
    async fn pace_of_word(
        &self,
        id: &IntentId,
        change: &IntentChange,
    ) -> Result<Option<Pace>, Failure> {
        let (IntentChange::Approve { .. } | IntentChange::Deny { .. }) = change else {
            return Ok(None);
        };
        let intent = match self.shared.intents.last_seen(id) {
            Some(seen) => Some(Intent::clone(&seen)),
            None => self.reader.intent(id).await?,
        };
        Ok(intent.and_then(|intent| self.pace_of(&intent)))
    }
}

/// Counts a grant that came within an hour of a refusal of the same target: somebody repaired what was wrong, or broke the
/// glass.
fn followed(after: Option<DenialCode>, grant: &Grant) {
    let Some(code) = after else { return };
    let name = match grant.emergency {
        Some(_) => "marque_denial_followed_by_break_glass",
        None => "marque_denial_followed_by_success_within_1h",
    };
    let playbook = grant.playbook.id.to_string();
    let class = code.class().as_str();
    metrics::counter!(name, "code" => code.as_str(), "class" => class, "playbook" => playbook)
        .increment(1);
}

impl Store {
    /// An intent as it was last seen: of what never changes in it that is as good as a read.
    async fn seen(&self, id: &IntentId) -> Result<Option<Arc<Intent>>, Failure> {
        match self.shared.intents.last_seen(id) {
            Some(seen) => Ok(Some(seen)),
            None => Ok(self.reader.intent(id).await?.map(Arc::new)),
        }
    }

    /// Every intent above this one. The chain is part of the grant, which never changes.
    async fn chain_above(&self, id: &IntentId) -> Result<Vec<IntentId>, Failure> {
        Ok(self.seen(id).await?.map_or_else(Vec::new, |intent| above(&intent)))
    }
}

/// Why a kill is not in the journal.
type NotJournaled = Box<dyn std::error::Error + Send + Sync>;

impl Store {
    /// Writes to the journal on a thread of its own: those of the runtime may all be busy with what callers ask for.
    async fn journal(&self, order: Order) -> Result<(), NotJournaled> {
        let shared = Arc::clone(&self.shared);
        let (done, journaled) = oneshot::channel();
        let write = move || drop(done.send(shared.kills.journal(&order)));
        std::thread::Builder::new().name("kill-journal".to_owned()).spawn(write)?;
        Ok(journaled.await??)
    }
}

impl IntentStore for Store {
    fn submit(
        &self,
        intent: Intent,
        events: Vec<Event>,
        idempotency: Option<IdempotencyKey>,
    ) -> BoxFuture<'_, Result<Submitted, IntentStoreError>> {
        async move {
            let pace = self.pace_of(&intent);
            let grant = Arc::clone(intent.shared_grant());
            let submit =
                Submit { intent, events, idempotency, pace, limits: self.approval_limits() };
            match self.queue.run(submit).await.map_err(intents)? {
                Ok((submitted, after)) => {
                    followed(after, &grant);
                    Ok(submitted)
                }
                Err(SubmitRefusal::IdempotencyConflict) => {
                    Err(IntentStoreError::IdempotencyConflict)
                }
                Err(SubmitRefusal::NoRunLeft) => Err(IntentStoreError::NoRunLeft),
                Err(SubmitRefusal::Killed(code)) => Err(IntentStoreError::Killed(code)),
                Err(SubmitRefusal::Refused(denial)) => Err(IntentStoreError::Refused(denial)),
            }
        }
        .boxed()
    }

    fn answered(
        &self,
        idempotency: IdempotencyKey,
        _now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Intent>, IntentStoreError>> {
        async move {
            match self.queue.run(LookUp { idempotency }).await.map_err(intents)? {
                Answered::Never => Ok(None),
                Answered::Before(intent) => Ok(Some(*intent)),
                Answered::Conflict => Err(IntentStoreError::IdempotencyConflict),
            }
        }
        .boxed()
    }

    fn record_denial(
        &self,
        refused: RefusedRequest,
    ) -> BoxFuture<'_, Result<Denial, IntentStoreError>> {
        let settings = self.pace_settings();
        async move { self.queue.run(RecordDenial { refused, settings }).await.map_err(intents) }
            .boxed()
    }

    fn pace(
        &self,
        asked: Asked,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Preview, IntentStoreError>> {
        async move { self.reader.pace(asked, now).await.map_err(intents) }.boxed()
    }

    fn denials(
        &self,
        filter: DenialFilter,
    ) -> BoxFuture<'_, Result<Vec<DenialRecord>, IntentStoreError>> {
        async move { self.reader.denials(filter).await.map_err(intents) }.boxed()
    }

    fn denial(
        &self,
        id: DenialId,
    ) -> BoxFuture<'_, Result<Option<DenialRecord>, IntentStoreError>> {
        async move { self.reader.denial(id).await.map_err(intents) }.boxed()
    }

    fn standings(&self) -> BoxFuture<'_, Result<Vec<(Family, Standing)>, IntentStoreError>> {
        async move { self.reader.standings().await.map_err(intents) }.boxed()
    }

    fn release(&self, order: Release) -> BoxFuture<'_, Result<bool, IntentStoreError>> {
        async move { self.queue.run(ReleaseFamily { order }).await.map_err(intents) }.boxed()
    }

    fn find(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, IntentStoreError>> {
        let (id, read) = (id.clone(), self.reader.intent(id));
        async move {
            let found = self.shared.intents.unreadable().told(read.await).map_err(intents)?;
            self.shared.intents.unreadable().reads(&id);
            Ok(found)
        }
        .boxed()
    }

    fn list(&self, filter: IntentFilter) -> BoxFuture<'_, Result<Vec<Intent>, IntentStoreError>> {
        async move { self.reader.intents(filter).await.map_err(intents) }.boxed()
    }

    fn change_once(
        &self,
        id: IntentId,
        change: IntentChange,
        idempotency: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Intent, ChangeError>> {
        async move {
            let stored = |failure| ChangeError::Store(intents(failure));
            let pace = self.pace_of_word(&id, &change).await.map_err(stored)?;
            let changed = self
                .queue
                .run(Change { id, change, idempotency, pace, now, limits: self.approval_limits() })
                .await;
            let (intent, after) = changed
                .map_err(stored)?
                .ok_or(ChangeError::NotFound)?
                .map_err(ChangeError::Refused)?;
            followed(after, intent.grant());
            Ok(intent)
        }
        .boxed()
    }

    fn order(
        &self,
        order: KillOrder,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<KillState, IntentStoreError>> {
        async move { self.throw_kill_switch(order, at).await.map_err(intents) }.boxed()
    }

    fn kill_state(&self) -> watch::Receiver<Arc<KillState>> {
        self.shared.kills.subscribe()
    }
}

impl TokenStore for Store {
    fn intent(&self, id: &IntentId) -> BoxFuture<'_, Result<Option<Intent>, TokenStoreError>> {
        // What was approved when it was last seen needs no read: a use is redeemed from the row, whatever became of it.
        let seen = self.shared.intents.last_seen(id);
        if let Some(approved) = seen.filter(|intent| intent.state().is_usable()) {
            return ready(Ok(Some(Intent::clone(&approved)))).boxed();
        }
        let read = self.reader.intent(id);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn redeem(&self, redemption: Redemption) -> BoxFuture<'_, Result<Redeemed, RedeemError>> {
        async move {
            let proofs = redemption.proofs.clone();
            let above = self.chain_above(&redemption.intent).await.map_err(unstored)?;
            let plan = Redeem { redemption, above };
            let redeemed = self.queue.run(Proven { proofs, plan }).await;
            let redeemed = redeemed.map_err(unstored)?.ok_or(RedeemError::Replayed)?;
            redeemed.map_err(|refused| match refused {
                NotRedeemed::Refused(denial) => RedeemError::Refused(denial),
                NotRedeemed::Spent => RedeemError::Spent,
            })
        }
        .boxed()
    }

    fn derive(&self, derivation: Derivation) -> BoxFuture<'_, Result<Derived, RedeemError>> {
        async move {
            let proofs = derivation.proofs.clone();
            let derived = self.queue.run(Proven { proofs, plan: Derive { derivation } }).await;
            let derived = derived.map_err(unstored)?.ok_or(RedeemError::Replayed)?;
            derived.map_err(RedeemError::Refused)
        }
        .boxed()
    }

    fn record_refusal(&self, event: Event) -> BoxFuture<'_, Result<(), TokenStoreError>> {
        async move {
            let refused = match (&event.agent, event.code.as_deref().map(str::parse)) {
                (Some(agent), Some(Ok(code))) if Repeated::Token.is_hushed(code) => {
                    let (agent, denial) = (agent.clone(), Denial::new(code, ""));
                    self.queue.run(RecordTokenRefusal { agent, denial, event }).await
                }
                _ => self.record(event).await,
            };
            refused.map_err(TokenStoreError::new)
        }
        .boxed()
    }

    fn token(
        &self,
        id: &TokenId,
    ) -> BoxFuture<'_, Result<Option<(TokenRecord, Intent)>, TokenStoreError>> {
        let read = self.reader.token(id);
        async move { read.await.map_err(TokenStoreError::new) }.boxed()
    }

    fn kill_state(&self) -> Arc<KillState> {
        self.shared.kills.state()
    }

    fn current_kills(&self) -> Result<Arc<KillState>, TokenStoreError> {
        if self.shared.heard.is_current() {
            Ok(self.shared.kills.state())
        } else {
            Err(TokenStoreError::new(Failure::Unheard))
        }
    }
}

fn intents(failure: Failure) -> IntentStoreError {
    IntentStoreError::Unavailable(Box::new(failure))
}

fn unstored(failure: Failure) -> RedeemError {
    RedeemError::Store(TokenStoreError::new(failure))
}
