//! How one stream follows what its group is told.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::error::WorkloadError;
use crate::group::{Answer, Answers, Entitlement, Group, Who};
use crate::turn::Turn;
use crate::workload::Shared;

/// The full state of one kind, as a stream tells it.
pub(crate) trait Update: Clone + fmt::Debug + Send + Sync + 'static {
    /// What a stream of this kind looks at.
    type View: fmt::Debug + Clone + Default + Send + Sync;

    /// Whether a client could tell the two apart. The epoch is not shown to clients.
    fn says_the_same_as(&self, other: &Self, view: &Self::View) -> bool;

    /// The same, said of a later kill epoch that changed nothing in it.
    fn at_epoch(&self, epoch: u64) -> Self;

    /// Where a group keeps what it is told of this kind.
    fn answers(group: &Group) -> &Answers<Self>;

    /// The state that an entitlement with at least one entry gives, and when to look at it again.
    fn make(
        shared: &Shared,
        entitlement: &Entitlement,
    ) -> impl Future<Output = Result<(Self, Timestamp), WorkloadError>> + Send;
}

/// A stream of one kind. It keeps nothing pending: what it tells is worked out when it is asked for.
pub(crate) struct Following<U: Update> {
    shared: Arc<Shared>,
    group: Arc<Group>,
    view: U::View,
    /// What was told last, and by which entitlement it was found to stand since.
    last: Option<Arc<Answer<U>>>,
    turn: Turn,
    ended: bool,
}

impl<U: Update> Following<U> {
    pub(crate) fn new(shared: Arc<Shared>, group: Arc<Group>) -> Self {
        let turn = shared.next_turn();
        Self { shared, group, view: U::View::default(), last: None, turn, ended: false }
    }

    pub(crate) fn view(&self) -> &U::View {
        &self.view
    }

    pub(crate) fn set_view(&mut self, view: U::View) {
        self.view = view;
    }

    /// Who is asking.
    pub(crate) fn who(&self) -> &Who {
        &self.group.who
    }

    /// The next state that differs from the last, the first at once. After an error the stream has ended and gives
    /// `None`. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<U, WorkloadError>> {
        if self.ended {
            return None;
        }
        let outcome = self.settle_and_advance().await;
        self.ended = outcome.is_err();
        Some(outcome)
    }

    /// Whether the last update would be made of something else now. It asks the issuer's newest state itself, which may
    /// be one that nobody was woken for yet.
    pub(crate) fn is_stale(&self) -> bool {
        let told = self.last.as_ref().map(|last| &last.entitlement);
        let now = self.shared.entitlement(&self.group);
        !matches!((told, now), (Some(told), Ok(now)) if now.gives_the_same_as(told))
    }

    async fn settle_and_advance(&mut self) -> Result<U, WorkloadError> {
        if self.last.is_none() {
            let Who { selectors, scope, wanted: _ } = &*self.group.who;
            self.shared.settle(selectors, scope).await?;
        }
        self.advance().await
    }

    async fn advance(&mut self) -> Result<U, WorkloadError> {
        let group = Arc::clone(&self.group);
        loop {
            // A change from here on is not missed, however long it takes to get to waiting for it.
            let changed = group.changed();
            if let Some(turn) = self.held_back()? {
                tokio::select! {
                    () = changed => {}
                    () = self.shared.clock().sleep_until(turn) => {}
                }
                continue;
            }
            let answer = match self.shared.standing_answer(&group, U::answers(&group))? {
                Some(answer) => answer,
                // Boxed: streams that wait are many, those that mint are few.
                None => Box::pin(self.shared.answer::<U>(&group)).await?,
            };
            let told = self.last.as_ref();
            let is_news =
                !told.is_some_and(|told| told.update.says_the_same_as(&answer.update, &self.view));
            self.last = Some(Arc::clone(&answer));
            self.turn.over();
            if is_news {
                return Ok(answer.update.clone());
            }
            group.wake_at(answer.look_again);
            changed.await;
        }
    }

    /// Until when a change that concerns every stream is held back here. Never a first update, nor one for which there
    /// is any other reason.
    fn held_back(&mut self) -> Result<Option<Timestamp>, WorkloadError> {
        let Some(told) = &self.last else { return Ok(None) };
        let entitlement = self.shared.entitlement(&self.group)?;
        let now = self.shared.clock().now();
        let only_bundles = now < told.look_again
            && entitlement.has_the_rest_of(&told.entitlement)
            && !entitlement.has_the_bundles_of(&told.entitlement);
        let alarms = |entitlement: &Entitlement| entitlement.state.bundles.alarms();
        let alarmed = alarms(&entitlement) != alarms(&told.entitlement);
        if alarmed || !only_bundles {
            self.turn.over();
            return Ok(None);
        }
        let turn = self.turn.comes_at(entitlement.bundles_since);
        self.group.wake_at(told.look_again);
        Ok((now < turn).then_some(turn))
    }
}

impl<U: Update> fmt::Debug for Following<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        f.debug_struct("Following")
            .field("view", &self.view)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// What a group is told now: as it stands, or made anew, once for everybody who waits for it.
    async fn answer<U: Update>(&self, group: &Group) -> Result<Arc<Answer<U>>, WorkloadError> {
        let answers = U::answers(group);
        loop {
            if let Some(answer) = self.standing_answer(group, answers)? {
                return Ok(answer);
            }
            let _making = answers.making.lock().await;
            if let Some(answer) = self.standing_answer(group, answers)? {
                return Ok(answer);
            }
            let entitlement = self.entitlement(group)?;
            let outcome = self.make::<U>(group, &entitlement).await;
            // Minting takes time: what was true before it is checked again (WA-14).
            if !self.entitlement(group)?.gives_the_same_as(&entitlement) {
                continue;
            }
            let (update, look_again) = outcome?;
            let answer = Arc::new(Answer { update, entitlement, look_again });
            answers.put(&answer);
            return Ok(answer);
        }
    }

    /// Makes an update, and gives up as soon as nobody may have one.
    async fn make<U: Update>(
        &self,
        group: &Group,
        entitlement: &Entitlement,
    ) -> Result<(U, Timestamp), WorkloadError> {
        let making = U::make(self, entitlement);
        tokio::pin!(making);
        loop {
            let changed = group.changed();
            self.entitlement(group)?;
            tokio::select! {
                outcome = &mut making => return outcome,
                () = changed => {}
            }
        }
    }

    /// The answer made last, if it still stands.
    fn standing_answer<U: Update>(
        &self,
        group: &Group,
        answers: &Answers<U>,
    ) -> Result<Option<Arc<Answer<U>>>, WorkloadError> {
        let entitlement = self.entitlement(group)?;
        let now = self.clock().now();
        let Some(held) = answers.newest().filter(|held| now < held.look_again) else {
            return Ok(None);
        };
        if Arc::ptr_eq(&held.entitlement, &entitlement) {
            return Ok(Some(held));
        }
        if !entitlement.gives_the_same_as(&held.entitlement) {
            return Ok(None);
        }
        let update = held.update.at_epoch(entitlement.state.epoch);
        let look_again = held.look_again;
        let answer = Arc::new(Answer { update, entitlement, look_again });
        answers.put(&answer);
        Ok(Some(answer))
    }
}
