//! The rules, over loaded rows: may this request be asked now, and what is written when it was kept or refused.

use std::time::Duration;

use jiff::Timestamp;
use marque_audit::Event;

use super::rows::{DAY, MAX_COUNTED};
use super::{
    AgentPace, Asked, DeniedRequest, DeniedTarget, OpenIntent, PaceKey, PaceRow, PaceRows,
    PaceSettings, Quarantine, Resolved, TaskPace,
};
use crate::denial::{Denial, DenialCode};
use crate::id::IntentId;
use crate::lifecycle::plus;

/// How many other requests for a refused target are told apart.
const MAX_OTHERS: usize = 32;
/// How long a grant counts as what came after a refusal.
const FOLLOWED_WITHIN: Duration = Duration::from_hours(1);

const MINUTE: Duration = Duration::from_mins(1);

/// One request at one instant, with everything that is known of its pace.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// What is asked for.
    pub asked: &'a Asked,
    /// The rows under [`Asked::keys`].
    pub rows: &'a PaceRows,
    /// The numbers.
    pub settings: &'a PaceSettings,
    /// Now.
    pub now: Timestamp,
}

/// The rows to write.
pub type Counted = Vec<(PaceKey, PaceRow)>;

/// What is written when a request is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The rows.
    pub rows: Counted,
    /// The refusal of its target that it came soon after, if it was granted at once and is the first since.
    pub after: Option<DenialCode>,
}

/// What is written when a request is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// What the agent is told: the refusal, or that it has to wait.
    pub told: Denial,
    /// The rows.
    pub rows: Counted,
    /// A cooldown or a quarantine that begins.
    pub events: Vec<Event>,
}

impl Asked {
    /// The rows that say whether it may be asked, and in which it is counted.
    #[must_use]
    pub fn keys(&self) -> Vec<PaceKey> {
        let mut keys =
            vec![PaceKey::Family(self.family.clone()), PaceKey::Agent(self.agent.clone())];
        keys.extend(self.task_key());
        if let Some(resolved) = &self.resolved {
            keys.extend(self.open_key());
            keys.push(PaceKey::Request(resolved.request));
            keys.extend(resolved.within.iter().map(|key| PaceKey::Target(*key)));
        }
        keys
    }

    fn task_key(&self) -> Option<PaceKey> {
        self.task.as_ref().map(|task| PaceKey::Task(self.agent.clone(), task.clone()))
    }

    fn open_key(&self) -> Option<PaceKey> {
        let playbook = self.playbook.as_ref()?;
        Some(PaceKey::Open(self.agent.clone(), playbook.clone()))
    }
}

