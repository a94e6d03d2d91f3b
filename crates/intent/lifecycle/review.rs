//! Break-glass afterwards: how soon the next one may be, and what somebody else than the responder found (M 52).

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use serde::{Deserialize, Serialize};

use super::{Intent, State, plus};
use crate::approval::{Approver, Decider};
use crate::denial::{Denial, DenialCode};
use crate::text::Reason;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What was found about a break-glass grant after its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who looked; never one who approved it.
    pub by: Approver,
    /// When.
    pub at: Timestamp,
    /// What they found.
    pub finding: Reason,
}

impl Intent {
    /// What was found afterwards, if this is a break-glass grant that somebody looked at.
    #[must_use]
    pub fn review(&self) -> Option<&Review> {
        self.review.as_ref()
    }

    /// Records the review of a break-glass grant that is over. The same person's same words again change nothing.
    ///
    /// # Errors
    /// It is none, nobody broke the glass, it is still in force, it was reviewed before, or whoever reviews approved it.
    pub fn reviewed(
        &self,
        by: &Decider,
        finding: &Reason,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        let refuse = |detail: &str| Err(Denial::new(DenialCode::InvalidRequest, detail));
        if self.grant.emergency.is_none() {
            return refuse("it is no break-glass grant");
        }
        if self.approved_at.is_none() {
            return refuse("nobody approved it: there is nothing to review");
        }
        if self.approvals.iter().any(|approval| approval.decider().is(by)) {
            let detail = format!("{} approved it, and somebody else reviews it", by.approver);
            return Err(Denial::new(DenialCode::SelfApprovalForbidden, detail));
        }
        match &self.review {
            Some(earlier) if earlier.by.is(&by.approver) && earlier.finding == *finding => {
                return Ok((self.clone(), Vec::new()));
            }
            Some(_) => return refuse("it was reviewed before"),
            None => {}
        }
        if self.ended_code(now).is_none() {
            return refuse("it is still in force; wait for its end, or revoke it");
        }
        let mut next = self.step(self.state, now);
        // When it ended is what the cooldown counts from.
        next.changed_at = self.changed_at;
        next.review = Some(Review { by: by.approver.clone(), at: now, finding: finding.clone() });
        let event = next
            .event(EventKind::BreakGlassReviewed, now)
            .with_actor(by.approver.to_string())
            .with_detail("finding", finding.as_str());
        Ok((next, vec![event]))
    }

    /// Why this break-glass request comes too soon after `earlier` ones, if it does: an emergency that goes on is no
    /// emergency any more (M 52). Those of other agents and playbooks, and those that nobody approved, do not count.
    #[must_use]
    pub fn too_soon_after<'a>(
        &self,
        earlier: impl Iterator<Item = &'a Self>,
        now: Timestamp,
    ) -> Option<Denial> {
        let emergency = self.grant.emergency.as_ref()?;
        let counts = |other: &&'a Self| {
            other.agent() == self.agent()
                && other.grant.playbook.id == self.grant.playbook.id
                && other.id() != self.id()
                && (other.approved_at.is_some()
                    || (other.state == State::Pending && other.ended_code(now).is_none()))
        };
        let mut today = 0;
        for other in earlier.filter(counts) {
            if other.ended_code(now).is_none() {
                let detail = format!("`{}` is open already", other.id());
                return Some(Denial::new(DenialCode::ConcurrentGrantLimit, detail));
            }
            let due = other.expires_at().filter(|end| now >= *end);
            let end = due.unwrap_or(other.changed_at);
            if now < plus(end, emergency.cooldown) {
                let detail = format!("`{}` ended less than the cooldown ago", other.id());
                return Some(Denial::new(DenialCode::RateLimited, detail));
            }
            today += u32::from(now < plus(other.created_at, DAY));
        }
        (today >= emergency.max_per_day).then(|| {
            let detail =
                format!("{today} in 24 hours: this is no emergency, but a missing playbook");
            Denial::new(DenialCode::RateLimited, detail)
        })
    }
}

/// The break-glass record of what happened to an intent, if it is a break-glass grant's: a stream of its own beside the
/// usual events, whichever transition wrote them.
#[must_use]
pub fn break_glass_event(event: &Event) -> Option<Event> {
    let break_glass = event.detail.get(super::events::BREAK_GLASS)?;
    let kind = match event.kind {
        EventKind::IntentRequested => EventKind::BreakGlassRequested,
        EventKind::IntentApproved => EventKind::BreakGlassActivated,
        EventKind::TokenIssued => EventKind::BreakGlassUsed,
        EventKind::IntentDenied
        | EventKind::IntentCancelled
        | EventKind::IntentCompleted
        | EventKind::IntentExpired
        | EventKind::IntentClosedUnreported
        | EventKind::IntentRevoked => EventKind::BreakGlassEnded,
        _ => return None,
    };
    let mut told = event.clone();
    told.kind = kind;
    told.policy = None;
    told.detail.retain(|name, _| {
        const TOLD: [&str; 9] = [
            "title",
            "owner",
            "resources",
            "approvers",
            "approved",
            "reason",
            "outcome",
            "reported_outcome",
            "post_check",
        ];
        TOLD.contains(&name.as_str())
    });
    Some(
        told.with_detail("cause", event.kind.as_str())
            .with_detail(super::events::BREAK_GLASS, break_glass.clone()),
    )
}

#[cfg(test)]
mod tests;
