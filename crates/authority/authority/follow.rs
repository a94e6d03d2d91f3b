//! Following the bundle of an upstream: asking for it, going by it, and standing on another root in time.
//!
//! Nobody's turn is held while the upstream is asked.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use marque_keys::KeyPurpose;
use marque_spiffe::Clock;

use super::Authority;
use crate::{
    AuthorityError, AuthorityOrder, AuthorityRecord, AuthorityState, AuthorityStep, FollowedBundle,
    FollowedRoot, LeftOut, OrderRefusal, OrderedBy, SignedAuthorityError,
    certificate::whole_second,
    followed::{active, followed},
    record::in_state,
    round::moving,
    schedule::Schedule,
};

const PURPOSE: KeyPurpose = KeyPurpose::X509Authority;

/// When an upstream told its bundle last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Timestamp,
    /// How often it wants to be asked.
    pub refresh_hint: Duration,
    /// The sequence of what it told. On record is that of its last change.
    pub sequence: u64,
}

/// What came of asking an upstream for its bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// How often it wants to be asked.
    pub refresh_hint: Duration,
    /// Whether it said something new.
    pub changed: bool,
    /// Its roots that may not stand here.
    pub left_out: Vec<LeftOut>,
}

impl Authority {
    /// What is followed of the upstream's bundle.
    pub fn followed(&self) -> Option<FollowedBundle> {
        followed(&self.snapshot.load().records).cloned()
    }

    /// When the upstream told its bundle last; `None` where it did not since this was opened.
    pub fn heard(&self) -> Option<Heard> {
        self.heard.load().as_deref().map(|(_, heard)| *heard)
    }

    /// The highest sequence that this upstream told since this was opened.
    fn sequence_heard(&self, source: &str) -> u64 {
        let heard = self.heard.load();
        let heard = heard.as_deref().filter(|(from, _)| from == source);
        heard.map_or(0, |(_, heard)| heard.sequence)
    }

