//! Change control of one trust domain: windows, blackout calendars and tickets, looked at when an intent is asked for,
//! approved and used.
//!
//! The rules are `intent`'s. What a grant is held to is pinned in it; calendars are those of the folder as it is served, so that
//! a freeze which is declared today holds for what was granted yesterday. Absent: what becomes of an intent.

mod itsm;
mod tickets;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use marque_exchange::UseGate;
use marque_intent::{
    Calendar, CalendarName, CalendarSet, Denial, DenialCode, Grant, Playbook, Schedule, Standing,
    TicketCondition, TicketEvidence, TicketRef, TicketSystemName, Window, WindowEvidence,
};
use marque_registry::TicketSystem;
use marque_spiffe::Clock;
use serde_json::{Map, Value};

pub(crate) use self::itsm::HttpTicketSystem;
pub(crate) use self::tickets::Tickets;
pub(crate) use self::watch::Watch;

/// Who holds grants to their windows, calendars and tickets.
#[derive(Debug)]
pub(crate) struct ChangeControl {
    calendars: CalendarSet,
    systems: BTreeMap<TicketSystemName, Tickets>,
    clock: Arc<dyn Clock>,
}

/// When something may be used, as far as it is pinned.
struct Times<'a> {
    windows: &'a [Window],
    blackouts: &'a BTreeSet<CalendarName>,
    /// Whether calendars that let emergencies through let it through.
    emergency: bool,
    ticket: Option<&'a TicketEvidence>,
}

impl ChangeControl {
    /// With the calendars of a folder, and ready to ask its ticket systems; nobody is asked yet.
    pub(crate) fn open(
        systems: &[TicketSystem],
        calendars: CalendarSet,
        folder: &Path,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let open = |system: &TicketSystem| {
            let name: TicketSystemName = system.name().parse()?;
            let connector = HttpTicketSystem::open(system.clone(), folder, clock)?;
            let tickets = Tickets::new(
                name.clone(),
                Arc::new(connector),
                system.max_age(),
                Arc::clone(clock),
            );
            anyhow::Ok((name, tickets))
        };
        let systems = systems.iter().map(|system| {
            open(system).with_context(|| format!("prepare to ask `{}`", system.name()))
        });
        Ok(Self {
            calendars,
            systems: systems.collect::<Result<_, _>>()?,
            clock: Arc::clone(clock),
        })
    }

    /// What the ticket system, the windows and the calendars say of a request. A request may come before its window opens, by
    /// as much as it may wait for approval.
    ///
    /// # Errors
    /// The ticket will not do, or no window opens in time.
    pub(crate) async fn of_request(
        &self,
        playbook: &Playbook,
        ticket: Option<&TicketRef>,
        parameters: &Map<String, Value>,
    ) -> Result<(Option<TicketEvidence>, Option<WindowEvidence>), Denial> {
        let ticket = match playbook.ticket_condition().zip(ticket) {
            Some((condition, ticket)) => Some(self.ticket(condition, ticket, parameters).await?),
            None => None,
        };
        let times = Times {
            windows: playbook.windows(),
            blackouts: playbook.blackouts(),
            emergency: playbook.emergency().is_some(),
            ticket: ticket.as_ref(),
        };
        if times.are_all() {
            return Ok((ticket, None));
        }
        let now = self.clock.now();
        let latest = now.checked_add(playbook.times().request_ttl).unwrap_or(Timestamp::MAX);
        let window = self.standing(&times, |standing| match standing {
            Standing::Open { .. } => Ok(standing.into()),
            Standing::Outside { opens_at } | Standing::Blackout { opens_at, .. }
                if opens_at.is_some_and(|opens_at| opens_at <= latest) =>
            {
                Ok(standing.into())
            }
            Standing::Outside { .. } | Standing::Blackout { .. } => Err(closed(standing, now)),
        })?;
        Ok((ticket, Some(window)))
    }

    /// Whether the ticket of a grant will still do.
    ///
    /// # Errors
    /// It will not, or that cannot be found out.
    pub(crate) async fn of_ticket(&self, grant: &Grant) -> Result<(), Denial> {
        self.own_ticket(grant).await.map(drop)
    }

    /// Whether a grant may be used now, and until when.
    async fn of_use(&self, grant: &Grant) -> Result<Option<Timestamp>, Denial> {
        let ticket = self.own_ticket(grant).await?;
        let times = Times::of(grant, ticket.as_ref());
        if times.are_all() {
            return Ok(None);
        }
        let now = self.clock.now();
        self.standing(&times, |standing| match standing {
            Standing::Open { until } => Ok(until),
            Standing::Outside { .. } | Standing::Blackout { .. } => Err(closed(standing, now)),
        })
    }