impl Turn<'_> {
    /// Whether it may be asked.
    ///
    /// # Errors
    /// The refusal: `quarantined`, `cooldown_after_denial`, `rate_limited`, the refusal of the same request, or
    /// `rephrase_suspected`.
    pub fn check(&self) -> Result<(), Denial> {
        self.standing()?;
        self.rate()?;
        if let Some(resolved) = &self.asked.resolved {
            self.same_request(resolved)?;
            self.other_paths(resolved)?;
        }
        Ok(())
    }

    /// [`Self::check`], and whether the agent may have one more intent of the playbook; `is_open` says which of those that
    /// it had are open still.
    ///
    /// # Errors
    /// As [`Self::check`], `duplicate_grant` or `rate_limited`.
    pub fn admit(&self, is_open: &dyn Fn(&IntentId) -> bool) -> Result<(), Denial> {
        self.check()?;
        let (Some(resolved), Some(key)) = (&self.asked.resolved, self.asked.open_key()) else {
            return Ok(());
        };
        let open: Vec<OpenIntent> =
            self.rows.open(&key).intents.into_iter().filter(|one| is_open(&one.id)).collect();
        let same = open.iter().find(|one| one.scope == resolved.scope);
        if let Some(same) = same.filter(|_| !self.settings.duplicates) {
            let detail = format!("`{}` is open with the same scope", same.id);
            return Err(Denial::new(DenialCode::DuplicateGrant, detail).about(same.id.clone()));
        }
        let most = self.settings.open_per_playbook;
        if open.len() >= most as usize {
            let detail = format!("the agent has {} intents of the playbook open", open.len());
            let denial = Denial::new(DenialCode::RateLimited, detail);
            return Err(denial.expecting(&format!("fewer than {most}"), &open.len().to_string()));
        }
        Ok(())
    }

    /// What is written when the request is kept; `granted` where nobody has to decide any more.
    #[must_use]
    pub fn keep(&self, granted: bool, is_open: &dyn Fn(&IntentId) -> bool) -> Kept {
        let mut rows = self.asked_rows();
        let mut after = None;
        if let (Some(resolved), Some(key)) = (&self.asked.resolved, self.asked.open_key()) {
            let mut open = self.rows.open(&key);
            open.intents.retain(|one| is_open(&one.id));
            open.intents.push(OpenIntent { id: resolved.intent.clone(), scope: resolved.scope });
            open.kept_until = open.kept_until.max(resolved.ends);
            rows.push((key, PaceRow::Open(open)));
            rows.extend(self.counted_request(resolved, None));
            for (key, mut target) in self.targets(resolved) {
                if resolved.targets.contains(&key) {
                    push_bounded(&mut target.asked, self.now, MAX_COUNTED);
                }
                if let Some(denied) = self.path_denied(&mut target.denied) {
                    denied.try_another(resolved);
                    let soon = self.now < plus(denied.at, FOLLOWED_WITHIN);
                    if granted && soon && !denied.followed {
                        denied.followed = true;
                        after = after.or(Some(denied.code));
                    }
                } else if !resolved.targets.contains(&key) {
                    continue;
                }
                rows.push((PaceKey::Target(key), PaceRow::Target(target)));
            }
        }
        Kept { rows, after }
    }

    /// What is written when an intent of it is granted later on, by a person.
    #[must_use]
    pub fn grant(&self) -> Kept {
        let Some(resolved) = &self.asked.resolved else {
            return Kept { rows: Vec::new(), after: None };
        };
        let (mut rows, mut after) = (Vec::new(), None);
        for (key, mut target) in self.targets(resolved) {
            let Some(denied) = target.denied.as_mut() else { continue };
            let soon = denied.at <= self.now && self.now < plus(denied.at, FOLLOWED_WITHIN);
            if soon && !denied.followed {
                denied.followed = true;
                after = after.or(Some(denied.code));
                rows.push((PaceKey::Target(key), PaceRow::Target(target)));
            }
        }
        Kept { rows, after }
    }

    pub(super) fn standing(&self) -> Result<(), Denial> {
        let standing = self.rows.standing(&self.asked.family);
        if let Some(quarantine) = &standing.quarantine {
            return Err(quarantined(&self.asked.family, quarantine));
        }
        match standing.cooling(self.now) {
            None => Ok(()),
            Some(cooldown) => {
                let detail = format!(
                    "`{}/*` cools down until {}: `{}` had too many refusals of class `{}`",
                    self.asked.family, cooldown.until, cooldown.agent, cooldown.class
                );
                let denial = Denial::new(DenialCode::CooldownAfterDenial, detail);
                Err(denial.after(self.until(cooldown.until)))
            }
        }
    }

    /// How many requests there were in the last minute, and for the task.
    pub(super) fn rate(&self) -> Result<(), Denial> {
        let agent = self.rows.agent(&PaceKey::Agent(self.asked.agent.clone()));
        let recent = within(&agent.asked, self.now, MINUTE);
        let most = self.settings.per_minute as usize;
        if recent.len() >= most {
            let free = recent.get(recent.len() - most).map_or(self.now, |at| plus(*at, MINUTE));
            let detail = format!("{} requests in the last minute", recent.len());
            let denial = Denial::new(DenialCode::RateLimited, detail)
                .expecting(&format!("at most {most} in a minute"), &recent.len().to_string());
            return Err(denial.after(self.until(free)));
        }
        let task = self.asked.task_key().and_then(|key| self.rows.task(&key));
        let most = self.settings.per_task;
        match task.filter(|task| self.now < plus(task.last, DAY)) {
            Some(task) if task.asked >= most => {
                let detail = format!("{} requests for the task", task.asked);
                let denial = Denial::new(DenialCode::RateLimited, detail)
                    .expecting(&format!("at most {most} for a task"), &task.asked.to_string());
                Err(denial.after(self.until(plus(task.last, DAY))))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The same request was refused just before, by the same playbook and policies.
    fn same_request(&self, resolved: &Resolved) -> Result<(), Denial> {
        let row = self.rows.request(&PaceKey::Request(resolved.request));
        match row.denied.filter(|denied| self.stands(denied, resolved)) {
            None => Ok(()),
            Some(denied) => {
                let repeated = denied.denial;
                Err(denied.intent.into_iter().fold(repeated, Denial::about))
            }
        }
    }

    fn stands(&self, denied: &DeniedRequest, resolved: &Resolved) -> bool {
        denied.basis == resolved.basis && denied.at <= self.now && self.now < denied.until
    }

    /// Other requests for a target after it was refused.
    fn other_paths(&self, resolved: &Resolved) -> Result<(), Denial> {
        // Break-glass is for when the usual way is shut; that it came after a refusal is counted, and people are told.
        if resolved.emergency {
            return Ok(());
        }
        for (_, mut target) in self.targets(resolved) {
            let Some(denied) = self.path_denied(&mut target.denied) else { continue };
            let new = denied.request != resolved.request;
            if new && denied.tried_without(resolved) >= self.settings.other_paths as usize {
                let detail = format!(
                    "the target was refused at {} (`{}`), and {} other requests for it came since",
                    denied.at,
                    denied.code,
                    denied.others.len()
                );
                let denial = Denial::new(DenialCode::RephraseSuspected, detail);
                return Err(denial.after(self.until(plus(denied.at, self.settings.path_window))));
            }
        }
        Ok(())
    }

    pub(super) fn targets<'b>(
        &'b self,
        resolved: &'b Resolved,
    ) -> impl Iterator<Item = (crate::Digest, super::TargetPace)> + 'b {
        resolved.within.iter().map(|key| (*key, self.rows.target(&PaceKey::Target(*key))))
    }

    pub(super) fn path_denied<'b>(
        &self,
        denied: &'b mut Option<DeniedTarget>,
    ) -> Option<&'b mut DeniedTarget> {
        let window = self.settings.path_window;
        denied.as_mut().filter(|one| one.at <= self.now && self.now < plus(one.at, window))
    }

    /// That the request came.
    pub(super) fn asked_rows(&self) -> Counted {
        let key = PaceKey::Agent(self.asked.agent.clone());
        let agent = self.counted_agent(self.rows.agent(&key));
        let mut rows = vec![(key, PaceRow::Agent(agent))];
        if let Some(key) = self.asked.task_key() {
            let before = self.rows.task(&key).filter(|task| self.now < plus(task.last, DAY));
            let asked = before.map_or(0, |task| task.asked).saturating_add(1);
            // Whoever is over the limit does not put its end off.
            let over = before_over(self.rows.task(&key), self.settings.per_task, self.now);
            let task = over.unwrap_or(TaskPace { asked, last: self.now });
            rows.push((key, PaceRow::Task(task)));
        }
        rows
    }

    pub(super) fn counted_agent(&self, mut agent: AgentPace) -> AgentPace {
        agent.asked = within(&agent.asked, self.now, MINUTE);
        // One past the limit is refused anyhow; more need not be remembered.
        if agent.asked.len() < self.settings.per_minute as usize {
            agent.asked.push(self.now);
        }
        agent.kept_until = agent.kept_until.max(plus(self.now, MINUTE));
        agent
    }

    pub(super) fn counted_request(
        &self,
        resolved: &Resolved,
        denied: Option<DeniedRequest>,
    ) -> Option<(PaceKey, PaceRow)> {
        let key = PaceKey::Request(resolved.request);
        let mut row = self.rows.request(&key);
        push_bounded(&mut row.asked, self.now, MAX_COUNTED);
        // The instant until which it is repeated is that of the first refusal.
        row.denied = row.denied.filter(|before| self.stands(before, resolved)).or(denied);
        Some((key, PaceRow::Request(row)))
    }

    pub(super) fn until(&self, end: Timestamp) -> Duration {
        let left = end.duration_since(self.now);
        Duration::try_from(left).unwrap_or_default()
    }
}

