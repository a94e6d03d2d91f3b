//! The use of a grant: one token for one use, never more.

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_spiffe::SpiffeId;

use super::{Intent, RedeemedUse, State, TokenFacts, plus};
use crate::approval::{ApprovalPlan, Exclusion, Principal};
use crate::denial::{Denial, DenialCode};
use crate::digest::Digest;
use crate::provisions::LogField;

/// A use that somebody wants to redeem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use<'a> {
    /// The caller, who must be the intent's agent.
    pub agent: &'a SpiffeId,
    /// The digest of the grant that the caller's token was built from.
    pub grant_digest: &'a Digest,
    /// The token's `jti`, new with every token.
    pub token_id: &'a str,
    /// When the token ends.
    pub token_expires_at: Timestamp,
    /// What else is told of it.
    pub facts: TokenFacts<'a>,
    /// The kill switch's epoch at which it is redeemed.
    pub epoch: u64,
}

impl Intent {
    /// The latest instant at which a token that is issued now may end: its life time, cut by the end of the grant.
    #[must_use]
    pub fn token_deadline(&self, now: Timestamp) -> Timestamp {
        let first = self.uses.first().map_or(now, |first| first.at);
        plus(now, self.grant.token_lifetime)
            .min(plus(first, self.grant.max_duration))
            .min(self.grant.not_after)
    }

    /// Redeems one use for one token. The last use consumes the intent.
    ///
    /// # Errors
    /// The intent is not approved any more or not yet, belongs to another agent, was approved in another form, or the
    /// token would live too long.
    pub fn redeem(&self, wanted: &Use<'_>, now: Timestamp) -> Result<(Self, Event), Denial> {
        self.is_own(wanted.agent)?;
        self.still_open(now)?;
        if self.state == State::Pending {
            return Err(Denial::new(DenialCode::ApprovalPending, "nobody has approved it yet"));
        }
        self.clock_is_safe(now)?;
        self.is_what_was_approved(wanted.grant_digest)?;
        let logging = &self.grant.conditions.provisions.logging;
        if logging.require.contains(&LogField::Approver) && self.approvals.is_empty() {
            let detail = "the log has to say who approved it, and nobody did";
            return Err(Denial::new(DenialCode::ApprovalRequired, detail));
        }
        self.is_not_for_who_approved(wanted.facts.delegator)?;
        if plus(now, super::MAX_CLOCK_STEP_BACK) < self.grant.not_before {
            return Err(Denial::new(DenialCode::GrantNotStarted, "the grant has not begun"));
        }
        if wanted.token_expires_at > self.token_deadline(now) {
            let detail = format!("a token may live until {} at most", self.token_deadline(now));
            return Err(Denial::new(DenialCode::ExceedsPlaybookCeiling, detail));
        }
        if self.uses.iter().any(|earlier| earlier.token_id == wanted.token_id) {
            return Err(Denial::new(
                DenialCode::IdempotencyConflict,
                "the token id was used before",
            ));
        }
        let Some(left) = self.uses_left.checked_sub(1) else {
            return Err(Denial::new(DenialCode::GrantConsumed, "no use is left"));
        };
        let mut next = self.step(if left == 0 { State::Consumed } else { State::Active }, now);
        next.uses_left = left;
        next.uses.push(RedeemedUse {
            token_id: wanted.token_id.to_owned(),
            at: now,
            token_expires_at: wanted.token_expires_at,
        });
        next.delegators_served.extend(wanted.facts.delegator.map(ToOwned::to_owned));
        let event = next
            .event(EventKind::TokenIssued, now)
            .with_token_id(wanted.token_id)
            .with_expires_at(wanted.token_expires_at)
            .with_uses_left(left)
            .with_epoch(wanted.epoch);
        let event = next.with_privilege(event);
        Ok((next, wanted.facts.told_by(event)))
    }

    /// Nobody approves what is then done on their behalf, where the plan excludes the chain.
    fn is_not_for_who_approved(&self, delegator: Option<&str>) -> Result<(), Denial> {
        let plan = self.grant.approval.as_ref();
        let excludes = |plan: &ApprovalPlan| plan.exclude().contains(&Exclusion::DelegationChain);
        let Some(delegator) = delegator.filter(|_| plan.is_some_and(excludes)) else {
            return Ok(());
        };
        let name: Option<Principal> = format!("person:{delegator}").parse().ok();
        let by_them = |name: &Principal| {
            self.approvals.iter().any(|approval| approval.decider().is_named(name))
        };
        // A name that cannot be compared might be anybody's.
        if name.as_ref().is_some_and(|name| !by_them(name)) {
            return Ok(());
        }
        let detail = format!("`{delegator}` approved it, and is on whose behalf it would be used");
        Err(Denial::new(DenialCode::SelfApprovalForbidden, detail))
    }

    /// The grant at rest, the caller's copy of it and every approval name one digest.
    pub(super) fn is_what_was_approved(&self, presented: &Digest) -> Result<(), Denial> {
        let own = self.grant.digest();
        if presented == own && self.approvals.iter().all(|approval| approval.digest() == own) {
            return Ok(());
        }
        Err(Denial::new(DenialCode::ApprovalDigestMismatch, format!("the grant is {own}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::{Approval, Decider};
    use crate::fixtures::{AGENT, ask, at, grant, operator};
    use crate::grant::{Grant, GrantTerms};

    #[test]
    fn whoever_approved_it_is_not_the_one_on_whose_behalf_it_is_used() {
        let used = |exclude: &[&str], delegator: Option<&str>| {
            let plan =
                serde_json::json!({"levels": [{"any": [{"approve": 1}]}], "exclude": exclude});
            let approval = serde_json::from_value(plan).unwrap();
            let terms = GrantTerms { approval, ..grant().terms().clone() };
            let intent = Intent::open(Grant::seal(terms).unwrap(), None, ask(), at(0)).0;
            let decider = Decider {
                known_as: ["person:corp:alice".parse().unwrap()].into(),
                ..Decider::from(operator(1))
            };
            let approval = Approval::by(decider, *intent.grant().digest(), at(1));
            let (intent, _) = intent.approve(&approval, at(1)).unwrap();
            let wanted = Use {
                agent: &AGENT.parse().unwrap(),
                grant_digest: intent.grant().digest(),
                token_id: "one",
                token_expires_at: intent.token_deadline(at(2)),
                facts: TokenFacts { delegator, ..TokenFacts::default() },
                epoch: 0,
            };
            intent.redeem(&wanted, at(2)).err().map(|denial| denial.code())
        };
        let chain = ["delegation_chain"];
        let forbidden = Some(DenialCode::SelfApprovalForbidden);
        assert_eq!(used(&chain, Some("corp:alice")), forbidden);
        assert_eq!(used(&chain, Some("corp:a b")), forbidden, "it cannot be compared");
        assert_eq!(used(&chain, Some("corp:bob")), None);
        assert_eq!(used(&chain, None), None);
        assert_eq!(used(&[], Some("corp:alice")), None);
    }
}
