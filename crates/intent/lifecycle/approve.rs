//! What approvers say of a pending intent, and what comes of it.

use jiff::Timestamp;
use marque_audit::{Event, EventKind};

use super::{Intent, State};
use crate::approval::{Approval, ApprovalPlan, Decider, Objection};
use crate::denial::{Denial, DenialCode};
use crate::text::Reason;

impl Intent {
    /// Records an approval at the level that is open; the last one that is needed approves the intent. The same person's
    /// second word for the same digest changes nothing, in whatever state: it counts at one level alone.
    ///
    /// # Errors
    /// The digest is another one, the approver is not eligible, or the intent is not pending.
    pub fn approve(
        &self,
        approval: &Approval,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        if approval.digest() != self.grant.digest() {
            let detail =
                format!("approved {}, the grant is {}", approval.digest(), self.grant.digest());
            return Err(Denial::new(DenialCode::ApprovalDigestMismatch, detail));
        }
        let decider = approval.decider();
        if self.approvals.iter().any(|earlier| earlier.decider().is(&decider)) {
            return Ok((self.clone(), Vec::new()));
        }
        self.still_open(now)?;
        self.clock_is_safe(now)?;
        let (_, level) = self.waits_for()?;
        self.may_approve_now(&decider, level, now)?;
        self.has_not_refused(&decider)?;
        Ok(self.counting(approval, level, now))
    }

    /// Whether somebody may approve it at a level, all of it or less: by its plan, and as one of its responders where it is an
    /// emergency (M 51).
    ///
    /// # Errors
    /// The intent is not pending, or the person may not.
    pub fn may_approve_now(
        &self,
        decider: &Decider,
        level: usize,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let (plan, _) = self.waits_for()?;
        if self.grant.emergency.as_ref().is_some_and(|it| !it.is_answered_by(decider)) {
            let detail = format!("{} is none of the emergency's responders", decider.approver);
            return Err(Denial::new(DenialCode::ApproverNotEligible, detail));
        }
        plan.admits(level, decider, now)
    }

    /// Counts an approval at a level; the last one that is needed approves the intent.
    pub(super) fn counting(
        &self,
        approval: &Approval,
        level: usize,
        now: Timestamp,
    ) -> (Self, Vec<Event>) {
        let mut next = self.step(State::Pending, now);
        next.approvals.push(approval.clone().at_level(level));
        let recorded = next.event(EventKind::ApprovalRecorded, now);
        let mut recorded =
            next.told(recorded, &approval.decider(), level).with_detail("decision", "approve");
        if let Some(took) = approval.took_ms() {
            recorded = recorded.with_detail("took_ms", took);
        }
        let mut events = vec![recorded];
        if next.open_level().is_none() {
            next.state = State::Approved;
            next.approved_at = Some(now);
            events.push(next.state_event(now));
        }
        (next, events)
    }

    /// Records a refusal of a pending intent, which ends it once the plan says that enough refused. Whoever approved
    /// before and refuses now has not approved. The same person's second refusal changes nothing.
    ///
    /// # Errors
    /// The intent is not pending (an approved one is revoked instead), or the person is in none of its approver groups.
    pub fn deny(
        &self,
        decider: &Decider,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        self.still_open(now)?;
        if self.state != State::Pending {
            return Err(Denial::new(
                DenialCode::InvalidRequest,
                "the intent is approved; revoke it instead",
            ));
        }
        let (plan, level) = self.waits_for()?;
        plan.hears(decider)?;
        if self.objections.iter().any(|earlier| earlier.decider.is(decider)) {
            return Ok((self.clone(), Vec::new()));
        }
        let mut next = self.step(State::Pending, now);
        next.approvals.retain(|approval| !approval.decider().is(decider));
        let digest = *self.grant.digest();
        next.objections.push(Objection {
            decider: decider.clone(),
            reason: reason.clone(),
            digest,
            at: now,
        });
        let recorded = next.event(EventKind::ApprovalObjected, now);
        let recorded = next.told(recorded, decider, level).with_detail("reason", reason.as_str());
        let mut events = vec![recorded.with_detail("decision", "deny")];
        if plan.is_refused(&next.objections) {
            let approver = &decider.approver;
            next.state = State::Denied;
            next.denial =
                Some(Denial::new(DenialCode::ApprovalDenied, format!("refused by {approver}")));
            next.ended_by = Some(approver.to_string());
            next.reason = Some(reason);
            events.push(next.state_event(now));
        }
        Ok((next, events))
    }

    /// The plan and its level that is open.
    pub(super) fn waits_for(&self) -> Result<(&ApprovalPlan, usize), Denial> {
        let waits = self.awaited().and_then(|plan| Some((plan, plan.open_level(&self.approvals)?)));
        waits.ok_or_else(|| {
            let detail = "the intent is approved and needs no further approval";
            Denial::new(DenialCode::InvalidRequest, detail)
        })
    }

    /// A refusal stands: nobody takes it back by approving the same.
    pub(super) fn has_not_refused(&self, decider: &Decider) -> Result<(), Denial> {
        let own = self.grant.digest();
        let mut refused = self.objections.iter().filter(|one| &one.digest == own);
        if refused.any(|one| one.decider.is(decider)) {
            let detail = format!("{} has refused exactly this", decider.approver);
            return Err(Denial::new(DenialCode::ApproverNotEligible, detail));
        }
        Ok(())
    }

    /// The event with who decided, how they had logged in, what they used and at which level.
    pub(super) fn told(&self, event: Event, decider: &Decider, level: usize) -> Event {
        let groups: Vec<&str> = decider.groups.iter().map(|group| group.as_str()).collect();
        let mut event = event
            .with_actor(decider.approver.to_string())
            .with_detail("level", level + 1)
            .with_detail("groups", groups);
        if let Some(mfa) = &decider.mfa {
            event = event.with_detail("mfa", mfa.told()).with_detail("mfa_at", mfa.at.to_string());
        }
        if let Some(client) = &decider.client {
            event = event.with_detail("client", client.clone());
        }
        event
    }
}