impl DeniedTarget {
    pub(super) fn try_another(&mut self, resolved: &Resolved) {
        let new = resolved.request != self.request && !self.others.contains(&resolved.request);
        if new && self.others.len() < MAX_OTHERS {
            self.others.push(resolved.request);
        }
    }

    /// How many other requests there were beside this one.
    fn tried_without(&self, resolved: &Resolved) -> usize {
        self.others.iter().filter(|other| **other != resolved.request).count()
    }
}

impl super::Standing {
    /// A family that a person lets ask again, and nothing of what was before counts against it; none where it is neither in
    /// quarantine nor cooling down.
    #[must_use]
    pub fn released(&self, now: Timestamp) -> Option<Self> {
        let held = self.quarantine.is_some() || self.cooling(now).is_some();
        held.then(|| Self { cooldowns: Vec::new(), quarantine: None, said: self.said.clone() })
    }

    /// Whether the family has nothing but its baseline identity.
    ///
    /// # Errors
    /// `quarantined`.
    pub fn may_exchange(&self, family: &super::Family) -> Result<(), Denial> {
        match &self.quarantine {
            None => Ok(()),
            Some(quarantine) => Err(quarantined(family, quarantine)),
        }
    }
}

fn quarantined(family: &super::Family, quarantine: &Quarantine) -> Denial {
    let detail = format!(
        "`{family}/*` is in quarantine since {}: `{}` brought on the last of {} cooldowns in a day",
        quarantine.at, quarantine.agent, quarantine.cooldowns
    );
    Denial::new(DenialCode::Quarantined, detail)
}

/// The instants of the last while, the present among them and none of the future.
pub(super) fn within(instants: &[Timestamp], now: Timestamp, length: Duration) -> Vec<Timestamp> {
    instants.iter().copied().filter(|at| now < plus(*at, length)).collect()
}

/// The count of a task that has reached its limit.
fn before_over(task: Option<TaskPace>, most: u32, now: Timestamp) -> Option<TaskPace> {
    task.filter(|task| task.asked >= most && now < plus(task.last, DAY))
}

pub(super) fn push_bounded<T>(items: &mut Vec<T>, item: T, most: usize) {
    items.push(item);
    let over = items.len().saturating_sub(most);
    items.drain(..over);
}
