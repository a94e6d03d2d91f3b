//! The clocks, counts and approvals of a playbook: nothing is unlimited, and silence never approves.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{MAX_ITEMS, Report};
use crate::approval::{ApprovalRule, GroupName, MAX_APPROVALS};
use crate::playbook::document::{ApprovalMode, ApprovalSection, Time};
use crate::playbook::{MAX_CLOCK, MAX_TOKEN_LIFETIME, MAX_USES, Times};

/// A buffer of this length is small for any run time.
const SMALL_BUFFER: Duration = Duration::from_secs(60);

pub(super) fn times(time: &Time, report: &mut Report<'_>) -> Option<Times> {
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

/// A whole number and `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
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

pub(super) fn approval(section: &ApprovalSection, report: &mut Report<'_>) -> Option<ApprovalRule> {
    report.require(
        section.on_timeout == "deny",
        "approval.on_timeout",
        "is `deny`: silence never approves",
    );
    for (index, name) in section.exclude.iter().enumerate() {
        let path = format!("approval.exclude.{index}");
        // The requester is a workload and an approver never is, so this one always holds.
        let message =
            format!("excluding `{name}` is not supported yet; `requester` is always excluded");
        report.require(name == "requester", &path, message);
    }
    let level = match section.levels.as_slice() {
        [] => {
            let message = "names at least one level, unless `mode` is `auto`";
            report.require(section.mode == ApprovalMode::Auto, "approval.levels", message);
            return None;
        }
        [level] => level,
        _ => {
            report.refuse("approval.levels", "more than one level is not supported yet");
            return None;
        }
    };
    let [rule] = level.any.as_slice() else {
        report.refuse(
            "approval.levels.0.any",
            "has exactly one rule; alternatives are not supported yet",
        );
        return None;
    };
    let path = "approval.levels.0.any.0";
    report.require(
        rule.deny.is_none_or(|deny| deny == 1),
        &format!("{path}.deny"),
        "is 1: one refusal is final; other counts are not supported yet",
    );
    let message = format!("is 1 to {MAX_APPROVALS}");
    report.require(rule.approve <= MAX_APPROVALS, &format!("{path}.approve"), &message);
    let approve =
        report.keep(&format!("{path}.approve"), NonZeroU32::new(rule.approve).ok_or(message))?;
    report.require(
        rule.groups.len() <= MAX_ITEMS,
        &format!("{path}.groups"),
        "has too many groups",
    );
    let groups: BTreeSet<GroupName> = rule
        .groups
        .iter()
        .filter_map(|group| report.parse(&format!("{path}.groups"), group))
        .collect();
    Some(ApprovalRule { approve, groups })
}
