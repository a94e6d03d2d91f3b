//! Approving less than was asked for: the same intent with a smaller grant, and so with another digest (specs/intents.md 3).
//!
//! Whoever approved the wider grant approved that digest and no other: those approvals stay on record and count no more,
//! and the plan begins again. Refusals stand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use serde::{Deserialize, Serialize};

use super::{Intent, State};
use crate::approval::{Approval, Approver};
use crate::denial::{Denial, DenialCode};
use crate::digest::Digest;
use crate::grant::{Grant, GrantTerms, Scope};
use crate::rights::{Rights, ToolId, Wanted, WantedTool};

/// What an approver takes away. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Narrowing {
    /// So many uses in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// So long after the first use everything ends, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_s: Option<u64>,
    /// So long after the approval the first use may be, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_within_s: Option<u64>,
    /// Not these scopes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub without_scopes: BTreeSet<Scope>,
    /// Not these tools.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub without_tools: BTreeSet<ToolId>,
}

/// That an approver took something away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowed {
    /// Who.
    pub by: Approver,
    /// The digest that they were shown.
    pub from: Digest,
    /// The digest of what is left.
    pub to: Digest,
    /// When.
    pub at: Timestamp,
    /// The approvals of the wider grant, which count no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

impl Intent {
    /// Approves less than was asked for, by an approver who could approve all of it now. Their approval counts for what is
    /// left if it would count at the first level, where the plan begins again. The same once more changes nothing.
    ///
    /// # Errors
    /// As [`Intent::approve`], with the digest that the approver was shown; nothing is taken away, or something would be
    /// added ([`DenialCode::ExceedsParentScope`]).
    pub fn approve_less(
        &self,
        approval: &Approval,
        less: &Narrowing,
        now: Timestamp,
    ) -> Result<(Self, Vec<Event>), Denial> {
        if self.has_narrowed(approval, less)? {
            return Ok((self.clone(), Vec::new()));
        }
        if approval.digest() != self.grant.digest() {
            let detail =
                format!("narrowed {}, the grant is {}", approval.digest(), self.grant.digest());
            return Err(Denial::new(DenialCode::ApprovalDigestMismatch, detail));
        }
        self.still_open(now)?;
        self.clock_is_safe(now)?;
        let (_, level) = self.waits_for()?;
        let decider = approval.decider();
        self.may_approve_now(&decider, level, now)?;
        let grant = self.grant.narrowed(less)?;
        let to = *grant.digest();
        let mut next = self.step(State::Pending, now);
        let superseded = std::mem::take(&mut next.approvals);
        next.narrowed.push(Narrowed {
            by: approval.approver().clone(),
            from: *self.grant.digest(),
            to,
            at: now,
            approvals: superseded,
        });
        next.uses_left = grant.uses;
        next.less = Some(grant.clone());
        next.grant = Arc::new(grant);
        let event = next.event(EventKind::ApprovalNarrowed, now);
        let event = next.told(event, &decider, level);
        let mut events = vec![
            event
                .with_detail("narrowed_from", self.grant.digest().to_string())
                .with_detail("taken_away", serde_json::to_value(less).unwrap_or_default())
                .with_uses_left(next.uses_left),
        ];
        if next.may_approve_now(&decider, 0, now).is_ok() && next.has_not_refused(&decider).is_ok()
        {
            let (mut approved, more) = next.counting(&approval.clone().of(to), 0, now);
            approved.state_version = next.state_version;
            next = approved;
            events.extend(more);
        }
        Ok((next, events))
    }

    /// Whether the same person took away the same before, and the answer was lost.
    fn has_narrowed(&self, approval: &Approval, less: &Narrowing) -> Result<bool, Denial> {
        let Some(last) = self.narrowed.last() else { return Ok(false) };
        let same = last.by.is(approval.approver()) && last.from == *approval.digest();
        if !same || last.to != *self.grant.digest() {
            return Ok(false);
        }
        // The grant before the last narrowing is kept only where that was the one that was asked for.
        if *self.asked.digest() != last.from {
            return Ok(false);
        }
        Ok(self.asked.narrowed(less)?.digest() == self.grant.digest())
    }
}

