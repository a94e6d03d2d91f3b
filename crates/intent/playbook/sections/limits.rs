//! `[limits]`: the numbers that bound each grant.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::time::duration;
use super::tools::ToolTemplate;
use crate::playbook::parameters::MAX_SAFE_INTEGER;
use crate::playbook::report::Report;
use crate::rights::{Limits, ToolId};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsSection {
    pub(crate) max_records: Option<u64>,
    pub(crate) max_calls: Option<u64>,
    pub(crate) max_destructive: Option<u64>,
    pub(crate) max_bytes_out: Option<u64>,
    pub(crate) min_interval: Option<String>,
}

pub(crate) fn read(section: Option<&LimitsSection>, report: &mut Report<'_>) -> Limits {
    section.map_or_else(Limits::default, |section| read_at("limits", section, report))
}

/// The numbers of a section that stands at `place`.
pub(crate) fn read_at(place: &str, section: &LimitsSection, report: &mut Report<'_>) -> Limits {
    let LimitsSection { max_records, max_calls, max_destructive, max_bytes_out, min_interval } =
        section;
    let mut number = |name: &str, value: &Option<u64>, least: u64| {
        if let Some(value) = value {
            let message = format!("is {least} to 2^53 - 1");
            let fits = (least..=MAX_SAFE_INTEGER).contains(value);
            report.require(fits, &format!("{place}.{name}"), message);
        }
        *value
    };
    let limits = Limits {
        max_records: number("max_records", max_records, 1),
        max_calls: number("max_calls", max_calls, 1),
        max_destructive: number("max_destructive", max_destructive, 0),
        max_bytes_out: number("max_bytes_out", max_bytes_out, 1),
        min_interval_s: min_interval
            .as_deref()
            .and_then(|text| report.keep(&format!("{place}.min_interval"), duration(text)))
            .map(|interval| interval.as_secs()),
    };
    report.require(!limits.is_empty(), place, "names at least one number, or is left out");
    limits
}

/// Calls are never without number.
pub(crate) fn check_tools(
    limits: &Limits,
    tools: &BTreeMap<ToolId, ToolTemplate>,
    report: &mut Report<'_>,
) {
    if tools.is_empty() {
        return;
    }
    let message = "is missing: tools are never called without number";
    report.require(limits.max_calls.is_some(), "limits.max_calls", message);
    let destructive = tools.values().any(|tool| tool.destructive);
    let message = "is missing: a tool is destructive, and never without number";
    report.require(
        !destructive || limits.max_destructive.is_some(),
        "limits.max_destructive",
        message,
    );
}
