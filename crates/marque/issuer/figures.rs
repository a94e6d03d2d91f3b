//! The numbers by which one sees whether standing privilege is gone (M 122–129, M 132), counted from the log.
//!
//! What is on record is what is counted: a number can be checked against the log, and says the same at each replica. What
//! was recorded before the process began is only taken up as far as it still matters: requests that wait, grants that are
//! in force, who worked with short-lived credentials lately. Deliberately absent: names. No label names an agent, a person,
//! a ticket or a playbook.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use marque_audit::{Event, EventKind};
use marque_intent::{DenialClass, DenialCode};
use marque_spiffe::{Environment, TrustDomain};
use metrics::{counter, gauge, histogram};
use serde_json::Value;

use crate::telemetry::described as names;
use crate::telemetry::inventory::Inventory;
use crate::telemetry::number;

/// How far back a trend goes.
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How far back the log is read at the start: a month, and the one before it.
pub(super) const LOOK_BACK: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// The most of anything that is remembered; what was there first stays.
const MAX_REMEMBERED: usize = 100_000;
/// Of how many tokens the median lifetime is.
const MEDIAN_OF: usize = 4096;

/// The figures of one trust domain.
#[derive(Debug)]
pub(super) struct Figures {
    trust_domain: String,
    production: bool,
    known: Mutex<Known>,
}

/// What has to be remembered to count.
#[derive(Debug, Default)]
struct Known {
    /// Intents that have not ended.
    intents: BTreeMap<String, Run>,
    /// When an agent last got a token under a playbook.
    workflows: BTreeMap<(String, String), Timestamp>,
    /// When an identity was last found to be used by more than one program.
    shared: BTreeMap<String, Timestamp>,
    /// When each glass was broken.
    broken: VecDeque<Timestamp>,
    /// The lifetimes of the newest tokens, in seconds.
    lifetimes: VecDeque<f64>,
    /// Whether an inventory has said how many workflows have stored secrets.
    inventoried: bool,
}

/// An intent that has not ended.
#[derive(Debug, Clone, Copy)]
struct Run {
    requested: Timestamp,
    waits: bool,
    in_force: bool,
    /// Whether a person approved it.
    approved: bool,
}

impl Figures {
    pub(super) fn new(trust_domain: &TrustDomain, environment: Environment) -> Self {
        Self {
            trust_domain: trust_domain.to_string(),
            production: environment == Environment::Production,
            known: Mutex::default(),
        }
    }

    /// Begins at nought what nothing has happened to yet: a rate that is not there cannot be shown beside another.
    pub(super) fn begin(&self) {
        let label = || self.trust_domain.clone();
        for through in ["playbook", "break_glass"] {
            counter!(names::PRIVILEGED, "trust_domain" => label(), "through" => through)
                .absolute(0);
        }
        for kind in ["access_token", "transaction_token", "authorization_grant"] {
            counter!(names::TOKENS, "trust_domain" => label(), "kind" => kind).absolute(0);
        }
        for code in DenialCode::ALL.iter().filter(|code| is_beyond_scope(**code)) {
            counter!(names::SCOPE_VIOLATIONS, "trust_domain" => label(), "code" => code.as_str())
                .absolute(0);
        }
        for step in ["requested", "activated", "used", "ended", "reviewed"] {
            counter!(names::BREAK_GLASS, "trust_domain" => label(), "step" => step).absolute(0);
        }
        for (outcome, by) in [
            ("approved", "policy"),
            ("approved", "person"),
            ("denied", "policy"),
            ("denied", "person"),
            ("expired", "nobody"),
        ] {
            counter!(names::DECIDED, "trust_domain" => label(), "outcome" => outcome, "by" => by)
                .absolute(0);
        }
        if self.production {
            for linked in ["ticket", "approver", "both", "none"] {
                counter!(names::PRODUCTION_CHANGES, "trust_domain" => label(), "linked" => linked)
                    .absolute(0);
            }
        }
    }

    /// Takes up what was recorded before the process began, without counting it.
    pub(super) fn recall(&self, event: &Event) {
        self.lock().take(event);
    }

    /// Forgets what was recalled, for whoever has to begin anew.
    pub(super) fn forget_all(&self) {
        *self.lock() = Known::default();
    }

    /// Counts what was just recorded.
    pub(super) fn tell(&self, event: &Event) {
        let mut known = self.lock();
        let before = event.intent.as_ref().and_then(|id| known.intents.get(id)).copied();
        known.take(event);
        drop(known);
        self.count(event, before);
    }

    /// How often the glass was broken in the month before `now`.
    pub(super) fn broken_lately(&self, now: Timestamp) -> usize {
        let since = before(now, MONTH);
        self.lock().broken.iter().filter(|at| **at >= since).count()
    }

