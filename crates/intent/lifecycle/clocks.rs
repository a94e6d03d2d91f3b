//! The clocks of an intent: which of them runs, when it ends the intent, and what is answered from then on.

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::Event;

use super::{EndReason, Intent, MAX_CLOCK_STEP_BACK, Outcome, State, plus};
use crate::denial::{Denial, DenialCode};

/// How long after the end of its last token a consumed intent waits for the report of its outcome, where the playbook
/// does not say.
pub const DEFAULT_REPORT_WITHIN: Duration = Duration::from_secs(60 * 60);

impl Intent {
    /// The instant at which its running clock ends it; `None` if it has ended, or is consumed: then only
    /// [`Self::due`] runs, for the report.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        if self.state == State::Consumed { None } else { self.due().map(|(end, _)| end) }
    }

    /// The instant at which a clock ends it, and which clock; `None` if it has ended.
    #[must_use]
    pub fn due(&self) -> Option<(Timestamp, EndReason)> {
        let grant = &self.grant;
        let mut clocks = [None; 3];
        match (self.state, self.approved_at, self.uses.first()) {
            (State::Pending, _, _) => {
                clocks[0] = Some((plus(self.created_at, grant.request_ttl), EndReason::RequestTtl));
            }
            // An intent of an earlier version stays approved from its first use on.
            (State::Approved | State::Active, _, Some(first)) => {
                clocks[0] = Some((plus(first.at, grant.max_duration), EndReason::MaxDuration));
                clocks[1] = self.idle_end();
            }
            (State::Approved | State::Active, Some(approved), None) => {
                let begins = approved.max(self.opens_at().unwrap_or(approved));
                clocks[0] = Some((plus(begins, grant.start_within), EndReason::StartWithin));
            }
            (State::Consumed, _, _) => return Some(self.report_end()),
            _ => return None,
        }
        clocks[2] = Some((grant.not_after, EndReason::NotAfter));
        clocks.into_iter().flatten().min_by_key(|(end, _)| *end)
    }

    /// When the change window opens that was to come when it was asked for: what is approved before may start only then.
    #[must_use]
    pub fn opens_at(&self) -> Option<Timestamp> {
        self.grant.evidence.window.as_ref()?.opens_at
    }

    /// The instant until which it counts as open: from then on nothing that it gave can be used, reported or not.
    #[must_use]
    pub fn holds_until(&self) -> Option<Timestamp> {
        if self.state == State::Consumed {
            let (report, _) = self.report_end();
            Some(self.last_token_end().min(report))
        } else {
            self.expires_at()
        }
    }

    /// Since when nothing was heard of it: its last use, or what [`super::IntentChange::Heard`] said since.
    #[must_use]
    pub fn heard_at(&self) -> Option<Timestamp> {
        let used = self.uses.last().map(|used| used.at)?;
        Some(self.heard_at.map_or(used, |heard| heard.max(used)))
    }

    fn idle_end(&self) -> Option<(Timestamp, EndReason)> {
        let (idle, heard) = (self.grant.conditions.ends.idle_timeout?, self.heard_at()?);
        Some((plus(heard, idle), EndReason::Idle))
    }

    fn last_token_end(&self) -> Timestamp {
        let ends = self.uses.iter().map(|used| used.token_expires_at);
        ends.max().unwrap_or(self.changed_at)
    }

    /// A consumed intent waits for its report; one that falls idle while a token of it still lives does not.
    fn report_end(&self) -> (Timestamp, EndReason) {
        let last = self.last_token_end();
        match self.idle_end() {
            Some(idle) if idle.0 < last => idle,
            Some(_) | None => {
                let within =
                    self.grant.conditions.ends.report_within.unwrap_or(DEFAULT_REPORT_WITHIN);
                (plus(last, within), EndReason::ReportWithin)
            }
        }
    }

    /// The ended intent, if a clock of it has run out.
    #[must_use]
    pub fn expire_if_due(&self, now: Timestamp) -> Option<(Self, Event)> {
        let (end, why) = self.due()?;
        (now >= end).then(|| self.run_out(why, now))
    }

    /// Expired, or closed without a report where every use is spent.
    pub(super) fn run_out(&self, why: EndReason, now: Timestamp) -> (Self, Event) {
        let state = match self.state {
            State::Consumed => State::ClosedUnreported,
            _ => State::Expired,
        };
        let mut next = self.step(state, now);
        next.ended_for = Some(why);
        if state == State::ClosedUnreported {
            next.outcome = Some(Outcome::Unknown);
        }
        let event = next.state_event(now);
        (next, event)
    }

    /// Whether a clock has run out.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due().is_some_and(|(end, _)| now >= end)
    }

    /// Why an intent in this state (with every clock that is due applied) lets nothing more happen; `None` for pending,
    /// approved and active intents. What its own agent ended is `grant_completed`, withdrawn before any use or not; what
    /// was taken away is `grant_revoked`.
    #[must_use]
    pub fn ended_code(&self, now: Timestamp) -> Option<DenialCode> {
        let state = match (self.is_due(now), self.state) {
            (true, State::Consumed) => State::ClosedUnreported,
            (true, _) => State::Expired,
            (false, state) => state,
        };
        match state {
            State::Pending | State::Approved | State::Active => None,
            State::Consumed => Some(DenialCode::GrantConsumed),
            State::Denied => {
                Some(self.denial.as_ref().map_or(DenialCode::ApprovalDenied, Denial::code))
            }
            State::Expired if self.approved_at.is_none() => Some(DenialCode::ApprovalExpired),
            State::Expired | State::ClosedUnreported => Some(DenialCode::GrantExpired),
            State::Cancelled | State::Completed => Some(DenialCode::GrantCompleted),
            State::Revoked => Some(DenialCode::GrantRevoked),
        }
    }

    /// Whether its tokens may still be used, as far as the intent says: approved, active, or consumed and not closed.
    #[must_use]
    pub fn lets_tokens_live(&self, now: Timestamp) -> bool {
        let state = matches!(self.state, State::Approved | State::Active | State::Consumed);
        state && !self.is_due(now)
    }

    /// Refuses if the clock stepped back behind what was already recorded: nothing is granted on such a clock.
    pub(super) fn clock_is_safe(&self, now: Timestamp) -> Result<(), Denial> {
        if plus(now, MAX_CLOCK_STEP_BACK) < self.changed_at {
            return Err(Denial::new(
                DenialCode::ClockUnsafe,
                "the clock is behind the intent's last change",
            ));
        }
        Ok(())
    }

    pub(super) fn still_open(&self, now: Timestamp) -> Result<(), Denial> {
        match self.ended_code(now) {
            None => Ok(()),
            Some(code) => Err(Denial::new(code, format!("the intent is {}", self.state))),
        }
    }

    /// As [`Self::still_open`], and a consumed intent that waits for its report may be ended too.
    pub(super) fn may_end(&self, now: Timestamp) -> Result<(), Denial> {
        if self.state == State::Consumed && !self.is_due(now) {
            return Ok(());
        }
        self.still_open(now)
    }
}