impl Grant {
    /// The grant without what is taken away: its rights by the one comparison that there is, its clocks beside them.
    ///
    /// # Errors
    /// Nothing is taken away, nothing would be left, or something would be added.
    pub fn narrowed(&self, less: &Narrowing) -> Result<Self, Denial> {
        let rights =
            Rights::of(self).narrowed(&self.wanted(less)?).map_err(|wide| wide.denial())?;
        let shorter = |own: Duration, wanted: Option<u64>, what: &str| {
            let wanted = wanted.map_or(own, Duration::from_secs);
            if wanted > own || wanted.is_zero() {
                let detail = format!("`{what}` would be longer, or nothing");
                return Err(Denial::new(DenialCode::ExceedsParentScope, detail));
            }
            Ok(wanted)
        };
        let max_duration = shorter(self.max_duration, less.max_duration_s, "max_duration")?;
        let start_within = shorter(self.start_within, less.start_within_s, "start_within")?;
        let terms = GrantTerms {
            scopes: self
                .scopes
                .iter()
                .filter(|one| rights.scopes.contains(*one))
                .cloned()
                .collect(),
            tools: rights.tools,
            uses: rights.uses,
            max_duration,
            start_within,
            token_lifetime: self.token_lifetime.min(max_duration),
            ..self.terms().clone()
        };
        if &terms == self.terms() {
            let detail = "nothing would be taken away; approve it as it is";
            return Err(Denial::new(DenialCode::InvalidRequest, detail));
        }
        Self::seal(terms)
            .map_err(|error| Denial::new(DenialCode::InvalidRequest, error.to_string()))
    }

