//! An intent and what has become of it, to be read.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use jiff::Timestamp;
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use super::{EndReason, Narrowed, Outcome, Review, State};
use crate::appeal::Appeal;
use crate::approval::{Approval, ApprovalPlan, Objection};
use crate::denial::Denial;
use crate::grant::Grant;
use crate::id::IntentId;
use crate::open::CapsInForce;
use crate::post_check::PostCheck;
use crate::provisions::PromptKept;
use crate::ruling::Ruling;
use crate::text::{Justification, Reason};

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
    pub(super) asked: Arc<Grant>,
    /// What of it an approver has left, which is all of it as a rule.
    pub(super) grant: Arc<Grant>,
    pub(super) course: Course,
}

/// What has become of an intent so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    pub(super) state: State,
    pub(super) state_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) justification: Option<Justification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) appeal: Option<Appeal>,
    pub(super) ruling: Ruling,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shadow: Option<Ruling>,
    pub(super) created_at: Timestamp,
    pub(super) changed_at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) approvals: Vec<Approval>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) objections: Vec<Objection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) less: Option<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) narrowed: Vec<Narrowed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) approved_at: Option<Timestamp>,
    pub(super) uses_left: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) uses: Vec<RedeemedUse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) denial: Option<Denial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_for: Option<EndReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) heard_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<Justification>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) delegators_served: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "CapsInForce::is_empty")]
    pub(super) caps: CapsInForce,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) review: Option<Review>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) post_check: Option<PostCheck>,
}

/// Within the room an intent's course reads like its own members.
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

    pub(super) fn awaited(&self) -> Option<&ApprovalPlan> {
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
    pub(super) fn is_sealed(&self) -> bool {
        self.grant.conditions.provisions.logging.prompt == PromptKept::Sealed
    }
}