    /// What a grant's ticket is now, and where this moment stands in its windows and blackouts, for whoever decides on it
    /// again; each absent where nothing is said of it.
    ///
    /// # Errors
    /// The ticket will not do any more or cannot be looked at, or there is no such calendar any more.
    pub(crate) async fn evidence_now(
        &self,
        grant: &Grant,
    ) -> Result<(Option<TicketEvidence>, Option<WindowEvidence>), Denial> {
        let ticket = self.own_ticket(grant).await?;
        let times = Times::of(grant, ticket.as_ref());
        if times.are_all() {
            return Ok((ticket, None));
        }
        let window = self.standing(&times, |standing| Ok(standing.into()))?;
        Ok((ticket, Some(window)))
    }

    /// Whether a calendar forbids its use now.
    ///
    /// # Errors
    /// Which one does.
    fn blackout(&self, grant: &Grant) -> Result<(), Denial> {
        let now = self.clock.now();
        self.standing(&Times::of(grant, None), |standing| match standing {
            Standing::Open { .. } | Standing::Outside { .. } => Ok(()),
            Standing::Blackout { .. } => Err(closed(standing, now)),
        })
    }

    /// What its ticket is now, where it has one that is looked at.
    async fn own_ticket(&self, grant: &Grant) -> Result<Option<TicketEvidence>, Denial> {
        match grant.conditions.ticket.as_ref().zip(grant.ticket.as_ref()) {
            Some((condition, ticket)) => {
                Ok(Some(self.ticket(condition, ticket, &grant.parameters).await?))
            }
            None => Ok(None),
        }
    }

    async fn ticket(
        &self,
        condition: &TicketCondition,
        ticket: &TicketRef,
        parameters: &Map<String, Value>,
    ) -> Result<TicketEvidence, Denial> {
        let name = &condition.system;
        let Some(system) = self.systems.get(name) else {
            let detail = format!("there is no ticket system `{name}` any more");
            return Err(Denial::new(DenialCode::TicketSystemUnavailable, detail));
        };
        let (facts, looked_at) = system.look_up(ticket).await;
        let facts = facts.map_err(|error| error.denial(name))?;
        condition.judge(ticket, parameters, &facts, looked_at)
    }

    /// Has `judge` judge how this moment stands.
    fn standing<T>(
        &self,
        times: &Times<'_>,
        judge: impl FnOnce(Standing<'_>) -> Result<T, Denial>,
    ) -> Result<T, Denial> {
        let mut calendars: Vec<&Calendar> = Vec::new();
        for name in times.blackouts {
            let Some(calendar) = self.calendars.find(name) else {
                // Whatever it forbade, nobody said that it does not any more.
                let detail = format!("there is no calendar `{name}` any more");
                return Err(Denial::new(DenialCode::Blackout, detail));
            };
            if !(times.emergency && calendar.lets_emergencies_through()) {
                calendars.push(calendar);
            }
        }
        let mut schedule = Schedule::new(times.windows, calendars);
        if let Some((from, until)) = times.planned() {
            schedule = schedule.planned(from, until);
        }
        judge(schedule.at(self.clock.now()))
    }
}

impl<'a> Times<'a> {
    fn of(grant: &'a Grant, ticket: Option<&'a TicketEvidence>) -> Self {
        let conditions = &grant.conditions;
        Self {
            windows: &conditions.windows,
            blackouts: &conditions.blackouts,
            emergency: grant.emergency.is_some(),
            ticket,
        }
    }

    fn planned(&self) -> Option<(Timestamp, Timestamp)> {
        let ticket = self.ticket?;
        ticket.planned_from.zip(ticket.planned_until)
    }

    /// Whether nothing is said of time.
    fn are_all(&self) -> bool {
        self.windows.is_empty() && self.blackouts.is_empty() && self.planned().is_none()
    }
}

impl UseGate for ChangeControl {
    fn admit<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Option<Timestamp>, Denial>> {
        self.of_use(grant).boxed()
    }
}

/// The refusal outside of all windows or in a blackout, with when the next window opens.
fn closed(standing: Standing<'_>, now: Timestamp) -> Denial {
    let (code, why, opens_at) = match standing {
        Standing::Blackout { calendar, opens_at } => {
            let reason = calendar.reason_at(now).unwrap_or_else(|| calendar.reason());
            let why = format!("calendar `{}`: {reason}", calendar.name());
            (DenialCode::Blackout, why, opens_at)
        }
        Standing::Outside { opens_at } => {
            (DenialCode::OutsideChangeWindow, "no change window is open".to_owned(), opens_at)
        }
        Standing::Open { .. } => {
            (DenialCode::OutsideChangeWindow, "the change window has closed".to_owned(), None)
        }
    };
    match opens_at {
        Some(opens_at) => {
            let wait = Duration::try_from(opens_at.duration_since(now)).unwrap_or_default();
            Denial::new(code, format!("{why}; the next window opens at {opens_at}")).after(wait)
        }
        None => Denial::new(code, format!("{why}; no next window is known")),
    }
}

#[cfg(test)]
mod tests;