    fn wanted(&self, less: &Narrowing) -> Result<Wanted, Denial> {
        let nothing_left = |what: &str| {
            let detail = format!("no {what} would be left; deny it instead");
            Denial::new(DenialCode::InvalidRequest, detail)
        };
        let unknown = |what: &dyn std::fmt::Display| {
            Denial::new(DenialCode::InvalidRequest, format!("the grant has no `{what}`"))
        };
        let mut wanted = Wanted { uses: less.uses, ..Wanted::default() };
        if let Some(scope) = less.without_scopes.iter().find(|one| !self.scopes.contains(one)) {
            return Err(unknown(scope));
        }
        if !less.without_scopes.is_empty() {
            let left: BTreeSet<Scope> = self
                .scopes
                .iter()
                .filter(|one| !less.without_scopes.contains(one))
                .cloned()
                .collect();
            wanted.scopes = Some(left).filter(|left| !left.is_empty());
            wanted.scopes.as_ref().ok_or_else(|| nothing_left("scope"))?;
        }
        if let Some(tool) = less.without_tools.iter().find(|one| !self.tools.contains_key(one)) {
            return Err(unknown(tool));
        }
        if !less.without_tools.is_empty() {
            let left = self.tools.keys().filter(|one| !less.without_tools.contains(one));
            let left: std::collections::BTreeMap<ToolId, WantedTool> =
                left.map(|one| (one.clone(), WantedTool::default())).collect();
            wanted.tools = Some(left).filter(|left| !left.is_empty());
            wanted.tools.as_ref().ok_or_else(|| nothing_left("tool"))?;
        }
        if less.uses == Some(0) {
            return Err(nothing_left("use"));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::{ApprovalLevel, ApprovalPlan, Decider};
    use crate::fixtures::{ask, at, grant, operator, review};
    use crate::text::Reason;

    /// A pending intent of two uses, with these levels: each one approval of that group.
    fn pending(levels: &[&str]) -> Intent {
        let level = |group: &&str| -> ApprovalLevel {
            serde_json::from_value(serde_json::json!({"any": [{"approve": 1, "groups": [group]}]}))
                .unwrap()
        };
        let plan = ApprovalPlan::new(levels.iter().map(level).collect()).unwrap();
        let terms = GrantTerms { uses: 2, approval: Some(plan), ..grant().terms().clone() };
        Intent::open(Grant::seal(terms).unwrap(), None, ask(), at(0)).0
    }

    fn of(intent: &Intent, uid: u32, group: &str) -> Approval {
        let decider =
            Decider { groups: [group.parse().unwrap()].into(), ..Decider::from(operator(uid)) };
        Approval::by(decider, *intent.grant().digest(), at(1))
    }

    fn once() -> Narrowing {
        Narrowing { uses: Some(1), max_duration_s: Some(300), ..Narrowing::default() }
    }

    #[test]
    fn approving_less_gives_another_digest_that_the_approval_is_for() {
        let asked = pending(&["sre"]);
        let approval = of(&asked, 1, "sre");
        let (less, events) = asked.approve_less(&approval, &once(), at(1)).unwrap();
        assert_eq!((less.state(), less.uses_left(), less.grant().uses), (State::Approved, 1, 1));
        assert_ne!(less.grant().digest(), asked.grant().digest());
        assert_eq!(less.approvals()[0].digest(), less.grant().digest());
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        let expected =
            [EventKind::ApprovalNarrowed, EventKind::ApprovalRecorded, EventKind::IntentApproved];
        assert_eq!(kinds, expected);
        let digest = less.grant().digest().to_string();
        assert!(events.iter().all(|event| event.grant_digest.as_ref() == Some(&digest)));
        // What is stored says the same when it is read again, and the same wish once more changes nothing.
        let read = Intent::of_parts(Arc::clone(less.shared_grant()), less.course().clone());
        assert_eq!(read, less);
        let (again, events) = read.approve_less(&approval, &once(), at(2)).unwrap();
        assert!(again == less && events.is_empty());
    }

    #[test]
    fn approvals_of_the_wider_grant_count_no_more_and_the_plan_begins_again() {
        let asked = pending(&["dev", "sre"]);
        let (one, _) = asked.approve(&of(&asked, 1, "dev"), at(1)).unwrap();
        assert_eq!(one.open_level(), Some(1));
        let (less, _) = one.approve_less(&of(&one, 2, "sre"), &once(), at(2)).unwrap();
        assert_eq!((less.state(), less.open_level()), (State::Pending, Some(0)));
        assert!(less.approvals().is_empty());
        assert_eq!(less.narrowed()[0].approvals.len(), 1);
        // An approval of what was shown before is one of another digest now.
        let stale = less.approve(&of(&asked, 3, "dev"), at(3)).unwrap_err();
        assert_eq!(stale.code(), DenialCode::ApprovalDigestMismatch);
        let (less, _) = less.approve(&of(&less, 1, "dev"), at(3)).unwrap();
        let (done, _) = less.approve(&of(&less, 2, "sre"), at(4)).unwrap();
        assert_eq!(done.state(), State::Approved);
    }

    #[test]
    fn an_approver_only_takes_away() {
        let asked = pending(&["sre"]);
        let code = |less: Narrowing| {
            asked.approve_less(&of(&asked, 1, "sre"), &less, at(1)).unwrap_err().code()
        };
        let wide = DenialCode::ExceedsParentScope;
        assert_eq!(code(Narrowing { uses: Some(3), ..Narrowing::default() }), wide);
        assert_eq!(code(Narrowing { max_duration_s: Some(601), ..Narrowing::default() }), wide);
        assert_eq!(code(Narrowing { start_within_s: Some(901), ..Narrowing::default() }), wide);
        let invalid = DenialCode::InvalidRequest;
        assert_eq!(code(Narrowing::default()), invalid);
        assert_eq!(code(Narrowing { uses: Some(2), ..Narrowing::default() }), invalid);
        assert_eq!(code(Narrowing { uses: Some(0), ..Narrowing::default() }), invalid);
        let scope = |name: &str| Narrowing {
            without_scopes: [name.parse().unwrap()].into(),
            ..Narrowing::default()
        };
        assert_eq!(code(scope("secrets.update")), invalid, "the only scope");
        assert_eq!(code(scope("secrets.read")), invalid, "no scope of the grant");
        let stranger = asked.approve_less(&of(&asked, 1, "dev"), &once(), at(1)).unwrap_err();
        assert_eq!(stranger.code(), DenialCode::ApproverNotEligible);
    }

    #[test]
    fn nobody_but_a_responder_breaks_the_glass_by_approving_less() {
        let asked = pending(&["leads"]);
        let emergency = serde_json::json!({
            "responders": ["group:incident"],
            "alert": "log",
            "post_review_within_s": 3600,
            "cooldown_s": 600,
            "max_per_day": 2,
            "alert_above": 3,
        });
        let emergency = serde_json::from_value(emergency).unwrap();
        let terms = GrantTerms { emergency: Some(emergency), ..asked.grant().terms().clone() };
        let asked = Intent::open(Grant::seal(terms).unwrap(), None, ask(), at(0)).0;
        let lead = of(&asked, 1, "leads");
        let refused = [
            asked.approve(&lead, at(1)).unwrap_err(),
            asked.approve_less(&lead, &once(), at(1)).unwrap_err(),
            asked.may_approve_now(&lead.decider(), 0, at(1)).unwrap_err(),
        ];
        assert!(refused.iter().all(|denial| denial.code() == DenialCode::ApproverNotEligible));
        assert!(refused.iter().all(|denial| denial.detail().contains("responders")), "{refused:?}");
        let both = ["leads", "incident"].map(|group| group.parse().unwrap());
        let responder = Decider { groups: both.into(), ..Decider::from(operator(2)) };
        let approval = Approval::by(responder, *asked.grant().digest(), at(1));
        let (less, _) = asked.approve_less(&approval, &once(), at(1)).unwrap();
        assert_eq!(less.state(), State::Approved);
    }

    #[test]
    fn what_an_approver_took_away_is_forgotten_when_the_request_begins_anew() {
        let asked = pending(&["dev", "sre"]);
        let (less, _) = asked.approve_less(&of(&asked, 1, "dev"), &once(), at(1)).unwrap();
        assert_eq!((less.state(), less.open_level()), (State::Pending, Some(1)));
        let terms = GrantTerms { uses: 3, ..asked.grant().terms().clone() };
        let grant = Grant::seal(terms).unwrap();
        let (anew, _) = less.repinned(&grant, &ask(), at(2)).unwrap();
        // Another replica reads the same, and counts approvals of what is shown now alone.
        let read = Intent::of_parts(Arc::clone(anew.shared_grant()), anew.course().clone());
        assert_eq!(read, anew);
        assert_eq!((read.grant(), read.uses_left(), read.open_level()), (&grant, 3, Some(0)));
        let stale = read.approve(&of(&less, 2, "dev"), at(3)).unwrap_err();
        assert_eq!(stale.code(), DenialCode::ApprovalDigestMismatch);
        let (one, _) = read.approve(&of(&read, 1, "dev"), at(3)).unwrap();
        let (done, _) = one.approve(&of(&one, 2, "sre"), at(4)).unwrap();
        assert_eq!((done.state(), done.grant().uses), (State::Approved, 3));
    }

    #[test]
    fn scopes_and_tools_are_taken_away_one_by_one() {
        let grant = review();
        let (scope, tool) = (grant.scopes[0].clone(), grant.tools.keys().next().unwrap().clone());
        let less = Narrowing {
            without_scopes: [scope].into(),
            without_tools: [tool].into(),
            ..Narrowing::default()
        };
        let left = grant.narrowed(&less).unwrap();
        assert_eq!(left.scopes, grant.scopes[1..]);
        assert_eq!(left.tools.len() + 1, grant.tools.len());
        assert!(Rights::of(&grant).covers(&Rights::of(&left)).is_ok());
        assert!(Rights::of(&left).covers(&Rights::of(&grant)).is_err());
        let all = Narrowing {
            without_tools: grant.tools.keys().cloned().collect(),
            ..Narrowing::default()
        };
        assert_eq!(grant.narrowed(&all).unwrap_err().code(), DenialCode::InvalidRequest);
    }

    #[test]
    fn a_refusal_stands_when_somebody_else_takes_something_away() {
        let asked = pending(&["sre"]);
        let terms = asked.grant().terms().clone();
        let plan = serde_json::json!({"approve": 2, "groups": ["sre"], "deny": 2});
        let terms = GrantTerms { approval: serde_json::from_value(plan).unwrap(), ..terms };
        let asked = Intent::open(Grant::seal(terms).unwrap(), None, ask(), at(0)).0;
        let no = || Reason::new("no").unwrap();
        let (one, _) = asked.deny(&of(&asked, 1, "sre").decider(), no(), at(1)).unwrap();
        assert_eq!(one.state(), State::Pending);
        let same = one.approve(&of(&one, 1, "sre"), at(1)).unwrap_err();
        assert_eq!(same.code(), DenialCode::ApproverNotEligible);
        let (less, _) = one.approve_less(&of(&one, 2, "sre"), &once(), at(2)).unwrap();
        assert_eq!(less.objections().len(), 1);
        let (ended, _) = less.deny(&of(&less, 3, "sre").decider(), no(), at(3)).unwrap();
        assert_eq!(ended.state(), State::Denied);
    }
}