    /// Asks the upstream for its bundle and goes by what it says. `None` where there is nobody whose bundle is followed; what
    /// was followed before is given up then.
    ///
    /// An authority whose root the upstream took out gets another certificate first, if one is to be had: the root leaves
    /// the bundle in any case. Of an upstream that is not heard the keys leave that have ended by what it told.
    ///
    /// # Errors
    /// [`AuthorityError::Unheard`], [`AuthorityError::ToldBundle`] or [`OrderRefusal::UpstreamWentBack`], after which all is as
    /// it was; otherwise as [`Authority::keep_up`].
    pub async fn hear_upstream(
        &self,
        clock: &dyn Clock,
    ) -> Result<Option<Hearing>, AuthorityError> {
        let heard = self.ask_for_bundle(clock).await;
        if heard.is_err()
            && let Err(error) = self.leave_ended_keys(clock).await
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "keys of the upstream that have ended are still in the bundle");
        }
        heard
    }

    async fn ask_for_bundle(&self, clock: &dyn Clock) -> Result<Option<Hearing>, AuthorityError> {
        let Some(upstream) = self.upstream().filter(|upstream| upstream.source().is_some()) else {
            return self.follow_nobody(clock.now()).await.map(|()| None);
        };
        let told = upstream.bundle().await.map_err(AuthorityError::Unheard)?;
        let now = whole_second(clock.now())?;
        let (config, snapshot) = (self.config(), self.snapshot.load_full());
        let source = upstream.source().unwrap_or_default();
        let read = told.read(source, (&config, &snapshot.records), now);
        let (bundle, left_out) = read.map_err(AuthorityError::ToldBundle)?;
        let (from, to) = (self.sequence_heard(source), bundle.sequence);
        if to < from {
            return Err(AuthorityError::Refused(OrderRefusal::UpstreamWentBack { from, to }));
        }
        let changed = self.follow(bundle, clock).await?;
        let refresh_hint = told.refresh_hint;
        let heard = Heard { at: clock.now(), refresh_hint, sequence: to };
        self.heard.store(Some(Arc::new((source.to_owned(), heard))));
        Ok(Some(Hearing { refresh_hint, changed, left_out }))
    }

    async fn leave_ended_keys(&self, clock: &dyn Clock) -> Result<(), AuthorityError> {
        let lasting = self.followed().and_then(|followed| followed.without_ended(clock.now()));
        let Some(mut lasting) = lasting else { return Ok(()) };
        lasting.sequence = lasting.sequence.max(self.sequence_heard(&lasting.source));
        self.follow(lasting, clock).await.map(drop)
    }

    async fn follow(
        &self,
        heard: FollowedBundle,
        clock: &dyn Clock,
    ) -> Result<bool, AuthorityError> {
        let step = AuthorityStep::Follow(Box::new(heard));
        let mut records = self.snapshot.load().records.clone();
        let order = AuthorityOrder {
            step: step.clone(),
            at: whole_second(clock.now())?,
            by: None,
            reason: None,
        };
        match order.decide(&records) {
            Ok(decision) => decision.apply(&mut records),
            Err(OrderRefusal::NothingNew) => return Ok(false),
            Err(refusal) => return Err(AuthorityError::Refused(refusal)),
        }
        let truth = followed(&records);
        let lost = truth.filter(|truth| {
            active(&records).is_some_and(|active| truth.has_no_root_of(active))
                && !self.has_lost_its_root()
        });
        if let Some(truth) = lost {
            let trust_domain = self.trust_domain();
            tracing::error!(%trust_domain, "the upstream took out the root that the X.509 authority stands on; another certificate is asked for");
            if let Err(error) = self.stand_elsewhere(truth, clock).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, %trust_domain, "there is no other certificate yet; no X.509-SVID is signed until there is one");
            }
        }
        match self.order(step, OrderedBy::default(), clock.now()).await {
            Ok(()) => Ok(true),
            // Another replica heard it first.
            Err(AuthorityError::Refused(OrderRefusal::NothingNew)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn follow_nobody(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if self.followed().is_none() {
            return Ok(());
        }
        match self.order(AuthorityStep::Unfollow, OrderedBy::default(), now).await {
            Err(AuthorityError::Refused(OrderRefusal::NothingNew)) => Ok(()),
            other => other,
        }
    }

    /// Whether nothing that the X.509 authority signs verifies by the own bundle: the upstream took its root out.
    pub fn has_lost_its_root(&self) -> bool {
        self.stands(FollowedBundle::has_no_root_of)
    }

    /// Whether the X.509 authority is to stand on another root: the upstream gave its own up, or took it out.
    pub fn is_to_stand_elsewhere(&self) -> bool {
        self.stands(FollowedBundle::gives_up)
    }

    fn stands(&self, how: impl Fn(&FollowedBundle, &AuthorityRecord) -> bool) -> bool {
        let records = &self.snapshot.load().records;
        followed(records).zip(active(records)).is_some_and(|(truth, active)| how(truth, active))
    }

    /// Has the next certificate signed and lets its key sign as soon as whoever fetches the bundle knows its root: at once where
    /// the root of now has left. Nothing is done where none of that is due.
    ///
    /// # Errors
    /// As [`Authority::prepare_below_upstream`].
    pub async fn move_to_another_root(&self, clock: &dyn Clock) -> Result<(), AuthorityError> {
        match self.followed() {
            Some(truth) => self.stand_elsewhere(&truth, clock).await,
            None => Ok(()),
        }
    }

    async fn stand_elsewhere(
        &self,
        truth: &FollowedBundle,
        clock: &dyn Clock,
    ) -> Result<(), AuthorityError> {
        let snapshot = self.snapshot.load_full();
        let Some(active) = active(&snapshot.records).filter(|active| truth.gives_up(active)) else {
            return Ok(());
        };
        let is_lost = truth.has_no_root_of(active);
        let prepared = in_state(&snapshot.records, PURPOSE, AuthorityState::Prepared);
        let slot = match prepared {
            Some(prepared) if !truth.gives_up(prepared) => prepared.slot.clone(),
            given_up => {
                if let Some(AuthorityRecord { slot, .. }) = given_up {
                    let step = AuthorityStep::Retire { slot: slot.clone() };
                    self.order(step, moving(), clock.now()).await?;
                }
                if self.upstream().is_some() {
                    self.prepare_below_upstream(moving(), clock).await?
                } else {
                    self.prepare(PURPOSE, moving(), clock.now()).await?
                }
            }
        };
        let snapshot = self.snapshot.load_full();
        let Some(prepared) = snapshot.records.iter().find(|record| record.slot == slot) else {
            return Ok(());
        };
        // The bundle on record knows the root of the new certificate, the one that was told may not.
        let of_now = followed(&snapshot.records).and_then(|followed| followed.root_of(prepared));
        let stays = |root: &FollowedRoot| {
            truth
                .root(&root.certificate_der)
                .map_or(root.since >= prepared.created_at, |told| !told.tainted)
        };
        if let Some(root) = of_now.filter(|root| !stays(root)) {
            let source = SignedAuthorityError::GivenUp(root.digest());
            return Err(AuthorityError::SignedAuthority { slot, source });
        }
        let since = of_now.map_or(prepared.created_at, |root| root.since);
        let known = since.checked_add(Schedule(&snapshot.config).publication());
        if !is_lost && known.is_ok_and(|known| known > clock.now()) {
            return Ok(());
        }
        self.activate(slot, true, moving(), clock.now()).await
    }
}
