//! Whether a grant is still no more than the same request would give by the playbook of now (M 72).
//!
//! [`Rights`] compares what may be done; this compares everything else that a grant is bound to. Every member of
//! [`GrantTerms`] is named here, so that a new one has to be thought of. Absent: what policy says now, and what is done
//! about a grant that is more.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::conditions::Conditions;
use crate::delegators::{Delegators, Persons};
use crate::denial::{Denial, DenialCode};
use crate::emergency::Emergency;
use crate::ends::EndingRules;
use crate::grant::{Grant, GrantTerms};
use crate::lifecycle::{DEFAULT_REPORT_WITHIN, Intent};
use crate::provisions::{LogDemands, PromptKept, Provisions};
use crate::rights::Rights;

impl Intent {
    /// Whether its grant is no more than `now`, the grant of the same request by the rules of now. How it was approved counts
    /// where a person has to approve it now: an approval that was given under fewer demands is none. When its first use may
    /// be counts until there was one.
    ///
    /// # Errors
    /// `exceeds_playbook_ceiling`, with the first thing in which it is more.
    pub fn fits_in(&self, now: &Grant, by_a_person: bool) -> Result<(), Denial> {
        self.grant().fits_in(now, by_a_person, !self.uses().is_empty())
    }
}

impl Grant {
    fn fits_in(&self, now: &Self, by_a_person: bool, is_used: bool) -> Result<(), Denial> {
        let (mut rights, mut ceiling) = (Rights::of(self), Rights::of(now));
        if !by_a_person {
            (rights.approval, ceiling.approval) = (None, None);
        }
        // The end is the sum of clocks that are compared one by one, or that of the exception.
        let exception = now.conditions.provisions.exception.as_ref();
        ceiling.not_after = exception
            .map_or(rights.not_after, |exception| rights.not_after.min(exception.expires_at));
        let more = match ceiling.covers(&rights) {
            Err(widening) => Some(format!("the playbook permits less now: {widening}")),
            Ok(()) => self
                .is_more_than(now, is_used)
                .map(|what| format!("the playbook is stricter now about {what}")),
        };
        match more {
            None => Ok(()),
            Some(detail) => Err(Denial::new(DenialCode::ExceedsPlaybookCeiling, detail)),
        }
    }

    /// What beside its rights is more than in `now`.
    fn is_more_than(&self, now: &Self, is_used: bool) -> Option<&'static str> {
        let GrantTerms {
            // Whose and what for: the same request.
            intent_id: _,
            agent: _,
            attestation: _,
            parameters: _,
            session: _,
            task: _,
            ticket: _,
            parent,
            // Rights.
            trust_domain: _,
            tenant: _,
            playbook: _,
            audiences: _,
            scopes: _,
            authorization_details: _,
            resources: _,
            tools: _,
            constraints: _,
            limits: _,
            on_behalf: _,
            delivery: _,
            uses: _,
            not_before: _,
            not_after: _,
            approval: _,
            // What it was decided by, and how long it might wait for that: policy is asked anew.
            policy_set_digest: _,
            risk: _,
            evidence: _,
            request_ttl: _,
            delegators,
            emergency,
            single_use_tokens,
            token_lifetime,
            start_within,
            max_duration,
            conditions,
        } = self.terms();
        // Below another grant the rule about persons may be that one's, which is held against its own playbook.
        let borrowed = parent.is_some() && now.delegators.is_none();
        let compared = [
            (*token_lifetime <= now.token_lifetime, "how long a token lives"),
            (is_used || *start_within <= now.start_within, "when its first use may be"),
            (*max_duration <= now.max_duration, "how long it lasts"),
            (*single_use_tokens || !now.single_use_tokens, "how often one token is used"),
            (
                borrowed || persons(delegators.as_ref(), now.delegators.as_ref()),
                "on whose behalf it is used",
            ),
            (responders(emergency.as_ref(), now.emergency.as_ref()), "break-glass"),
        ];
        let stricter = compared.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what);
        stricter.or_else(|| conditions.are_less_than(&now.conditions))
    }
}

