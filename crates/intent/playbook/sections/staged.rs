//! `[[staged]]`: the phases of a long task. A phase has what it names and nothing else, and is approved no more easily than
//! its playbook.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::limits::{self, LimitsSection};
use super::permits::DetailTemplate;
use super::time::duration;
use super::tools::ToolTemplate;
use crate::grant::Scope;
use crate::playbook::phase::{Phase, PhaseName};
use crate::playbook::report::Report;
use crate::playbook::{ApprovalMode, MAX_CLOCK, Playbook};
use crate::rights::ToolId;

/// The most phases.
const MAX_PHASES: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseSection {
    name: String,
    #[serde(default)]
    needs: Vec<String>,
    within: Option<String>,
    scopes: Vec<String>,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    tools: Vec<String>,
    approval: Option<ApprovalMode>,
    limits: Option<LimitsSection>,
}

/// The playbook of each phase, in the order of the file.
pub(crate) fn read(
    sections: &[PhaseSection],
    whole: &Playbook,
    report: &mut Report<'_>,
) -> Vec<Arc<Playbook>> {
    let message = format!("has 2 to {MAX_PHASES} phases; a task of one phase is not staged");
    report.require((2..=MAX_PHASES).contains(&sections.len()), "staged", message);
    let mut before = BTreeSet::new();
    let mut phases = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let path = format!("staged.{index}");
        let Some(phase) = phase(&path, section, &before, report) else { continue };
        let message = format!("`{}` is listed twice", phase.name);
        report.require(before.insert(phase.name.clone()), &format!("{path}.name"), message);
        phases.push(Arc::new(of_phase(&path, section, phase, whole, report)));
    }
    unused(sections, whole, report);
    phases
}

/// What is needed stands before, so that there are no circles and one phase can begin.
fn phase(
    path: &str,
    section: &PhaseSection,
    before: &BTreeSet<PhaseName>,
    report: &mut Report<'_>,
) -> Option<Phase> {
    let name: PhaseName = report.parse(&format!("{path}.name"), &section.name)?;
    let mut needs = BTreeSet::new();
    for (index, text) in section.needs.iter().enumerate() {
        let path = format!("{path}.needs.{index}");
        let Some(needed) = report.parse::<PhaseName>(&path, text) else { continue };
        let message = format!("`{needed}` is no phase that stands before this one");
        report.require(before.contains(&needed), &path, message);
        report.require(needs.insert(needed), &path, format!("`{text}` is listed twice"));
    }
    let within = section.within.as_deref().and_then(|text| {
        let path = format!("{path}.within");
        let length = report.keep(&path, duration(text))?;
        let message = format!("is 1s to {}s", MAX_CLOCK.as_secs());
        report.require((Duration::from_secs(1)..=MAX_CLOCK).contains(&length), &path, message);
        Some(length)
    });
    report.require(
        needs.is_empty() == section.within.is_none(),
        &format!("{path}.within"),
        "says how long ago the phases in `needs` may have been completed; both are there or neither",
    );
    Some(Phase { name, needs, within })
}

fn of_phase(
    path: &str,
    section: &PhaseSection,
    phase: Phase,
    whole: &Playbook,
    report: &mut Report<'_>,
) -> Playbook {
    let mut limits = *whole.limits();
    if let Some(section) = &section.limits {
        let path = format!("{path}.limits");
        limits = limits.overlaid(limits::read_at(&path, section, report));
        let message = "has a number beyond the playbook's own";
        report.require(whole.limits().covers(&limits).is_ok(), &path, message);
    }
    let approval_mode = section.approval.unwrap_or(whole.approval_mode);
    report.require(
        strictness(approval_mode) >= strictness(whole.approval_mode),
        &format!("{path}.approval"),
        format!("is weaker than the playbook's `{}`", whole.approval_mode.as_str()),
    );
    Playbook {
        scopes: scopes(path, section, whole, report),
        details: details(path, section, whole, report),
        tools: tools(path, section, whole, report),
        limits,
        approval_mode,
        phase: Some(phase),
        phases: Vec::new(),
        ..whole.clone()
    }
}

const fn strictness(mode: ApprovalMode) -> u8 {
    match mode {
        ApprovalMode::Auto => 0,
        ApprovalMode::Rule => 1,
        ApprovalMode::Always => 2,
    }
}

fn scopes(
    path: &str,
    section: &PhaseSection,
    whole: &Playbook,
    report: &mut Report<'_>,
) -> Vec<Scope> {
    let path = format!("{path}.scopes");
    report.require(!section.scopes.is_empty(), &path, "names at least one scope");
    let mut scopes: Vec<Scope> = Vec::new();
    for text in &section.scopes {
        match whole.scopes.iter().find(|scope| scope.as_str() == text) {
            Some(scope) if !scopes.contains(scope) => scopes.push(scope.clone()),
            Some(_) => report.refuse(&path, format!("`{text}` is listed twice")),
            None => report.refuse(&path, format!("`{text}` is none of `permits.0.scopes`")),
        }
    }
    scopes
}

/// Each detail with the actions that the phase names; one with none of them is not in the phase.
fn details(
    path: &str,
    section: &PhaseSection,
    whole: &Playbook,
    report: &mut Report<'_>,
) -> Vec<DetailTemplate> {
    let path = format!("{path}.actions");
    for action in &section.actions {
        let known = whole.details.iter().any(|detail| detail.actions.contains(action));
        report.require(known, &path, format!("`{action}` is no action of `permits.0`"));
    }
    let left = |detail: &DetailTemplate| {
        let actions: Vec<_> =
            detail.actions.iter().filter(|one| section.actions.contains(one)).cloned().collect();
        let stays = detail.actions.is_empty() || !actions.is_empty();
        stays.then(|| DetailTemplate { actions, ..detail.clone() })
    };
    whole.details.iter().filter_map(left).collect()
}

fn tools(
    path: &str,
    section: &PhaseSection,
    whole: &Playbook,
    report: &mut Report<'_>,
) -> BTreeMap<ToolId, ToolTemplate> {
    let path = format!("{path}.tools");
    let mut tools = BTreeMap::new();
    for text in &section.tools {
        match whole.tools.iter().find(|(tool, _)| tool.to_string() == *text) {
            Some((tool, template)) => {
                let twice = tools.insert(tool.clone(), template.clone()).is_some();
                report.require(!twice, &path, format!("`{text}` is listed twice"));
            }
            None => report.refuse(&path, format!("`{text}` is none of `tools`")),
        }
    }
    tools
}

/// What no phase has, nobody could ever ask for.
fn unused(sections: &[PhaseSection], whole: &Playbook, report: &mut Report<'_>) {
    let used = |text: &str, of: fn(&PhaseSection) -> &[String]| {
        sections.iter().any(|section| of(section).iter().any(|one| one == text))
    };
    for scope in whole.scopes.iter().filter(|scope| !used(scope.as_str(), |one| &one.scopes)) {
        report.refuse("staged", format!("no phase has the scope `{scope}`"));
    }
    for tool in whole.tools.keys().filter(|tool| !used(&tool.to_string(), |one| &one.tools)) {
        report.refuse("staged", format!("no phase has the tool `{tool}`"));
    }
    let actions = whole.details.iter().flat_map(|detail| &detail.actions);
    for action in actions.filter(|action| !used(action, |one| &one.actions)) {
        report.refuse("staged", format!("no phase has the action `{action}`"));
    }
}
