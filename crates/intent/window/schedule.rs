//! Windows, calendars and a ticket's own time, taken together: may work be done at an instant, until when, and else from when.
//!
//! Every search has a number of steps and a horizon; where it gives up, it says that nothing is known to open.

use std::time::Duration;

use jiff::Timestamp;

use super::calendar::Calendar;
use super::{HORIZON_DAYS, Interval, Repeated, Window};
use crate::lifecycle::plus;
use crate::playbook::MAX_CLOCK;

/// How far an end is looked for: no clock of a grant runs longer.
const AHEAD: Duration = MAX_CLOCK.saturating_mul(2);
/// How many intervals a search goes through.
const MAX_STEPS: usize = 512;

/// When something may be done.
#[derive(Debug, Clone, Default)]
pub struct Schedule<'a> {
    windows: &'a [Window],
    blackouts: Vec<&'a Calendar>,
    planned: Option<Interval>,
}

/// How an instant stands in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It may be done.
    Open {
        /// From when on not any more; none if that is further away than any clock of a grant runs.
        until: Option<Timestamp>,
    },
    /// No window is open.
    Outside {
        /// When the next one opens, if one is known to.
        opens_at: Option<Timestamp>,
    },
    /// A calendar forbids it, whatever the windows say.
    Blackout {
        /// Which calendar.
        calendar: &'a Calendar,
        /// When it may be done again, if that is known.
        opens_at: Option<Timestamp>,
    },
}

impl<'a> Schedule<'a> {
    /// Inside any of the windows, always where there are none, and outside of every calendar.
    #[must_use]
    pub fn new(windows: &'a [Window], blackouts: impl IntoIterator<Item = &'a Calendar>) -> Self {
        Self { windows, blackouts: blackouts.into_iter().collect(), planned: None }
    }

    /// And only from `start` until `end`.
    #[must_use]
    pub const fn planned(mut self, start: Timestamp, end: Timestamp) -> Self {
        self.planned = Some(Interval { start, end });
        self
    }

    /// How `at` stands.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Standing<'a> {
        if let Some((calendar, end)) = self.blackout(at) {
            return Standing::Blackout { calendar, opens_at: self.opening(end) };
        }
        match self.closes(at) {
            Some(until) => {
                // No further than anybody wants to know: the end of time has no day after it.
                let far = plus(at, AHEAD);
                let until = self.next_blackout(at, until.min(far)).unwrap_or(until);
                Standing::Open { until: Some(until).filter(|until| *until < far) }
            }
            None => Standing::Outside { opens_at: self.opening(at) },
        }
    }

    /// The first instant from `from` on at which it may be done.
    #[must_use]
    pub fn opening(&self, from: Timestamp) -> Option<Timestamp> {
        let horizon = plus(from, Duration::from_secs(u64::from(HORIZON_DAYS) * 24 * 60 * 60));
        let mut at = match self.planned {
            Some(planned) => from.max(planned.start),
            None => from,
        };
        for _step in 0..MAX_STEPS {
            if at >= horizon || self.planned.is_some_and(|planned| planned.end <= at) {
                return None;
            }
            if let Some((_, end)) = self.blackout(at) {
                at = end;
                continue;
            }
            if self.window_end(at).is_some() {
                return Some(at);
            }
            let starts = self.windows.iter();
            let starts = starts.filter_map(|one| one.next_start(at, horizon, Repeated::First));
            at = starts.min()?;
        }
        None
    }

    /// The calendar that holds `at`, and when its interval ends.
    fn blackout(&self, at: Timestamp) -> Option<(&'a Calendar, Timestamp)> {
        let blackouts = self.blackouts.iter();
        let held = blackouts.filter_map(|calendar| Some((*calendar, calendar.end_if_held(at)?)));
        held.max_by_key(|(_, end)| *end)
    }

    /// When the next interval of a calendar begins, before `until`.
    fn next_blackout(&self, at: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.blackouts.iter().filter_map(|calendar| calendar.next_start(at, until)).min()
    }

    /// When what is open at `at` closes, as far as that is looked for; windows that touch are one.
    fn closes(&self, at: Timestamp) -> Option<Timestamp> {
        let (planned, far) = (self.planned, plus(at, AHEAD));
        if planned.is_some_and(|planned| at < planned.start || planned.end <= at) {
            return None;
        }
        let mut end = self.window_end(at)?;
        for _step in 0..MAX_STEPS {
            if end >= far {
                break;
            }
            match self.window_end(end) {
                Some(later) => end = later,
                None => break,
            }
        }
        Some(planned.map_or(end, |planned| end.min(planned.end)))
    }

    /// When the last window that is open at `at` closes; the end of time where there are none.
    fn window_end(&self, at: Timestamp) -> Option<Timestamp> {
        if self.windows.is_empty() {
            return Some(Timestamp::MAX);
        }
        self.windows.iter().filter_map(|window| window.end_if_open(at, Repeated::First)).max()
    }
}
