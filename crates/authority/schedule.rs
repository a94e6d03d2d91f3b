//! When each step in the life of a key is due, by the clock. The numbers are justified in docs/adr/0010.

use std::time::Duration;

use jiff::Timestamp;
use marque_keys::KeyPurpose;

use crate::{
    AuthorityConfig, AuthorityRecord, AuthorityState, AuthorityStep,
    certificate::{self, Validity},
    record::{in_state, newest, of},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The next key is prepared when the active one has this long left, or half of its life if that is less.
const PREPARE_BEFORE: Duration = DAY.saturating_mul(30);
/// The next key signs when the active one has this long left, or a sixth of its life if that is less.
const ACTIVATE_BEFORE: Duration = DAY.saturating_mul(7);
/// How many times the refresh hint a key is published before it signs (FE-1).
const HINTS: u32 = 3;
/// How far the clocks of those who verify may be behind, or a twelfth of the key's life if that is less.
pub(crate) const CLOCKS_DIFFER: Duration = Duration::from_mins(5);
/// How long a key that left the bundle is kept, or half of its life if that is less.
const KEPT_FOR: Duration = DAY;

/// The times of one trust domain's keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule<'a>(pub(crate) &'a AuthorityConfig);

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A key is to be made, and put on record as prepared.
    Prepare,
    /// A step on what is on record.
    Step(AuthorityStep),
}

/// What the clock does next with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Another key is prepared to follow it.
    Followed,
    /// It begins to sign.
    Activated,
    /// It leaves the bundle.
    Retired,
    /// It is forgotten.
    Pruned,
}

impl NextStep {
    /// The step as lists show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Followed => "successor prepared",
            Self::Activated => "activated",
            Self::Retired => "retired",
            Self::Pruned => "pruned",
        }
    }
}

