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
mod narrow;
mod redeem;
mod review;
mod state;

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::Event;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

pub use self::change::IntentChange;
pub use self::clocks::DEFAULT_REPORT_WITHIN;
pub use self::derive::Derive;
pub use self::end::{EndReason, UnknownEndReason};
pub use self::events::refused_request;
pub use self::facts::TokenFacts;
pub use self::narrow::{Narrowed, Narrowing};
pub use self::redeem::Use;
pub use self::review::{Review, break_glass_event};
pub use self::state::{Outcome, State, UnknownState};
use crate::appeal::Appeal;
use crate::approval::{Approval, ApprovalPlan, Decider, Objection};
use crate::denial::{Denial, DenialCode};
use crate::grant::Grant;
use crate::id::IntentId;
use crate::open::CapsInForce;
use crate::post_check::PostCheck;
use crate::provisions::PromptKept;
use crate::ruling::{Ruling, Verdict};
use crate::text::{Justification, Reason};

/// How far the clock may step back before nothing is granted any more.
pub const MAX_CLOCK_STEP_BACK: Duration = Duration::from_secs(10);

/// One use, redeemed for one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedeemedUse {
    /// The token's `jti`.
    pub token_id: String,
    /// When.
    pub at: Timestamp,
    /// When the token ends.
    pub token_expires_at: Timestamp,
}

/// One agent's request and everything that became of it.
///
/// It is kept in two parts, which [`Intent::course`] and [`Intent::of_parts`] take apart and put together: what it permits
/// is written once, what becomes of it with every use.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// What was asked for. Shared by every version of the intent: it never changes.
    asked: Arc<Grant>,
    /// What of it an approver has left, which is all of it as a rule.
    grant: Arc<Grant>,
    course: Course,
}

/// What has become of an intent so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    state: State,
    state_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    justification: Option<Justification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    appeal: Option<Appeal>,
    ruling: Ruling,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shadow: Option<Ruling>,
    created_at: Timestamp,
    changed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approvals: Vec<Approval>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    objections: Vec<Objection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    less: Option<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    narrowed: Vec<Narrowed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved_at: Option<Timestamp>,
    uses_left: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    uses: Vec<RedeemedUse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    denial: Option<Denial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_for: Option<EndReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Justification>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    delegators_served: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "CapsInForce::is_empty")]
    caps: CapsInForce,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    review: Option<Review>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    post_check: Option<PostCheck>,
}

/// Within this module an intent's course reads like its own members.
impl Deref for Intent {
    type Target = Course;

    fn deref(&self) -> &Course {
        &self.course
    }
}

