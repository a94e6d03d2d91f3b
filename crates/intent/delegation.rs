//! Asking for another agent: the grant below is no more than the grant above (M 20 to M 23, specs/intents.md 9).
//!
//! What the child's own playbook gives is cut to the parent's numbers and times, and has then to be covered by the parent
//! in every dimension, by the one comparison that there is ([`Rights`]). Absent: whether the intents above are live, which
//! the store looks at in the transaction that lends.

use std::collections::BTreeSet;

use marque_spiffe::SpiffeId;

use crate::delegators::Delegators;
use crate::denial::{Denial, DenialCode};
use crate::grant::{Grant, GrantTerms};
use crate::id::IntentId;
use crate::lifecycle::Intent;
use crate::parent::ParentIntent;
use crate::rights::{Limits, MAX_DELEGATION_DEPTH, OnBehalf, Rights, Wanted, Widening};

/// For whom an agent asks, and by which of its own intents.
#[derive(Debug, Clone, PartialEq)]
pub struct ForAgent {
    /// The agent that will hold the grant.
    pub agent: SpiffeId,
    /// The live intent of the agent that asks.
    pub parent: IntentId,
    /// What is wanted of what the playbook gives; everything where nothing is said.
    pub narrow: Wanted,
}

/// The grant that `child` becomes below `parent`, and no more.
///
/// # Errors
/// The parent may not be handed on (again) or not to this agent, the chain would be too deep or turn back on itself, or the
/// child would have more than its playbook or its parent.
pub fn delegated(child: Grant, parent: &Intent, narrow: &Wanted) -> Result<Grant, Denial> {
    let above = parent.grant();
    let link = ParentIntent::of(above);
    is_a_chain(&child.agent, &link, above)?;
    let ceiling = Rights::of(&child).narrowed(narrow).map_err(|widening| {
        let Widening { dimension, code } = widening;
        let code = match code {
            DenialCode::ExceedsParentScope => DenialCode::ExceedsPlaybookCeiling,
            other => other,
        };
        Denial::new(code, format!("the {dimension} would be wider than the playbook's"))
    })?;
    let mut rights = cut(ceiling, parent)?;
    if let (Some(plan), Some(theirs)) = (rights.approval.clone(), &above.approval) {
        rights.approval = Some(plan.shutting_out_as(theirs));
    }
    Rights::of(above).hands_on(&rights).map_err(Widening::denial)?;
    let delegators = delegators(child.delegators.as_ref(), above.delegators.as_ref())?;
    let risk = child.risk.max(above.risk);
    let terms = GrantTerms { parent: Some(link), delegators, risk, ..child.into() };
    Grant::seal(terms.limited_to(rights))
        .map_err(|error| Denial::new(DenialCode::InvalidRequest, error.to_string()))
}

/// No agent twice, and not more of them than there may be.
fn is_a_chain(child: &SpiffeId, link: &ParentIntent, above: &Grant) -> Result<(), Denial> {
    if link.chain().count() > usize::from(MAX_DELEGATION_DEPTH) {
        let detail = format!("a chain has at most {MAX_DELEGATION_DEPTH} agents behind the first");
        return Err(Denial::new(DenialCode::ChainTooDeep, detail));
    }
    if link.chain().any(|one| one.agent == *child) {
        let detail = format!("`{child}` is in the chain already");
        return Err(Denial::new(DenialCode::ChainInvalid, detail));
    }
    match &above.on_behalf {
        Some(behalf) if !behalf.permits(child) => {
            let detail = format!("the playbook lets nothing be handed on to `{child}`");
            Err(Denial::new(DenialCode::AgentNotAllowed, detail))
        }
        // Where nothing may be handed on, the comparison says so.
        Some(_) | None => Ok(()),
    }
}