impl Schedule<'_> {
    /// When a key ends: a root says so itself, the record of another key too. One that does not lasts as long as a root made at
    /// the same time.
    pub(crate) fn ends_at(&self, record: &AuthorityRecord) -> Timestamp {
        let of_root = || certificate_ends_at(record);
        let fallback = || after(record.created_at, self.0.ca_lifetime);
        record.times.ends_at.or_else(of_root).unwrap_or_else(fallback)
    }

    /// How long a key is published before it signs; a second more, because records are dated in whole seconds.
    pub(crate) fn publication(&self) -> Duration {
        publication(self.0.slowest_refresh())
    }

    /// What is due for the keys of one purpose; what makes room comes first.
    pub(crate) fn due(
        &self,
        records: &[AuthorityRecord],
        purpose: KeyPurpose,
        now: Timestamp,
    ) -> Option<Due> {
        let over = of(records, purpose).find_map(|record| self.over(records, record, now));
        if let Some(step) = over {
            return Some(Due::Step(step));
        }
        let active = in_state(records, purpose, AuthorityState::Active)?;
        let Some(prepared) = in_state(records, purpose, AuthorityState::Prepared) else {
            return (now >= self.prepare_at(active)).then_some(Due::Prepare);
        };
        let activate = |published_for| {
            Due::Step(AuthorityStep::Activate { slot: prepared.slot.clone(), published_for })
        };
        if now >= self.ends_at(active) {
            // Nobody is served by waiting: there is nothing else to sign with.
            return Some(activate(Duration::ZERO));
        }
        let published = now >= after(prepared.created_at, self.publication());
        (published && now >= self.activate_at(active)).then(|| activate(self.publication()))
    }

    /// What the clock does next with a key, and when.
    pub(crate) fn next(
        &self,
        records: &[AuthorityRecord],
        record: &AuthorityRecord,
    ) -> Option<(NextStep, Timestamp)> {
        let purpose = record.slot.purpose();
        if purpose == KeyPurpose::AuditCheckpoint {
            return None;
        }
        match record.state {
            AuthorityState::Active => in_state(records, purpose, AuthorityState::Prepared)
                .is_none()
                .then(|| (NextStep::Followed, self.prepare_at(record))),
            AuthorityState::Prepared => {
                let published = after(record.created_at, self.publication());
                let active = in_state(records, purpose, AuthorityState::Active)?;
                let wanted = self.activate_at(active).max(published).min(self.ends_at(active));
                Some((NextStep::Activated, wanted))
            }
            AuthorityState::Old => Some((NextStep::Retired, self.retire_at(record))),
            AuthorityState::Revoked | AuthorityState::Retired => {
                let is_newest = newest(records, purpose)?.slot == record.slot;
                (!is_newest).then(|| (NextStep::Pruned, self.prune_at(record)))
            }
        }
    }

    fn over(
        &self,
        records: &[AuthorityRecord],
        record: &AuthorityRecord,
        now: Timestamp,
    ) -> Option<AuthorityStep> {
        let slot = || record.slot.clone();
        match record.state {
            AuthorityState::Old if now >= self.retire_at(record) => {
                Some(AuthorityStep::Retire { slot: slot() })
            }
            AuthorityState::Prepared if now >= self.ends_at(record) => {
                Some(AuthorityStep::Retire { slot: slot() })
            }
            AuthorityState::Revoked | AuthorityState::Retired => {
                let due = self.next(records, record).is_some_and(|(_, at)| now >= at);
                due.then(|| AuthorityStep::Prune { slot: slot() })
            }
            AuthorityState::Prepared | AuthorityState::Active | AuthorityState::Old => None,
        }
    }

    fn lifetime(&self, record: &AuthorityRecord) -> Duration {
        Duration::try_from(self.ends_at(record).duration_since(record.created_at))
            .unwrap_or_default()
    }

    fn prepare_at(&self, active: &AuthorityRecord) -> Timestamp {
        before(self.ends_at(active), PREPARE_BEFORE.min(self.lifetime(active) / 2))
    }

    fn activate_at(&self, active: &AuthorityRecord) -> Timestamp {
        before(self.ends_at(active), self.last_part(active))
    }

    /// The last part of a key's life, in which it should sign no more: what it signs may last as long as this.
    fn last_part(&self, record: &AuthorityRecord) -> Duration {
        ACTIVATE_BEFORE.min(self.lifetime(record) / 6)
    }

    /// When an old key leaves the bundle: what it signed has ended, by every clock, and a key that was published lately is
    /// known to everybody. The lifetimes of today do not count alone: they may have been longer when it signed.
    fn retire_at(&self, old: &AuthorityRecord) -> Timestamp {
        let margin = CLOCKS_DIFFER.min(self.lifetime(old) / 12);
        let replaced_at = old.times.replaced_at.unwrap_or(old.created_at);
        let ends_at = self.ends_at(old);
        let longest = self.0.longest(old.slot.purpose());
        let signed_until = after(replaced_at, longest.max(self.last_part(old)));
        let signed_until = match old.slot.purpose() {
            // No access token is cut short by the end of its key.
            KeyPurpose::AccessToken => signed_until,
            _ if old.is_tainted() => ends_at,
            _ => signed_until.min(ends_at),
        };
        after(signed_until, margin).max(after(replaced_at, self.publication()))
    }

    fn prune_at(&self, left: &AuthorityRecord) -> Timestamp {
        let left_at = left.times.left_at.unwrap_or(left.created_at);
        let kept_until = after(left_at, KEPT_FOR.min(self.lifetime(left) / 2));
        // Its root may still be that of other keys, so that it is refused by name for as long as its certificate is valid.
        match left.upstream {
            Some(_) => kept_until.max(certificate_ends_at(left).unwrap_or(Timestamp::MAX)),
            None => kept_until,
        }
    }
}

/// As [`Schedule::publication`], where the bundle is fetched this often.
pub(crate) fn publication(refresh_hint: Duration) -> Duration {
    refresh_hint.saturating_mul(HINTS).saturating_add(Duration::from_secs(1))
}

/// When the certificate of a key ends, whatever stands above it.
fn certificate_ends_at(record: &AuthorityRecord) -> Option<Timestamp> {
    let certificate = certificate::read(record.certificate_der.as_deref()?)?;
    Validity::read(&certificate).map(|validity| validity.not_after)
}

fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn before(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}
