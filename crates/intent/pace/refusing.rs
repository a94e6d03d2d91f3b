//! What is written of a refusal: whether it is repeated, what it takes from the budget of its class, and when the family
//! cools down or goes into quarantine.

use std::time::Duration;

use marque_audit::{Event, EventKind};

use super::rows::{DAY, MAX_COUNTED};
use super::rules::{Counted, Refused, Turn, push_bounded, within};
use super::{Cooldown, DeniedRequest, DeniedTarget, PaceKey, PaceRow, Quarantine, Resolved, Said};
use crate::denial::{Denial, DenialClass, DenialCode};
use crate::id::IntentId;
use crate::lifecycle::plus;

/// Cooldowns in a day with which a family goes into quarantine.
const QUARANTINE_AT: usize = 3;
/// How many justifications of refused requests are remembered of a family.
const MAX_SAID: usize = 8;

impl Turn<'_> {
    /// What is written when the request is refused, with the intent that was made of it, if one was. Whoever is cooling down or in quarantine is told so, and nothing is
    /// counted on top.
    #[must_use]
    pub fn refuse(&self, denial: Denial, intent: Option<&IntentId>) -> Refused {
        let stands = match denial.class() {
            // Who is stopped is told that, whatever else there is.
            DenialClass::Stop => Ok(()),
            _ => self.standing(),
        };
        if let Err(told) = stands {
            return Refused { told, rows: self.asked_rows(), events: Vec::new() };
        }
        let told = match (denial.class(), self.rate()) {
            (DenialClass::Stop, _) | (_, Ok(())) => denial,
            (_, Err(limited)) => limited,
        };
        let mut rows = self.asked_rows();
        if told.class() != DenialClass::Pace
            && let Some(resolved) = &self.asked.resolved
        {
            rows.extend(self.refused_request(resolved, &told, intent));
        }
        self.against_budget(told, rows, true)
    }

    /// What is written when a person refuses an intent of it later on.
    #[must_use]
    pub fn deny(&self, denial: &Denial) -> Refused {
        let rows = match &self.asked.resolved {
            Some(resolved) => self.refused_request(resolved, denial, Some(&resolved.intent)),
            None => Vec::new(),
        };
        self.against_budget(denial.clone(), rows, false)
    }

    /// [`Self::refuse`] where another family's agent asked on this one's behalf: the request and its targets are remembered
    /// as refused, and nothing counts against an agent that did not ask.
    #[must_use]
    pub fn refuse_unasked(&self, denial: Denial, intent: Option<&IntentId>) -> Refused {
        let stands = match denial.class() {
            DenialClass::Stop => Ok(()),
            _ => self.standing(),
        };
        match (stands, &self.asked.resolved) {
            (Err(told), _) => Refused { told, rows: Vec::new(), events: Vec::new() },
            (Ok(()), None) => Refused { told: denial, rows: Vec::new(), events: Vec::new() },
            (Ok(()), Some(resolved)) => {
                let rows = self.refused_request(resolved, &denial, intent);
                Refused { told: denial, rows, events: Vec::new() }
            }
        }
    }

    /// [`Self::deny`] of what another family's agent asked for on this one's behalf.
    #[must_use]
    pub fn deny_unasked(&self, denial: Denial) -> Refused {
        let resolved = self.asked.resolved.as_ref();
        let rows = resolved
            .map(|resolved| self.refused_request(resolved, &denial, Some(&resolved.intent)))
            .unwrap_or_default();
        Refused { told: denial, rows, events: Vec::new() }
    }

    /// That the request and its targets were refused.
    fn refused_request(
        &self,
        resolved: &Resolved,
        denial: &Denial,
        intent: Option<&IntentId>,
    ) -> Counted {
        let repeated = self.repeats(denial).map(|length| DeniedRequest {
            intent: intent.cloned(),
            denial: denial.clone(),
            at: self.now,
            until: plus(self.now, length),
            basis: resolved.basis,
        });
        let mut rows: Counted = self.counted_request(resolved, repeated).into_iter().collect();
        if !is_no(denial) {
            return rows;
        }
        for (key, mut target) in self.targets(resolved) {
            if !resolved.targets.contains(&key) {
                continue;
            }
            push_bounded(&mut target.asked, self.now, MAX_COUNTED);
            match self.path_denied(&mut target.denied) {
                Some(denied) => denied.try_another(resolved),
                None => {
                    target.denied = Some(DeniedTarget {
                        at: self.now,
                        code: denial.code(),
                        request: resolved.request,
                        others: Vec::new(),
                        followed: false,
                    });
                }
            }
            rows.push((PaceKey::Target(key), PaceRow::Target(target)));
        }
        rows
    }

    /// How long a refusal is given again to the same request. What the agent can put right by itself is looked at anew, and so
    /// is what passes by itself, and who it is, which is quickly seen and soon repaired.
    fn repeats(&self, denial: &Denial) -> Option<Duration> {
        let is_known = matches!(denial.class(), DenialClass::Identity | DenialClass::Boundary);
        (is_no(denial) && !is_known).then(|| {
            let wait = denial.code().retry().after;
            wait.map_or(self.settings.recent, |wait| wait.min(self.settings.recent))
        })
    }

    /// Takes a refusal from the agent's budget, and has the family cool down when there is none left.
    fn against_budget(&self, denial: Denial, mut rows: Counted, ask: bool) -> Refused {
        let key = PaceKey::Agent(self.asked.agent.clone());
        let family = PaceKey::Family(self.asked.family.clone());
        let mut standing = self.rows.standing(&self.asked.family);
        let said = self.remember_said(&mut standing, &denial);
        let class = denial.class();
        if !counts(&denial) {
            rows.extend(said.then_some((family, PaceRow::Family(standing))));
            return Refused { told: denial, rows, events: Vec::new() };
        }
        let before = self.rows.agent(&key);
        let mut agent = if ask { self.counted_agent(before) } else { before };
        let counted = agent.denied.entry(class).or_default();
        *counted = within(counted, self.now, self.settings.window);
        counted.push(self.now);
        let tries = u32::try_from(counted.len()).unwrap_or(u32::MAX) - 1;
        let budget = self.settings.budget(class);
        let mut events = Vec::new();
        let mut told = denial.with_tries_left(budget.saturating_sub(tries));
        if tries > budget {
            agent.denied.remove(&class);
            let cooldown = self.cool_down(&mut standing, class);
            told = told.after(self.until(cooldown.until));
            events = self.cooldown_events(&standing, &cooldown);
            rows.push((family, PaceRow::Family(standing)));
        } else if said {
            rows.push((family, PaceRow::Family(standing)));
        }
        agent.kept_until = agent.kept_until.max(plus(self.now, self.settings.window));
        rows.retain(|(other, _)| *other != key);
        rows.push((key, PaceRow::Agent(agent)));
        Refused { told, rows, events }
    }

    fn remember_said(&self, standing: &mut super::Standing, denial: &Denial) -> bool {
        standing.said.retain(|said| self.now < plus(said.at, DAY));
        let Some(resolved) = self.asked.resolved.as_ref().filter(|_| is_no(denial)) else {
            return false;
        };
        let Some(justification) = &resolved.justification else { return false };
        push_bounded(
            &mut standing.said,
            Said { at: self.now, request: resolved.request, justification: justification.clone() },
            MAX_SAID,
        );
        true
    }

    /// Begins a cooldown: longer for the second of a day and again for the third, with which the family goes into
    /// quarantine. What failed on our side never leads there.
    fn cool_down(&self, standing: &mut super::Standing, class: DenialClass) -> Cooldown {
        standing.cooldowns.retain(|one| self.now < plus(one.at, DAY));
        let [first, second, later] = self.settings.cooldowns;
        let length = match standing.cooldowns.len() {
            0 => first,
            1 => second,
            _ => later,
        };
        let cooldown = Cooldown {
            at: self.now,
            until: plus(self.now, length),
            agent: self.asked.agent.clone(),
            class,
        };
        push_bounded(&mut standing.cooldowns, cooldown.clone(), MAX_COUNTED);
        let counting = standing.cooldowns.iter().filter(|one| one.class != DenialClass::System);
        let counting = counting.count();
        if class != DenialClass::System && counting >= QUARANTINE_AT {
            standing.quarantine = Some(Quarantine {
                at: self.now,
                agent: self.asked.agent.clone(),
                class,
                cooldowns: u32::try_from(counting).unwrap_or(u32::MAX),
            });
        }
        cooldown
    }

    fn cooldown_events(&self, standing: &super::Standing, cooldown: &Cooldown) -> Vec<Event> {
        let event = |kind| {
            Event::new(kind, self.now)
                .with_agent(self.asked.agent.clone())
                .with_detail("family", self.asked.family.as_str())
                .with_detail("class", cooldown.class.as_str())
        };
        let began = event(EventKind::CooldownBegan).with_expires_at(cooldown.until);
        let quarantine = standing.quarantine.as_ref().map(|quarantine| {
            event(EventKind::QuarantineBegan).with_detail("cooldowns", quarantine.cooldowns)
        });
        std::iter::once(began).chain(quarantine).collect()
    }
}

/// Whether it is somebody's or some policy's no, and not a fault of the request, of the moment or of ours.
fn is_no(denial: &Denial) -> bool {
    match denial.class() {
        DenialClass::Identity
        | DenialClass::Boundary
        | DenialClass::Attenuation
        | DenialClass::Intent
        | DenialClass::Risk
        | DenialClass::Approval => true,
        DenialClass::Malformed
        | DenialClass::Change
        | DenialClass::Grant
        | DenialClass::Stop
        | DenialClass::Pace
        | DenialClass::System => false,
    }
}

/// Whether it is taken from a budget. Who is stopped has none; who is told to wait, or which grant it has already, has been
/// told enough.
fn counts(denial: &Denial) -> bool {
    match denial.class() {
        DenialClass::Stop | DenialClass::Grant => false,
        DenialClass::Pace => denial.code() == DenialCode::RephraseSuspected,
        _ => true,
    }
}
