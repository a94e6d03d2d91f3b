//! `[time]`: the clocks and counts of a playbook; nothing is unlimited.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use crate::playbook::report::Report;
use crate::playbook::{MAX_CLOCK, MAX_TOKEN_LIFETIME, MAX_USES};
use crate::window::{CalendarName, Window};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeSection {
    pub(crate) expected_runtime: String,
    pub(crate) retry_buffer: String,
    pub(crate) max_duration: String,
    pub(crate) uses: u32,
    #[serde(default)]
    pub(crate) single_use_tokens: bool,
    pub(crate) request_ttl: String,
    pub(crate) start_within: String,
    pub(crate) idle_timeout: Option<String>,
    #[serde(default)]
    pub(crate) windows: Vec<WindowSection>,
    #[serde(default)]
    pub(crate) blackout: Vec<String>,
}

/// One of `windows`. A window without `duration` would never close, and is an error like any other missing field.
pub(crate) use crate::window::WindowDocument as WindowSection;

/// The most windows and calendars of a playbook.
const MAX_WINDOWS: usize = 16;
const CALENDAR: &str = "calendar:";

/// The clocks and counts of a playbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long the work takes.
    pub expected_runtime: Duration,
    /// What is added for a retry.
    pub retry_buffer: Duration,
    /// How long after the first use everything ends.
    pub max_duration: Duration,
    /// How many tokens one grant gives.
    pub uses: u32,
    /// Whether each token is used up by the first resource server that introspects it.
    pub single_use_tokens: bool,
    /// How long a request may wait for approval.
    pub request_ttl: Duration,
    /// How long after approval the first use may be.
    pub start_within: Duration,
}

impl Times {
    /// How long one token lives at most: expected run time plus retry buffer (M 62).
    #[must_use]
    pub const fn token_lifetime(&self) -> Duration {
        self.expected_runtime.saturating_add(self.retry_buffer)
    }
}

/// A buffer of this length is small for any run time.
const SMALL_BUFFER: Duration = Duration::from_secs(60);

pub(crate) fn read(time: &TimeSection, report: &mut Report<'_>) -> Option<Times> {
    let mut read = |name: &str, text: &str, least: Duration, most: Duration| {
        let path = format!("time.{name}");
        let length = report.keep(&path, duration(text))?;
        let message = format!("is {}s to {}s", least.as_secs(), most.as_secs());
        report.require((least..=most).contains(&length), &path, message);
        Some(length)
    };
    let second = Duration::from_secs(1);
    let expected_runtime =
        read("expected_runtime", &time.expected_runtime, second, MAX_TOKEN_LIFETIME);
    let retry_buffer = read("retry_buffer", &time.retry_buffer, Duration::ZERO, MAX_TOKEN_LIFETIME);
    let max_duration = read("max_duration", &time.max_duration, second, MAX_CLOCK);
    let request_ttl = read("request_ttl", &time.request_ttl, second, MAX_CLOCK);
    let start_within = read("start_within", &time.start_within, second, MAX_CLOCK);
    report.require((1..=MAX_USES).contains(&time.uses), "time.uses", format!("is 1 to {MAX_USES}"));
    let times = Times {
        expected_runtime: expected_runtime?,
        retry_buffer: retry_buffer?,
        max_duration: max_duration?,
        uses: time.uses,
        single_use_tokens: time.single_use_tokens,
        request_ttl: request_ttl?,
        start_within: start_within?,
    };
    let life = times.token_lifetime();
    report.require(
        life <= MAX_TOKEN_LIFETIME,
        "time.expected_runtime",
        format!(
            "with `retry_buffer` a token would live longer than {}s",
            MAX_TOKEN_LIFETIME.as_secs()
        ),
    );
    report.require(
        times.retry_buffer <= times.expected_runtime.max(SMALL_BUFFER),
        "time.retry_buffer",
        "is longer than the run itself; a token lives as long as the work, and a little",
    );
    report.require(
        life <= times.max_duration,
        "time.max_duration",
        "is shorter than `expected_runtime` and `retry_buffer` together",
    );
    Some(times)
}

/// When a grant may be used: windows, of which there may be none, and the calendars that forbid it.
pub(crate) fn read_windows(
    time: &TimeSection,
    report: &mut Report<'_>,
) -> (Vec<Window>, BTreeSet<CalendarName>) {
    for (name, count) in [("windows", time.windows.len()), ("blackout", time.blackout.len())] {
        let message = format!("has at most {MAX_WINDOWS} entries");
        report.require(count <= MAX_WINDOWS, &format!("time.{name}"), message);
    }
    let windows = time.windows.iter().take(MAX_WINDOWS).enumerate();
    let windows = windows.filter_map(|(index, window)| {
        report.keep(&format!("time.windows.{index}"), Window::try_from(window.clone()))
    });
    let windows = windows.collect();
    let mut blackouts = BTreeSet::new();
    for (index, text) in time.blackout.iter().enumerate() {
        let path = format!("time.blackout.{index}");
        match text.strip_prefix(CALENDAR) {
            Some(name) => blackouts.extend(report.parse::<CalendarName>(&path, name)),
            None => report.refuse(&path, "is written `calendar:name`"),
        }
    }
    (windows, blackouts)
}

/// A whole number and `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const SHAPE: &str = "a duration is a whole number and `s`, `m` or `h`, such as `90s`";
    let (digits, factor) = [('s', 1), ('m', 60), ('h', 3600)]
        .into_iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, factor)))
        .ok_or(SHAPE)?;
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SHAPE);
    }
    let count: u64 = digits.parse().map_err(|_source| SHAPE)?;
    Ok(Duration::from_secs(count * factor))
}
