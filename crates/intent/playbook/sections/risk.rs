//! `[risk]`: what a request for the playbook begins with, what adds to it, and what follows of the sum.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::demands::unique;
use crate::evidence::{MAX_RISK, RiskName, RiskRules, WorkingHours};
use crate::playbook::report::Report;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RiskSection {
    base: u32,
    deny_at: Option<u32>,
    approve_at: Option<u32>,
    weights: Option<BTreeMap<String, u32>>,
    sensitive_classes: Option<Vec<String>>,
    hours: Option<HoursSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoursSection {
    zone: String,
    days: Vec<String>,
    from: String,
    until: String,
}

pub(crate) fn read(
    section: &RiskSection,
    data_classes: &[String],
    report: &mut Report<'_>,
) -> RiskRules {
    let RiskSection { base, deny_at, approve_at, weights, sensitive_classes, hours } = section;
    report.require(*base <= MAX_RISK, "risk.base", "is 0 to 100");
    for (name, limit) in [("deny_at", deny_at), ("approve_at", approve_at)] {
        let fits = limit.is_none_or(|limit| (1..=MAX_RISK).contains(&limit));
        report.require(fits, &format!("risk.{name}"), "is 1 to 100");
    }
    if let (Some(deny), Some(approve)) = (deny_at, approve_at) {
        let message = "is not below `risk.deny_at`: what is refused needs no approver";
        report.require(approve < deny, "risk.approve_at", message);
    }
    if let Some(deny) = deny_at {
        let message = "is not above `risk.base`: every request would be refused";
        report.require(deny > base, "risk.deny_at", message);
    }
    let weights = weights_of(weights.as_ref(), report);
    let classes = classes(sensitive_classes.as_ref(), data_classes, report);
    let hours = hours.as_ref().map(|section| working_hours(section, report));
    for (name, factor, there) in [
        ("sensitive_classes", RiskName::SensitiveData, sensitive_classes.is_some()),
        ("hours", RiskName::OffHours, hours.is_some()),
    ] {
        let message = match there {
            true => {
                format!("is there, and `risk.weights.{factor}` is not: nothing would look at it")
            }
            false => format!("is missing, and `risk.weights.{factor}` looks at it"),
        };
        let path = if there { format!("risk.{name}") } else { format!("risk.weights.{factor}") };
        let message = if there { message } else { format!("`risk.{name}` {message}") };
        report.require(weights.contains_key(&factor) == there, &path, message);
    }
    RiskRules {
        base: *base,
        deny_at: *deny_at,
        approve_at: *approve_at,
        weights,
        sensitive_classes: classes,
        hours: hours.flatten(),
    }
}

fn weights_of(
    section: Option<&BTreeMap<String, u32>>,
    report: &mut Report<'_>,
) -> BTreeMap<RiskName, u32> {
    let mut weights = BTreeMap::new();
    for (name, weight) in section.into_iter().flatten() {
        let path = format!("risk.weights.{name}");
        let fits = (1..=MAX_RISK).contains(weight);
        report.require(fits, &path, "is 1 to 100; leave out what weighs nothing");
        if let Some(factor) = report.parse(&path, name) {
            weights.insert(factor, *weight);
        }
    }
    weights
}

fn classes(
    section: Option<&Vec<String>>,
    data_classes: &[String],
    report: &mut Report<'_>,
) -> BTreeSet<String> {
    let Some(listed) = section else { return BTreeSet::new() };
    let place = "risk.sensitive_classes";
    report.require(!listed.is_empty(), place, "names at least one of `data_classes`");
    for (index, class) in listed.iter().enumerate() {
        let message = format!("`{class}` is not one of the playbook's `data_classes`");
        report.require(data_classes.contains(class), &format!("{place}.{index}"), message);
    }
    listed.iter().cloned().collect()
}

fn working_hours(section: &HoursSection, report: &mut Report<'_>) -> Option<WorkingHours> {
    let HoursSection { zone, days, from, until } = section;
    let zone = report.keep("risk.hours.zone", TimeZone::get(zone));
    let days = unique("risk.hours.days", days, report);
    let from: Option<Time> = report.parse("risk.hours.from", from);
    let until: Option<Time> = report.parse("risk.hours.until", until);
    let (from, until) = (from?, until?);
    report.require(from < until, "risk.hours.until", "is not after `risk.hours.from`");
    report.require(!days.is_empty(), "risk.hours.days", "names at least one day");
    Some(WorkingHours { zone: zone?, days, from, until })
}