/// The numbers, times and hops of both: where each has one, the smaller.
fn cut(child: Rights, parent: &Intent) -> Result<Rights, Denial> {
    let above = Rights::of(parent.grant());
    let uses = child.uses.min(parent.uses_left());
    if uses == 0 {
        let detail = "the intent above has no use left to lend";
        return Err(Denial::new(DenialCode::GrantConsumed, detail));
    }
    let on_behalf = match (child.on_behalf, &above.on_behalf) {
        (Some(own), Some(theirs)) => {
            let max_depth = own.max_depth.min(theirs.max_depth.saturating_sub(1));
            let agents: Vec<_> =
                own.agents.into_iter().filter(|one| theirs.agents.contains(one)).collect();
            let equal: BTreeSet<_> = own.equal.intersection(&theirs.equal).copied().collect();
            let left = max_depth > 0 && !agents.is_empty();
            left.then_some(OnBehalf { max_depth, agents, equal })
        }
        _ => None,
    };
    Ok(Rights {
        limits: child.limits.cut_to(&above.limits),
        uses,
        not_before: child.not_before.max(above.not_before),
        not_after: child.not_after.min(above.not_after),
        on_behalf,
        ..child
    })
}

/// On whose behalf: as the grant above says, or, where that does not ask for anybody, the agent for itself.
fn delegators(
    child: Option<&Delegators>,
    above: Option<&Delegators>,
) -> Result<Option<Delegators>, Denial> {
    match (child, above) {
        (None, Some(rule)) if rule.required => Ok(Some(rule.clone())),
        (None, _) => Ok(None),
        (Some(own), Some(rule)) if own == rule => Ok(Some(rule.clone())),
        (Some(_), Some(_)) => Err(Denial::new(
            DenialCode::CannotCompareAttenuation,
            "on whose behalf it may be used differs from the grant above",
        )),
        (Some(_), None) => Err(Denial::new(
            DenialCode::ExceedsDelegatorRights,
            "the grant above is for its own agent alone, and not on anybody's behalf",
        )),
    }
}

impl GrantTerms {
    /// The same terms with these rights in place of their own.
    #[must_use]
    pub fn limited_to(self, rights: Rights) -> Self {
        let Rights {
            trust_domain: _,
            tenant: _,
            audiences,
            scopes,
            authorization_details,
            resources,
            tools,
            constraints,
            data_classes,
            limits,
            uses,
            purpose,
            not_before,
            not_after,
            on_behalf,
            approval,
            delivery,
            risk_ceiling: _,
            confidence_floor: _,
        } = rights;
        let mut playbook = self.playbook.clone();
        playbook.data_classes = data_classes.into_iter().collect();
        playbook.purpose = purpose;
        Self {
            playbook,
            audiences: audiences.into_iter().collect(),
            scopes: scopes.into_iter().collect(),
            authorization_details,
            resources: resources.into_iter().collect(),
            tools,
            constraints,
            limits,
            uses,
            not_before,
            not_after,
            on_behalf,
            approval,
            delivery,
            ..self
        }
    }
}

impl Limits {
    /// In each number the smaller of both; the wider distance between calls.
    #[must_use]
    pub fn cut_to(&self, other: &Self) -> Self {
        let least = |one: Option<u64>, two: Option<u64>| match (one, two) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self {
            max_records: least(self.max_records, other.max_records),
            max_calls: least(self.max_calls, other.max_calls),
            max_destructive: least(self.max_destructive, other.max_destructive),
            max_bytes_out: least(self.max_bytes_out, other.max_bytes_out),
            min_interval_s: self.min_interval_s.max(other.min_interval_s),
        }
    }

    /// What is left of these when so much is lent.
    #[must_use]
    pub fn less(&self, lent: &Self) -> Self {
        let left = |own: Option<u64>, lent: Option<u64>| {
            own.map(|own| own.saturating_sub(lent.unwrap_or(own)))
        };
        Self {
            max_records: left(self.max_records, lent.max_records),
            max_calls: left(self.max_calls, lent.max_calls),
            max_destructive: left(self.max_destructive, lent.max_destructive),
            max_bytes_out: left(self.max_bytes_out, lent.max_bytes_out),
            min_interval_s: self.min_interval_s,
        }
    }
}

#[cfg(test)]
mod tests;