impl Conditions {
    /// In what these conditions demand less than `now` does.
    fn are_less_than(&self, now: &Self) -> Option<&'static str> {
        let Self { ends, provisions, windows, blackouts, ticket } = self;
        let in_windows = now.windows.is_empty()
            || (!windows.is_empty()
                && windows.iter().all(|ours| now.windows.iter().any(|one| one.contains(ours))));
        let same_ticket = now.ticket.as_ref().is_none_or(|wanted| {
            ticket.as_ref().is_some_and(|ours| {
                ours.system == wanted.system
                    && ours.states.is_subset(&wanted.states)
                    && ours.bind.is_superset(&wanted.bind)
                    && (ours.revoke_on_close || !wanted.revoke_on_close)
            })
        });
        let compared = [
            (in_windows, "its windows"),
            (blackouts.is_superset(&now.blackouts), "blackouts"),
            (same_ticket, "its ticket"),
            (ends.are_at_least(&now.ends), "what ends it"),
            (provisions.are_at_least(&now.provisions), "what the log has to know"),
            (provisions.is_checked_as(&now.provisions), "its post-check"),
        ];
        compared.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
    }
}

impl EndingRules {
    fn are_at_least(&self, now: &Self) -> bool {
        let Self { idle_timeout, with_agent, with_parent, report_within } = *self;
        let reports = |length: Option<Duration>| length.unwrap_or(DEFAULT_REPORT_WITHIN);
        now.idle_timeout.is_none_or(|most| idle_timeout.is_some_and(|ours| ours <= most))
            && (with_agent || !now.with_agent)
            && (with_parent || !now.with_parent)
            && reports(report_within) <= reports(now.report_within)
    }
}

impl Provisions {
    /// The phase is the request's, an exception shows in the approvals and the end, a sponsor in what has to be known.
    fn are_at_least(&self, now: &Self) -> bool {
        let Self { phase: _, exception: _, sponsor: _, post_check: _, logging } = self;
        let LogDemands { require, prompt } = logging;
        require.is_superset(&now.logging.require)
            && match now.logging.prompt {
                PromptKept::None => true,
                wanted @ (PromptKept::Hash | PromptKept::Sealed) => *prompt == wanted,
            }
    }

    /// Whether whoever has to be asked about the work now is asked.
    fn is_checked_as(&self, now: &Self) -> bool {
        now.post_check.is_none() || self.post_check == now.post_check
    }
}

/// Whether everybody for whom `ours` may be used is one for whom `now` may be.
fn persons(ours: Option<&Delegators>, now: Option<&Delegators>) -> bool {
    match (ours, now) {
        (None, now) => now.is_none_or(|rule| !rule.required),
        (Some(_), None) => false,
        (Some(Delegators { required, persons }), Some(now)) => {
            let known = |one: &Persons| is_among(one, &now.persons);
            (*required || !now.required) && persons.iter().all(known)
        }
    }
}

fn is_among(ours: &Persons, now: &[Persons]) -> bool {
    let Persons { issuer, subjects, groups, everybody } = ours;
    let of_issuer = || now.iter().filter(|one| one.issuer == *issuer);
    let within = |names: &BTreeSet<String>, of: fn(&Persons) -> &BTreeSet<String>| {
        names.iter().all(|name| of_issuer().any(|one| of(one).contains(name)))
    };
    of_issuer().any(|one| one.everybody)
        || (!everybody
            && within(subjects, |one| &one.subjects)
            && within(groups, |one| &one.groups))
}

/// Whether a break-glass grant is answered by no others, and no more lightly; what is ordinary stays ordinary.
fn responders(ours: Option<&Emergency>, now: Option<&Emergency>) -> bool {
    let (ours, now) = match (ours, now) {
        (None, None) => return true,
        (Some(ours), Some(now)) => (ours, now),
        (Some(_), None) | (None, Some(_)) => return false,
    };
    let Emergency {
        responders,
        post_review_within,
        cooldown,
        max_per_day,
        alert: _,
        alert_above: _,
    } = ours;
    responders.is_subset(&now.responders)
        && *post_review_within <= now.post_review_within
        && *cooldown >= now.cooldown
        && *max_per_day <= now.max_per_day
}

#[cfg(test)]
mod tests;