    /// Sets what is measured at a moment.
    pub(super) fn measure(&self, inventory: &Inventory, now: Timestamp) {
        let mut known = self.lock();
        known.forget(now);
        let label = || self.trust_domain.clone();
        let set = |name: &'static str, count: usize| {
            gauge!(name, "trust_domain" => label()).set(number(count as u64));
        };
        set(names::WAITING, known.intents.values().filter(|run| run.waits).count());
        set(names::OPEN, known.intents.values().filter(|run| run.in_force).count());
        set(names::SHARED, known.shared.len());
        let month = before(now, MONTH);
        let lately = known.broken.iter().filter(|at| **at >= month).count();
        set(names::BREAK_GLASS_30D, lately);
        set(names::BREAK_GLASS_BEFORE, known.broken.len() - lately);
        let workflows = number(known.workflows.len() as u64);
        gauge!(names::WORKFLOWS, "trust_domain" => label(), "credential" => "short_lived")
            .set(workflows);
        let stored = inventory.stored_secrets(&self.trust_domain);
        known.inventoried |= stored.is_some();
        if known.inventoried {
            // What is not known any more is no number; nor is the share of nothing.
            let stored = stored.unwrap_or(f64::NAN);
            gauge!(names::WORKFLOWS, "trust_domain" => label(), "credential" => "stored_secret")
                .set(stored);
            gauge!(names::SHORT_LIVED_RATIO, "trust_domain" => label())
                .set(workflows / (workflows + stored));
        }
        if let Some(median) = median(known.lifetimes.iter().copied().collect()) {
            gauge!(names::MEDIAN_LIFETIME, "trust_domain" => label()).set(median);
        }
    }

    fn count(&self, event: &Event, before: Option<Run>) {
        match event.kind {
            EventKind::TokenIssued => self.issued(event, before),
            EventKind::TokenDerived => self.given_out(event),
            EventKind::IntentApproved => {
                self.decided(event, before, "approved", has_approvers(event))
            }
            EventKind::IntentDenied => {
                // A request that policy refuses is asked for and denied at once: nobody ever waited for an approver.
                let waited = before.is_some_and(|run| run.waits);
                let stage = if waited { "approval" } else { "request" };
                self.refused(event, stage);
                self.decided(event, before, "denied", event.actor.is_some());
            }
            EventKind::IntentExpired if before.is_some_and(|run| run.waits) => {
                let label = self.trust_domain.clone();
                counter!(names::DECIDED, "trust_domain" => label, "outcome" => "expired", "by" => "nobody")
                    .increment(1);
            }
            EventKind::TokenRefused => self.refused(event, "token"),
            EventKind::ChangeRefused => self.refused(event, "change"),
            EventKind::SvidIssued => self.minted(event),
            EventKind::BreakGlassRequested => self.glass("requested"),
            EventKind::BreakGlassActivated => self.glass("activated"),
            EventKind::BreakGlassUsed => self.glass("used"),
            EventKind::BreakGlassEnded => self.glass("ended"),
            EventKind::BreakGlassReviewed => self.glass("reviewed"),
            _ => {}
        }
    }

    /// A use was redeemed: that is a privileged action (M 123), in production a change (M 126).
    fn issued(&self, event: &Event, before: Option<Run>) {
        let broken = event.detail.contains_key("break_glass");
        let through = if broken { "break_glass" } else { "playbook" };
        let label = || self.trust_domain.clone();
        counter!(names::PRIVILEGED, "trust_domain" => label(), "through" => through).increment(1);
        if self.production {
            let approved = before.is_some_and(|run| run.approved);
            let linked = match (event.ticket.is_some(), approved) {
                (true, true) => "both",
                (true, false) => "ticket",
                (false, true) => "approver",
                (false, false) => "none",
            };
            counter!(names::PRODUCTION_CHANGES, "trust_domain" => label(), "linked" => linked)
                .increment(1);
        }
        self.given_out(event);
    }

    fn given_out(&self, event: &Event) {
        let kind = match event.detail.get("kind").and_then(Value::as_str) {
            Some("transaction_token") => "transaction_token",
            Some("authorization_grant") => "authorization_grant",
            _ => "access_token",
        };
        let label = || self.trust_domain.clone();
        counter!(names::TOKENS, "trust_domain" => label(), "kind" => kind).increment(1);
        if let Some(lifetime) = lifetime(event) {
            histogram!(names::LIFETIME, "trust_domain" => label()).record(lifetime);
        }
    }

    fn minted(&self, event: &Event) {
        let kind = match event.detail.get("svid").and_then(Value::as_str) {
            Some("x509-svid") => "x509-svid",
            Some("jwt-svid") => "jwt-svid",
            Some("wit-svid") => "wit-svid",
            _ => "other",
        };
        let label = self.trust_domain.clone();
        counter!(names::SVIDS, "trust_domain" => label, "kind" => kind).increment(1);
    }

    fn decided(&self, event: &Event, before: Option<Run>, outcome: &'static str, person: bool) {
        let by = if person { "person" } else { "policy" };
        let label = || self.trust_domain.clone();
        let times = repeated(event);
        counter!(names::DECIDED, "trust_domain" => label(), "outcome" => outcome, "by" => by)
            .increment(times);
        if let Some(run) = before.filter(|run| run.waits && person) {
            let waited = event.time.duration_since(run.requested).as_secs_f64().max(0.0);
            histogram!(names::WAIT, "trust_domain" => label(), "outcome" => outcome).record(waited);
        }
    }

    fn refused(&self, event: &Event, stage: &'static str) {
        let code = event.code.as_deref().and_then(|code| code.parse::<DenialCode>().ok());
        let Some(code) = code else { return };
        let label = || self.trust_domain.clone();
        let (class, times) = (code.class().as_str(), repeated(event));
        counter!(
            names::DENIED,
            "trust_domain" => label(), "stage" => stage, "code" => code.as_str(), "class" => class
        )
        .increment(times);
        if is_beyond_scope(code) {
            counter!(names::SCOPE_VIOLATIONS, "trust_domain" => label(), "code" => code.as_str())
                .increment(times);
        }
    }

    fn glass(&self, step: &'static str) {
        let label = self.trust_domain.clone();
        counter!(names::BREAK_GLASS, "trust_domain" => label, "step" => step).increment(1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn take(&mut self, event: &Event) {
        match event.kind {
            EventKind::IntentRequested => self.begin(event),
            EventKind::IntentPending => self.change(event, |run| run.waits = true),
            EventKind::IntentApproved => {
                let approved = has_approvers(event);
                self.change(event, |run| {
                    *run = Run { waits: false, in_force: true, approved, ..*run };
                });
            }
            EventKind::IntentDenied
            | EventKind::IntentCancelled
            | EventKind::IntentCompleted
            | EventKind::IntentClosedUnreported
            | EventKind::IntentExpired
            | EventKind::IntentRevoked => {
                if let Some(id) = &event.intent {
                    self.intents.remove(id);
                }
            }
            EventKind::TokenIssued | EventKind::TokenDerived => self.work(event),
            EventKind::IdentityShared => {
                if let Some(agent) = &event.agent {
                    remember(&mut self.shared, agent.to_string(), event.time);
                }
            }
            EventKind::BreakGlassActivated if self.broken.len() < MAX_REMEMBERED => {
                self.broken.push_back(event.time);
            }
            _ => {}
        }
    }

    fn begin(&mut self, event: &Event) {
        let run = Run { requested: event.time, waits: false, in_force: false, approved: false };
        if let Some(id) = event.intent.clone() {
            remember(&mut self.intents, id, run);
        }
    }

    fn change(&mut self, event: &Event, change: impl FnOnce(&mut Run)) {
        if let Some(run) = event.intent.as_ref().and_then(|id| self.intents.get_mut(id)) {
            change(run);
        }
    }

    fn work(&mut self, event: &Event) {
        if let (Some(agent), Some(playbook)) = (&event.agent, &event.playbook) {
            let workflow = (agent.to_string(), playbook.id.clone());
            remember(&mut self.workflows, workflow, event.time);
        }
        if let Some(lifetime) = lifetime(event) {
            if self.lifetimes.len() == MEDIAN_OF {
                self.lifetimes.pop_front();
            }
            self.lifetimes.push_back(lifetime);
        }
    }

    /// What is too long ago to count.
    fn forget(&mut self, now: Timestamp) {
        let (month, both) = (before(now, MONTH), before(now, LOOK_BACK));
        self.workflows.retain(|_, at| *at >= month);
        self.shared.retain(|_, at| *at >= month);
        self.broken.retain(|at| *at >= both);
    }
}

/// Keeps it, unless there is too much that is kept already.
fn remember<K: Ord, V>(kept: &mut BTreeMap<K, V>, key: K, value: V) {
    if kept.len() < MAX_REMEMBERED || kept.contains_key(&key) {
        kept.insert(key, value);
    }
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_sub(span).unwrap_or(Timestamp::MIN)
}

fn lifetime(event: &Event) -> Option<f64> {
    let end = event.expires_at?;
    Some(end.duration_since(event.time).as_secs_f64().max(0.0))
}

fn has_approvers(event: &Event) -> bool {
    let approvers = event.detail.get("approvers").and_then(Value::as_array);
    approvers.is_some_and(|approvers| !approvers.is_empty())
}

/// How many refusals one record stands for.
fn repeated(event: &Event) -> u64 {
    event.detail.get("repeated").and_then(Value::as_u64).unwrap_or(1)
}

/// Whether a refusal with this code is of an attempt to do more than was granted (M 132).
fn is_beyond_scope(code: DenialCode) -> bool {
    matches!(code.class(), DenialClass::Boundary | DenialClass::Attenuation | DenialClass::Intent)
        || code == DenialCode::RawPermissionsNotRequestable
}

/// The one in the middle, or between the two there.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests;
