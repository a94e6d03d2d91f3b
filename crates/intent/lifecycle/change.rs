//! The transitions that agents and operators ask for, save the use itself; what approvers say is in [`super::approve`].

use std::sync::Arc;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use super::{EndReason, Intent, Narrowing, Outcome, State, plus};
use crate::approval::{Approval, Decider};
use crate::denial::{Denial, DenialCode};
use crate::grant::Grant;
use crate::post_check::PostCheck;
use crate::ruling::Ruling;
use crate::text::{Justification, Reason};

/// One change that somebody asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum IntentChange {
    /// An approver approves a digest.
    Approve {
        /// Who, and what exactly.
        approval: Approval,
    },
    /// An approver approves less than the digest that they were shown.
    ApproveLess {
        /// Who, and what they were shown.
        approval: Approval,
        /// What they take away.
        less: Narrowing,
    },
    /// An approver refuses.
    Deny {
        /// Who.
        decider: Decider,
        /// Why.
        reason: Reason,
    },
    /// The agent withdraws.
    Cancel {
        /// The caller, who must be the intent's agent, or the one that asked for it on the other's behalf.
        by: SpiffeId,
    },
    /// The agent reports the outcome.
    Complete {
        /// The caller, who must be the intent's agent.
        by: SpiffeId,
        /// How it went.
        outcome: Outcome,
        /// What it says about it; untrusted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Justification>,
    },
    /// An operator ends it.
    Revoke {
        /// Who.
        actor: String,
        /// Why.
        reason: Reason,
    },
    /// What it hung on ended, or the rules under which it was given changed.
    End {
        /// Which of these.
        why: EndReason,
        /// What is answered from then on if it is still pending and is taken away.
        code: DenialCode,
        /// Who found out.
        by: String,
        /// What exactly, for people.
        reason: Option<Reason>,
    },
    /// What it would permit has changed: whoever approves it begins anew.
    Repin {
        /// What it permits now.
        grant: Box<Grant>,
        /// What policy says of that.
        ruling: Ruling,
    },
    /// Its agent, or somebody who was shown a token of it, was heard of.
    Heard {
        /// The agent, if it says so itself: then it must be the intent's own.
        by: Option<SpiffeId>,
    },
    /// Somebody looked at a break-glass grant after its end.
    Review {
        /// Who.
        by: Decider,
        /// What they found.
        finding: Reason,
    },
    /// What its agent wrote is taken away, after its end.
    Erase {
        /// Who.
        actor: String,
        /// Why.
        reason: Reason,
    },
    /// Whoever was asked whether the reported work was done has said so, or gave no answer.
    PostCheck {
        /// What was said.
        said: PostCheck,
    },
    /// A clock may have run out.
    Expire,
}

/// An intent that has an idle clock is written again when it is heard of only after this part of it, so that a busy
/// grant costs a bounded number of writes.
const HEARD_EVERY: u32 = 4;

impl Intent {
    /// Applies one change. No event means that nothing changed and nothing is to be stored: an agent whose answer was
    /// lost says the same again and is told the same. A clock that is due is
    /// looked at first, whatever the change; the store keeps that expiry ([`Intent::expire_if_due`]).
    ///
    /// # Errors
    /// The change is not allowed in this state, to this caller, or for this digest.
    pub fn apply(
        &self,
        change: &IntentChange,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        if self.is_already(change) {
            return Ok((self.clone(), Vec::new()));
        }
        let one = |(intent, event): (Self, Event)| (intent, vec![event]);
        match change {
            IntentChange::Approve { approval } => self.approve(approval, now),
            IntentChange::ApproveLess { approval, less } => self.approve_less(approval, less, now),
            IntentChange::Deny { decider, reason } => self.deny(decider, reason.clone(), now),
            IntentChange::Cancel { by } => self.cancel(by, now).map(one),
            IntentChange::Complete { by, outcome, report } => {
                self.complete_with(by, *outcome, report.clone(), now).map(one)
            }
            IntentChange::Revoke { actor, reason } => {
                self.revoke(actor, reason.clone(), now).map(one)
            }
            IntentChange::End { why, code, by, reason } => {
                Ok(self.end_for(*why, *code, by, reason.clone(), now))
            }
            IntentChange::Repin { grant, ruling } => Ok(self
                .repinned(grant, ruling, now)
                .map_or_else(|| (self.clone(), Vec::new()), one)),
            IntentChange::Heard { by } => self.heard(by.as_ref(), now),
            IntentChange::Review { by, finding } => self.reviewed(by, finding, now),
            IntentChange::Erase { actor, reason } => self.erased(actor, reason, now),
            IntentChange::PostCheck { said } => self.post_checked(*said, now),
            IntentChange::Expire => {
                Ok(self.expire_if_due(now).map_or_else(|| (self.clone(), Vec::new()), one))
            }
        }
    }

