//! Who decides, who has, whether whoever looks may, and until when.

use jiff::Timestamp;
use marque_intent::{ApprovalPlan, ApprovalRule, DenyReason, Narrowing};

use super::super::output::{pairs, put, visible};
use super::super::text::{length, lines, moment_from, short_digest};
use super::{HEADING, WARNING};
use crate::grpc::admin::{ApprovalView, EligibilityView, IntentView};

/// The plan with its open level, those who decided, and what can be done; empty where nobody decides.
pub(super) fn section(intent: &IntentView, now: Timestamp) -> String {
    let mut text = String::new();
    if let Some(plan) = &intent.grant.approval {
        put(&mut text, format_args!("\n{HEADING}Who decides{HEADING:#}:\n"));
        for line in pairs(rows(intent, plan, now)).lines() {
            put(&mut text, format_args!("  {line}\n"));
        }
    }
    for approval in &intent.approvals {
        let when = moment_from(approval.at, now);
        put(&mut text, format_args!("\nApproved by {}, {when}\n", approver(approval)));
    }
    for objection in &intent.objections {
        let (who, why) = (visible(&objection.approver), visible(&objection.reason));
        let when = moment_from(objection.at, now);
        put(&mut text, format_args!("\n{WARNING}Refused{WARNING:#} by {who}, {when}: {why}\n"));
    }
    for narrowed in &intent.narrowed {
        let (who, when) = (visible(&narrowed.approver), moment_from(narrowed.at, now));
        let (from, to) = (short_digest(&narrowed.from), short_digest(&narrowed.to));
        put(&mut text, format_args!("\nNarrowed by {who}, {when}: {from} became {to}\n"));
    }
    text
}

fn rows(intent: &IntentView, plan: &ApprovalPlan, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut rows = vec![("levels", lines(&levels(intent, plan)))];
    let mut never = vec!["the requester".to_owned()];
    never.extend(plan.exclude().iter().map(ToString::to_string));
    never.extend(plan.excluded().iter().map(ToString::to_string));
    rows.push(("never", never.join(", ")));
    if plan.demands_mfa() {
        rows.push(("login", "with more than one factor, within the last 15m".to_owned()));
    }
    if let Some(you) = &intent.you {
        rows.push(("you", eligibility(you)));
    }
    if intent.state == "pending" {
        rows.push((
            "answer by",
            format!("{}; silence denies", moment_from(intent.expires_at, now)),
        ));
        let within = intent.grant.start_within_s.map_or_else(|| "-".to_owned(), length);
        rows.push(("start by", format!("{within} after the approval")));
        rows.push(("digest", short_digest(&intent.grant.digest)));
        rows.push(("actions", lines(&actions(&intent.id))));
    }
    rows
}

fn levels(intent: &IntentView, plan: &ApprovalPlan) -> Vec<String> {
    let told = |(index, level): (usize, &marque_intent::ApprovalLevel)| {
        let rules: Vec<String> = level.any.iter().map(rule).collect();
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let given = intent.approvals.iter().filter(|one| one.level == number).count();
        let here = if intent.open_level == number { ", waits here" } else { "" };
        format!("{number}: {}; {given} so far{here}", rules.join(", or "))
    };
    plan.levels().iter().enumerate().map(told).collect()
}

fn rule(rule: &ApprovalRule) -> String {
    let groups: Vec<&str> = rule.groups.iter().map(|group| group.as_str()).collect();
    let whose = if groups.is_empty() { "any approver".to_owned() } else { groups.join(" or ") };
    let each = if rule.distinct_groups { ", each of another group" } else { "" };
    format!("{} of {whose}{each} ({} refusing end it)", rule.approve, rule.deny)
}

fn eligibility(you: &EligibilityView) -> String {
    let EligibilityView { may_approve, groups, code, detail } = you;
    if *may_approve {
        let groups = if groups.is_empty() { "an operator".to_owned() } else { groups.join(", ") };
        return format!("may approve: you are in {}", visible(&groups));
    }
    format!("MAY NOT approve: {} (code `{}`)", visible(detail), visible(code))
}

fn actions(id: &str) -> Vec<String> {
    vec![
        format!("marque approve {id}"),
        format!("marque approve {id} --uses … --max-duration … --without-scope … --without-tool …"),
        format!("marque deny {id} --because {}", reasons()),
    ]
}

/// The preset reasons, as `marque deny` takes them.
fn reasons() -> String {
    DenyReason::ALL.map(|reason| reason.as_str().replace('_', "-")).join("|")
}

fn approver(approval: &ApprovalView) -> String {
    let mut told = vec![visible(&approval.approver)];
    if approval.level > 1 {
        told.push(format!("level {}", approval.level));
    }
    if !approval.groups.is_empty() {
        told.push(format!("of {}", visible(&approval.groups.join(", "))));
    }
    if !approval.mfa.is_empty() {
        told.push(format!("by {}", visible(&approval.mfa)));
    }
    told.join(" ")
}

/// What somebody is about to take away.
pub(in crate::cli) fn less(less: &Narrowing) -> String {
    let Narrowing { uses, max_duration_s, start_within_s, without_scopes, without_tools } = less;
    let mut told: Vec<String> = Vec::new();
    told.extend(uses.map(|uses| format!("{uses} uses")));
    told.extend(max_duration_s.map(|s| format!("{} after the first use", length(s))));
    told.extend(start_within_s.map(|s| format!("{} from the approval to it", length(s))));
    told.extend(without_scopes.iter().map(|scope| format!("without `{scope}`")));
    told.extend(without_tools.iter().map(|tool| format!("without `{tool}`")));
    format!("{HEADING}You would approve less{HEADING:#}: {}\n", told.join(", "))
}
