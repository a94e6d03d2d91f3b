//! The life of an intent: pure transitions, with time handed in (specs/intents.md 2).
//!
//! ```text
//! open ──► denied
//!      ├─► pending  ──► approved | denied | cancelled | expired (request_ttl, agent_lost, parent_ended)
//!      └─► approved ──► active (first use) | consumed (only use) | cancelled | revoked
//!                       | expired (start_within, not_after, agent_lost, parent_ended)
//!          active   ──► consumed (last use) | completed | revoked
//!                       | expired (max_duration, not_after, idle, agent_lost, parent_ended)
//!          consumed ──► completed | revoked | closed_unreported (report_within, idle, agent_lost, parent_ended)
//! ```
//!
//! Denied, cancelled, expired, completed, closed_unreported and revoked are ends: no edge leaves them. A transition never changes the intent
//! it is asked of; it returns the next one and the events that belong in the same transaction. Absent: storage, kills
//! (the store looks at them in the same transaction) and tokens.

mod above;
mod approve;
mod change;
mod checked;
mod clocks;
mod derive;
mod end;
mod erase;
mod events;
mod facts;
mod intent;
mod narrow;
mod redeem;
mod review;
mod state;

pub use self::change::IntentChange;
pub use self::clocks::DEFAULT_REPORT_WITHIN;
pub use self::derive::Derive;
pub use self::end::{EndReason, UnknownEndReason};
pub use self::events::refused_request;
pub use self::facts::TokenFacts;
pub use self::intent::{Course, Intent, RedeemedUse};
pub use self::narrow::{Narrowed, Narrowing};
pub use self::redeem::Use;
pub use self::review::{Review, break_glass_event};
pub use self::state::{Outcome, State, UnknownState};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::Event;

use crate::denial::{Denial, DenialCode};
use crate::grant::Grant;
use crate::open::CapsInForce;
use crate::provisions::PromptKept;
use crate::ruling::{Ruling, Verdict};
use crate::text::Justification;

/// How far the clock may step back before nothing is granted any more.
pub const MAX_CLOCK_STEP_BACK: Duration = Duration::from_secs(10);

impl Intent {
    /// The first state of an intent, by the ruling of policy: approved, pending or denied. A grant that needs a person
    /// and names no rule by which one could approve is denied (`quorum_unreachable`).
    #[must_use]
    pub fn open(
        grant: Grant,
        justification: Option<Justification>,
        verdict: impl Into<Verdict>,
        now: Timestamp,
    ) -> (Self, Vec<Event>) {
        let Verdict { ruling, reasons, shadow } = verdict.into();
        let denial = match &ruling {
            Ruling::Deny { code, rules } => {
                let detail = match reasons.is_empty() {
                    true => "refused by policy".to_owned(),
                    false => reasons.join("; "),
                };
                let denial = Denial::new(*code, detail);
                Some(denial.by_policy(grant.policy_set_digest, rules.clone()))
            }
            Ruling::AskApproval { .. } if grant.approval.is_none() => {
                let detail = "policy wants an approver and the playbook has no approval level";
                Some(Denial::new(DenialCode::QuorumUnreachable, detail))
            }
            Ruling::Approve { .. } | Ruling::AskApproval { .. } => None,
        };
        let state = match (&denial, &ruling) {
            (Some(_), _) | (None, Ruling::Deny { .. }) => State::Denied,
            (None, Ruling::Approve { .. }) => State::Approved,
            (None, Ruling::AskApproval { .. }) => State::Pending,
        };
        let sealed = grant.conditions.provisions.logging.prompt == PromptKept::Sealed;
        let course = Course {
            state,
            state_version: 1,
            justification: justification.filter(|_| !(state.is_terminal() && sealed)),
            appeal: None,
            ruling,
            reasons,
            shadow,
            created_at: now,
            changed_at: now,
            approvals: Vec::new(),
            objections: Vec::new(),
            less: None,
            narrowed: Vec::new(),
            approved_at: (state == State::Approved).then_some(now),
            uses_left: grant.uses,
            uses: Vec::new(),
            denial,
            ended_by: None,
            reason: None,
            outcome: None,
            ended_for: None,
            heard_at: None,
            report: None,
            delegators_served: BTreeSet::new(),
            caps: CapsInForce::default(),
            review: None,
            post_check: None,
        };
        let intent = Self::of_parts(Arc::new(grant), course);
        let events = vec![intent.requested_event(now), intent.state_event(now)];
        (intent, events)
    }

    /// Puts together what [`Self::shared_grant`] and [`Self::course`] gave.
    #[must_use]
    pub fn of_parts(asked: Arc<Grant>, course: Course) -> Self {
        let grant = course.less.clone().map_or_else(|| Arc::clone(&asked), Arc::new);
        Self { asked, grant, course }
    }

    fn step(&self, state: State, now: Timestamp) -> Self {
        let justification = self.justification.clone();
        let course = Course {
            state,
            // Where it is sealed, an intent that is over does not keep it beside.
            justification: justification.filter(|_| !(state.is_terminal() && self.is_sealed())),
            state_version: self.state_version.saturating_add(1),
            changed_at: now.max(self.changed_at),
            ..self.course.clone()
        };
        Self { asked: Arc::clone(&self.asked), grant: Arc::clone(&self.grant), course }
    }
}

/// `start + length`, or the end of time.
pub(crate) fn plus(start: Timestamp, length: Duration) -> Timestamp {
    start.checked_add(length).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