impl DerefMut for Intent {
    fn deref_mut(&mut self) -> &mut Course {
        &mut self.course
    }
}

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

    /// What has become of it.
    #[must_use]
    pub const fn course(&self) -> &Course {
        &self.course
    }

    /// What was asked for, to be shared with another version of it.
    #[must_use]
    pub const fn shared_grant(&self) -> &Arc<Grant> {
        &self.asked
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &IntentId {
        &self.grant.intent_id
    }

    /// The only agent that may use it.
    #[must_use]
    pub fn agent(&self) -> &SpiffeId {
        &self.grant.agent
    }

    /// Where it stands, as last stored; a clock may have run out since ([`Self::expire_if_due`]).
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Rises by one with every transition; a store writes only over the version that it read.
    #[must_use]
    pub fn state_version(&self) -> u64 {
        self.state_version
    }

    /// What it permits.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What the agent says about it; untrusted.
    #[must_use]
    pub fn justification(&self) -> Option<&Justification> {
        self.justification.as_ref()
    }

    /// Says whom the client asks for an approval.
    #[must_use]
    pub fn with_appeal(self, appeal: Option<Appeal>) -> Self {
        let Self { asked, grant, course } = self;
        Self { asked, grant, course: Course { appeal, ..course } }
    }

    /// Says how many grants may be open at once.
    #[must_use]
    pub fn with_caps(self, caps: CapsInForce) -> Self {
        let Self { asked, grant, course } = self;
        Self { asked, grant, course: Course { caps, ..course } }
    }

    /// How many grants may be open at once, as it was when this one was asked for.
    #[must_use]
    pub fn caps(&self) -> &CapsInForce {
        &self.caps
    }

    /// The persons on whose behalf tokens of it were given.
    pub fn delegators_served(&self) -> impl Iterator<Item = &str> {
        self.delegators_served.iter().map(String::as_str)
    }

    /// The same refused intent with the refusal as the agent is told it: with what is left of its budget, and by what it is
    /// found. Nothing of an intent that is not denied changes.
    #[must_use]
    pub fn refused_as(mut self, denial: Denial) -> Self {
        if self.state == State::Denied {
            self.course.denial = Some(denial);
        }
        self
    }

    /// Whom the client asks for an approval, if it says so; untrusted.
    #[must_use]
    pub fn appeal(&self) -> Option<&Appeal> {
        self.appeal.as_ref()
    }

    /// What policy said.
    #[must_use]
    pub fn ruling(&self) -> &Ruling {
        &self.ruling
    }

    /// Why policy said so, in its own words.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// What policy said where that is not enforced: the playbook is observed, and the request would have been refused.
    #[must_use]
    pub fn shadow(&self) -> Option<&Ruling> {
        self.shadow.as_ref()
    }

    /// When it was asked for.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it last changed.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        self.changed_at
    }

    /// The approvals so far.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// How many more different approvers it needs at least; zero unless it is pending.
    #[must_use]
    pub fn approvals_missing(&self) -> u32 {
        self.awaited().map_or(0, |plan| plan.missing(&self.approvals))
    }

    /// The level of its plan at which it waits, from 0; `None` unless it is pending.
    #[must_use]
    pub fn open_level(&self) -> Option<usize> {
        self.awaited()?.open_level(&self.approvals)
    }

    /// What approvers took away, the oldest first.
    #[must_use]
    pub fn narrowed(&self) -> &[Narrowed] {
        &self.narrowed
    }

    /// The refusals so far, of which none was final unless it is denied.
    #[must_use]
    pub fn objections(&self) -> &[Objection] {
        &self.objections
    }

    fn awaited(&self) -> Option<&ApprovalPlan> {
        self.grant.approval.as_ref().filter(|_| self.state == State::Pending)
    }

    /// When it was approved, if it was.
    #[must_use]
    pub fn approved_at(&self) -> Option<Timestamp> {
        self.approved_at
    }

    /// How many uses are left.
    #[must_use]
    pub fn uses_left(&self) -> u32 {
        self.uses_left
    }

    /// The uses that were redeemed.
    #[must_use]
    pub fn uses(&self) -> &[RedeemedUse] {
        &self.uses
    }

    /// Why it was denied, if it was.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        self.denial.as_ref()
    }

    /// Who ended it, if somebody did.
    #[must_use]
    pub fn ended_by(&self) -> Option<&str> {
        self.ended_by.as_deref()
    }

    /// Why it was ended, in a person's words.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Why it ended, if it expired, was revoked or was closed without a report. An intent that ended before reasons were
    /// kept has none.
    #[must_use]
    pub fn ended_for(&self) -> Option<EndReason> {
        self.ended_for
    }

    /// Whether it was used, has ended, and its agent never said how it went.
    #[must_use]
    pub fn is_unreported(&self) -> bool {
        self.state.is_terminal() && self.state != State::Completed && !self.uses.is_empty()
    }

    /// What the agent says about how it went; untrusted.
    #[must_use]
    pub fn report(&self) -> Option<&Justification> {
        self.report.as_ref()
    }

    /// Whether what its agent writes is sealed beside the log.
    fn is_sealed(&self) -> bool {
        self.grant.conditions.provisions.logging.prompt == PromptKept::Sealed
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