    /// Ends an open intent because of something outside it. One that has ended stays what it is.
    ///
    /// What is taken away is revoked, or denied where nobody has approved it yet; what only runs out is expired, or closed
    /// without a report where every use is spent.
    #[must_use]
    pub fn end_for(
        &self,
        why: EndReason,
        code: DenialCode,
        by: &str,
        reason: Option<Reason>,
        now: Timestamp,
    ) -> (Self, Vec<Event>) {
        if self.state.is_terminal() {
            return (self.clone(), Vec::new());
        }
        if let Some((expired, event)) = self.expire_if_due(now) {
            return (expired, vec![event]);
        }
        let (mut next, _) = match (why.revokes(), self.state) {
            (true, State::Pending) => self.end(State::Denied, by, now),
            (true, _) => self.end(State::Revoked, by, now),
            (false, _) => self.run_out(why, now),
        };
        next.ended_by = Some(by.to_owned());
        next.ended_for = Some(why);
        next.reason = reason;
        if next.state == State::Denied {
            next.denial = Some(Denial::new(code, why.as_str()));
        }
        let event = next.state_event(now);
        (next, vec![event])
    }

    /// A pending intent with another grant: every approval so far was of another digest, and none is left, nor what an
    /// approver took away from the earlier grant. Its clock runs on from when it was asked for. Nothing for an intent that is not pending, or for a grant of another one.
    #[must_use]
    pub fn repinned(
        &self,
        grant: &Grant,
        ruling: &Ruling,
        now: Timestamp,
    ) -> Option<(Self, Event)> {
        let own = grant.intent_id == *self.id() && grant.agent == *self.agent();
        if !own || self.state != State::Pending || self.is_due(now) {
            return None;
        }
        let mut next = self.step(State::Pending, now);
        next.grant = Arc::new(grant.clone());
        next.asked = Arc::clone(&next.grant);
        next.less = None;
        next.approvals.clear();
        next.ruling = ruling.clone();
        next.uses_left = grant.uses;
        let event =
            next.state_event(now).with_detail("changed_from", self.grant.digest().to_string());
        Some((next, event))
    }

    /// Puts off the idle clock, if there is one and a good part of it has run.
    ///
    /// # Errors
    /// Another agent says so, or the intent has ended.
    pub fn heard(
        &self,
        by: Option<&SpiffeId>,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        by.map(|by| self.is_own(by)).transpose()?;
        self.may_end(now)?;
        self.clock_is_safe(now)?;
        if !self.is_worth_hearing(now) {
            return Ok((self.clone(), Vec::new()));
        }
        let mut next = self.step(self.state, now);
        next.heard_at = Some(now);
        let event = next.event(EventKind::IntentHeard, now);
        let event = match by {
            Some(by) => event.with_actor(by.as_str()),
            None => event,
        };
        Ok((next, vec![event]))
    }

    /// Whether it has an idle clock of which so much has run that somebody should write down that it was heard of.
    #[must_use]
    pub fn is_worth_hearing(&self, now: Timestamp) -> bool {
        match (self.grant.conditions.ends.idle_timeout, self.heard_at()) {
            (Some(idle), Some(heard)) => now >= plus(heard, idle / HEARD_EVERY),
            _ => false,
        }
    }

