//! Every glass that was broken, whether somebody else looked at it since, and how often it happens (M 52, M 129).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Finding, Sources, Told, Which};

/// How far the trend looks back for its alert.
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One finding for each, and one for each playbook that is broken out too often.
pub(super) fn all(sources: &Sources<'_>) -> Vec<Finding> {
    let broken = || sources.ledger.intents().filter(|told| told.break_glass.is_some());
    let mut findings = trend(sources, broken());
    findings.extend(broken().map(|told| one(sources, told)));
    findings
}

fn one(sources: &Sources<'_>, told: &Told) -> Finding {
    let owner = sources.owner_of(&told.playbook);
    let finding = |told_as: String| {
        Finding::new(Which::BreakGlass, &told.id, told_as)
            .owned_by(owner.clone())
            .fact("agent", told.agent.as_str())
            .fact("playbook", told.playbook.as_str())
    };
    let Some(approved) = told.approved else {
        let ended = || told.ended.map(|(_, kind)| kind.as_str());
        let state = told.code.as_deref().or_else(ended);
        return finding(format!("asked for and not used: {}", state.unwrap_or("pending"))).figure();
    };
    let approvers: Vec<&str> = told.decided.iter().map(|(who, _, _)| who.as_str()).collect();
    let due = review_due(told, approved);
    let finding = |text: String| {
        finding(text)
            .fact("approvers", json!(approvers))
            .fact("approved_at", approved.to_string())
            .fact("review_due", due.to_string())
    };
    match &told.reviewed {
        Some((by, found)) => finding(format!("reviewed by {by}: {found}"))
            .fact("reviewed_by", by.as_str())
            .fact("finding", found.as_str())
            .figure(),
        None if sources.now > due => finding("its review is overdue".to_owned()),
        None => finding(format!("to be reviewed by somebody else until {due}")).figure(),
    }
}

/// When somebody has to have looked at it.
fn review_due(told: &Told, approved: Timestamp) -> Timestamp {
    let within = told.break_glass.as_ref().and_then(|mark| mark.get("post_review_within_s"));
    let within = Duration::from_secs(within.and_then(Value::as_u64).unwrap_or(0));
    approved.checked_add(within).unwrap_or(Timestamp::MAX)
}

fn trend<'a>(sources: &Sources<'_>, broken: impl Iterator<Item = &'a Told>) -> Vec<Finding> {
    let mut by_playbook: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    for told in broken.filter(|told| told.approved.is_some()) {
        by_playbook.entry(&told.playbook).or_default().push(told);
    }
    let month = sources.now.checked_sub(MONTH).unwrap_or(Timestamp::MIN);
    by_playbook
        .into_iter()
        .map(|(playbook, all)| {
            let lately = all.iter().filter(|told| told.approved.is_some_and(|at| at >= month));
            let lately = u64::try_from(lately.count()).unwrap_or(u64::MAX);
            let mark = all.last().and_then(|told| told.break_glass.as_ref());
            let above = mark.and_then(|mark| mark.get("alert_above")).and_then(Value::as_u64);
            let mut days: BTreeMap<String, u64> = BTreeMap::new();
            for at in all.iter().filter_map(|told| told.approved) {
                *days.entry(at.to_string().chars().take(10).collect()).or_default() += 1;
            }
            let too_often = above.is_some_and(|above| lately > above);
            let told = if too_often {
                format!(
                    "broken {lately} times in 30 days: the ordinary playbooks are too hard to use"
                )
            } else {
                format!("broken {lately} times in 30 days")
            };
            let finding = Finding::new(Which::BreakGlass, playbook, told)
                .owned_by(sources.owner_of(playbook))
                .fact("in_30_days", lately)
                .fact("by_day", json!(days));
            if too_often { finding } else { finding.figure() }
        })
        .collect()
}
