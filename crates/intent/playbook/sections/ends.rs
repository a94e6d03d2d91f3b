//! `time.idle_timeout`, `[liveness]` and `[on_complete]`: what ends a grant beside its fixed clocks, and how long its
//! report may take.

use std::time::Duration;

use serde::Deserialize;

use super::time::{TimeSection, duration};
use crate::ends::EndingRules;
use crate::playbook::MAX_CLOCK;
use crate::playbook::report::Report;

/// Silence shorter than this would end a grant between two calls of a busy agent.
const MIN_IDLE: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LivenessSection {
    #[serde(default)]
    pub(crate) agent: bool,
    #[serde(default)]
    pub(crate) parent: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnCompleteSection {
    pub(crate) report_within: Option<String>,
    pub(crate) notify: Option<Vec<String>>,
    pub(crate) verify: Option<String>,
}

pub(crate) fn read(
    time: &TimeSection,
    liveness: Option<&LivenessSection>,
    on_complete: Option<&OnCompleteSection>,
    report: &mut Report<'_>,
) -> EndingRules {
    let mut clock = |path: &str, text: Option<&String>, least: Duration| {
        let length = text.and_then(|text| report.keep(path, duration(text)))?;
        let message = format!("is {}s to {}s", least.as_secs(), MAX_CLOCK.as_secs());
        report.require((least..=MAX_CLOCK).contains(&length), path, message);
        Some(length)
    };
    let idle_timeout = clock("time.idle_timeout", time.idle_timeout.as_ref(), MIN_IDLE);
    let within = on_complete.and_then(|section| section.report_within.as_ref());
    let report_within = clock("on_complete.report_within", within, Duration::from_secs(1));
    if let Some(LivenessSection { agent: false, parent: false }) = liveness {
        report.refuse("liveness", "says nothing; name `agent` or `parent`, or leave it out");
    }
    EndingRules {
        idle_timeout,
        with_agent: liveness.is_some_and(|liveness| liveness.agent),
        with_parent: liveness.is_some_and(|liveness| liveness.parent),
        report_within,
    }
}