    /// Withdraws an intent of which nothing was used.
    ///
    /// # Errors
    /// The caller is another agent, the intent has ended, or a use was redeemed: then it is completed instead.
    pub fn cancel(&self, by: &SpiffeId, now: Timestamp) -> Result<(Self, Event), Denial> {
        if !self.is_known_to(by) {
            self.is_own(by)?;
        }
        self.still_open(now)?;
        if !self.uses.is_empty() {
            let detail = "a use was redeemed; report the outcome instead";
            return Err(Denial::new(DenialCode::InvalidRequest, detail));
        }
        Ok(self.end(State::Cancelled, by.as_str(), now))
    }

    /// Ends an intent with the agent's report; its tokens end with it.
    ///
    /// # Errors
    /// The caller is another agent, the intent has ended, or no use was redeemed: then it is cancelled instead.
    pub fn complete(
        &self,
        by: &SpiffeId,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<(Self, Event), Denial> {
        self.complete_with(by, outcome, None, now)
    }

    /// As [`Self::complete`], with what the agent says about it.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub fn complete_with(
        &self,
        by: &SpiffeId,
        outcome: Outcome,
        report: Option<Justification>,
        now: Timestamp,
    ) -> Result<(Self, Event), Denial> {
        self.is_own(by)?;
        self.may_end(now)?;
        if self.uses.is_empty() {
            return Err(Denial::new(
                DenialCode::GrantNotStarted,
                "no use was redeemed; cancel it instead",
            ));
        }
        let (mut next, _) = self.end(State::Completed, by.as_str(), now);
        next.outcome = Some(outcome);
        next.report = report.filter(|_| !self.is_sealed());
        let checked = self.grant.conditions.provisions.post_check.is_some();
        next.post_check = checked.then_some(PostCheck::Pending);
        let event = next.state_event(now);
        Ok((next, event))
    }

    /// Ends an approved or consumed intent; its tokens end with it.
    ///
    /// # Errors
    /// The intent has ended, or is still pending: then it is denied instead.
    pub fn revoke(
        &self,
        actor: &str,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(Self, Event), Denial> {
        self.may_end(now)?;
        if self.state == State::Pending {
            return Err(Denial::new(
                DenialCode::ApprovalPending,
                "the intent is pending; deny it instead",
            ));
        }
        let (mut next, _) = self.end(State::Revoked, actor, now);
        next.ended_for = Some(EndReason::Operator);
        next.reason = Some(reason);
        let event = next.state_event(now);
        Ok((next, event))
    }

    /// Whether the intent's own agent ended it by this very change before.
    fn is_already(&self, change: &IntentChange) -> bool {
        match change {
            IntentChange::Cancel { by } => self.state == State::Cancelled && self.is_known_to(by),
            IntentChange::Complete { by, outcome, report } => {
                self.state == State::Completed
                    && self.outcome == Some(*outcome)
                    && (self.is_sealed() || self.report == *report)
                    && by == self.agent()
            }
            IntentChange::Approve { .. }
            | IntentChange::ApproveLess { .. }
            | IntentChange::Deny { .. }
            | IntentChange::Revoke { .. }
            | IntentChange::End { .. }
            | IntentChange::Repin { .. }
            | IntentChange::Heard { .. }
            | IntentChange::Review { .. }
            | IntentChange::Erase { .. }
            | IntentChange::PostCheck { .. }
            | IntentChange::Expire => false,
        }
    }

    fn end(&self, state: State, by: &str, now: Timestamp) -> (Self, Event) {
        let mut next = self.step(state, now);
        next.ended_by = Some(by.to_owned());
        let event = next.state_event(now);
        (next, event)
    }

    /// Whether an agent may look at it, and withdraw it before any use: its own, and the one that asked for it on the other's
    /// behalf.
    #[must_use]
    pub fn is_known_to(&self, agent: &SpiffeId) -> bool {
        let asker = self.grant.parent.as_ref().map(|parent| &parent.agent);
        agent == self.agent() || asker == Some(agent)
    }

    /// Only the intent's own agent; an edge answers a stranger as if the intent did not exist.
    pub(super) fn is_own(&self, by: &SpiffeId) -> Result<(), Denial> {
        if by == self.agent() {
            return Ok(());
        }
        let detail = format!("the intent belongs to `{}`, not to `{by}`", self.agent());
        Err(Denial::new(DenialCode::AgentNotAllowed, detail))
    }
}
