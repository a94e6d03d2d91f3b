//! `[emergency]`: a playbook for when the usual path is too slow. As narrow as any other, and answered by named people.
//!
//! A table and not a flag: an emergency playbook that names no responders and no sink of alerts cannot be written.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use super::approval::ApprovalMode;
use super::time::duration;
use crate::approval::ApprovalPlan;
use crate::emergency::{Emergency, Responder};
use crate::playbook::Times;
use crate::playbook::report::{MAX_ITEMS, Report};

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &[];

/// The longest that a break-glass grant, or its request, may live.
const MAX_EMERGENCY_CLOCK: Duration = Duration::from_secs(4 * 60 * 60);
/// The most uses that it may give.
const MAX_EMERGENCY_USES: u32 = 3;
/// The longest that its review may take.
const MAX_REVIEW: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The shortest time between two.
const LEAST_COOLDOWN: Duration = Duration::from_secs(60);
/// The longest time between two.
const MAX_COOLDOWN: Duration = Duration::from_secs(24 * 60 * 60);
/// The most that one agent may have in 24 hours.
const MAX_PER_DAY: u32 = 5;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmergencySection {
    responders: Vec<String>,
    alert: String,
    post_review_within: String,
    cooldown: String,
    max_per_day: u32,
    alert_above: u32,
}

pub(crate) fn read(section: Option<&toml::Value>, report: &mut Report<'_>) -> Option<Emergency> {
    let table = match section? {
        toml::Value::Boolean(false) => return None,
        table @ toml::Value::Table(_) => table.clone(),
        _ => {
            let message = "is a table that names `responders` and `alert`, or `false`";
            report.refuse("emergency", message);
            return None;
        }
    };
    let section: Result<EmergencySection, toml::de::Error> = table.try_into();
    let section = report.keep("emergency", section.map_err(|error| error.message().to_owned()))?;
    let message = format!("names 1 to {MAX_ITEMS} of those who may answer");
    let count = section.responders.len();
    report.require((1..=MAX_ITEMS).contains(&count), "emergency.responders", message);
    let responders: BTreeSet<Responder> = section
        .responders
        .iter()
        .enumerate()
        .filter_map(|(index, text)| report.parse(&format!("emergency.responders.{index}"), text))
        .collect();
    let alert = report.parse("emergency.alert", &section.alert);
    let mut clock = |name: &str, text: &str, least: Duration, most: Duration| {
        let path = format!("emergency.{name}");
        let length = report.keep(&path, duration(text))?;
        let message = format!("is {}s to {}s", least.as_secs(), most.as_secs());
        report.require((least..=most).contains(&length), &path, message);
        Some(length)
    };
    let review =
        clock("post_review_within", &section.post_review_within, LEAST_COOLDOWN, MAX_REVIEW);
    let cooldown = clock("cooldown", &section.cooldown, LEAST_COOLDOWN, MAX_COOLDOWN);
    let message = format!("is 1 to {MAX_PER_DAY}");
    let fits = (1..=MAX_PER_DAY).contains(&section.max_per_day);
    report.require(fits, "emergency.max_per_day", message);
    Some(Emergency {
        responders,
        alert: alert?,
        post_review_within: review?,
        cooldown: cooldown?,
        max_per_day: section.max_per_day,
        alert_above: section.alert_above,
    })
}

/// What an emergency demands of the rest: a person always, one of them, and everything short.
pub(crate) fn check(
    emergency: Option<&Emergency>,
    mode: ApprovalMode,
    approval: Option<&ApprovalPlan>,
    times: Option<&Times>,
    report: &mut Report<'_>,
) {
    if emergency.is_none() {
        return;
    }
    let message = "is `always` in an emergency playbook: no glass breaks by itself";
    report.require(mode == ApprovalMode::Always, "approval.mode", message);
    let short = approval.is_none_or(|plan| plan.approvals_needed() == 1);
    let message = "asks for one approval in an emergency playbook: that of a responder";
    report.require(short, "approval.levels", message);
    let Some(times) = times else { return };
    let message = format!("is at most {MAX_EMERGENCY_USES} in an emergency playbook");
    report.require(times.uses <= MAX_EMERGENCY_USES, "time.uses", message);
    for (path, length) in [
        ("time.max_duration", times.max_duration),
        ("time.request_ttl", times.request_ttl),
        ("time.start_within", times.start_within),
    ] {
        let most = MAX_EMERGENCY_CLOCK.as_secs();
        let message = format!("is at most {most}s in an emergency playbook");
        report.require(length <= MAX_EMERGENCY_CLOCK, path, message);
    }
}
