//! What bounds a grant beside its target: tools, data, numbers, and on whose behalf.
//!
//! Everything that is enforced is here, as it is in the digest that is approved.

use marque_intent::{
    Constraints, Delegators, Emergency, Limits, OnBehalf, ParentIntent, ToolBounds, ToolId,
};
use serde_json::Value;

use super::super::text::{length, lines};
use super::held::HAD;
use crate::grpc::admin::{GrantView, HeldView};

/// A row for each bound that there is; on whose behalf and to whom it may be handed on is always said.
pub(super) fn rows(grant: &GrantView, held: Option<&HeldView>) -> Vec<(&'static str, String)> {
    let GrantView {
        tools,
        data_classes,
        constraints,
        limits,
        on_behalf,
        delegators,
        parent,
        emergency,
        ..
    } = grant;
    let mut rows = Vec::new();
    rows.extend(emergency.as_ref().map(|emergency| ("BREAK-GLASS", break_glass(emergency))));
    rows.extend(parent.as_ref().map(|parent| ("asked for by", chain(parent))));
    if !tools.is_empty() {
        let had = |id: &ToolId| held.is_some_and(|held| held.tools.contains(&id.to_string()));
        let tools: Vec<String> =
            tools.iter().map(|(id, bounds)| tool(id, bounds, had(id))).collect();
        rows.push(("tools", lines(&tools)));
    }
    if !data_classes.is_empty() {
        rows.push(("data", lines(data_classes)));
    }
    if !constraints.is_empty() {
        rows.push(("within", narrowed(constraints)));
    }
    if !limits.is_empty() {
        rows.push(("at most", numbers(limits)));
    }
    rows.push(("on behalf of", principals(delegators.as_ref())));
    rows.push(("handed on", heirs(on_behalf.as_ref())));
    rows
}

/// Who has to answer, and what follows.
fn break_glass(emergency: &Emergency) -> String {
    let Emergency { responders, alert, post_review_within, .. } = emergency;
    let named: Vec<String> = responders.iter().map(ToString::to_string).collect();
    let review = length(post_review_within.as_secs());
    lines(&[
        format!("answered by {} alone", named.join(", ")),
        format!("alert: {alert}; to be reviewed by somebody else within {review}"),
    ])
}

/// Every intent above it, the nearest first.
fn chain(parent: &ParentIntent) -> String {
    let told: Vec<String> = parent
        .chain()
        .map(|one| {
            let digest: String = one.digest.to_string().chars().take(19).collect();
            format!("{} with {} of {} ({digest})", one.agent, one.id, one.playbook)
        })
        .collect();
    lines(&told)
}

/// The tool, how it is called, and the schemas that its arguments fit.
fn tool(id: &ToolId, bounds: &ToolBounds, had: bool) -> String {
    let ToolBounds { sensitive, destructive, max_calls, arguments } = bounds;
    let mut told = vec![id.to_string()];
    told.extend(sensitive.then(|| "sensitive".to_owned()));
    told.extend(destructive.then(|| "destructive".to_owned()));
    told.extend(max_calls.map(|calls| format!("called at most {calls} times")));
    told.extend(had.then(|| HAD.to_owned()));
    let mut text = told.join(", ");
    for schema in arguments {
        text.push_str(&format!("\n  arguments: {schema}"));
    }
    text
}

fn narrowed(constraints: &Constraints) -> String {
    let told: Vec<String> = constraints
        .iter()
        .map(|(name, value)| {
            let value = serde_json::to_value(value).unwrap_or(Value::Null);
            format!("{name} = {value}")
        })
        .collect();
    lines(&told)
}

fn numbers(limits: &Limits) -> String {
    let Limits { max_records, max_calls, max_destructive, max_bytes_out, min_interval_s } = limits;
    let counted = [
        (max_records, "records"),
        (max_calls, "calls"),
        (max_destructive, "destructive calls"),
        (max_bytes_out, "bytes out"),
    ];
    let mut told: Vec<String> = counted
        .into_iter()
        .filter_map(|(most, what)| most.map(|most| format!("{most} {what}")))
        .collect();
    told.extend(min_interval_s.map(|seconds| format!("one call in {}", length(seconds))));
    lines(&told)
}

fn principals(delegators: Option<&Delegators>) -> String {
    match delegators {
        None => "the agent for itself alone".to_owned(),
        Some(rule) => lines(&rule.lines()),
    }
}

fn heirs(on_behalf: Option<&OnBehalf>) -> String {
    let Some(OnBehalf { max_depth, agents, equal }) = on_behalf else {
        return "to nobody".to_owned();
    };
    let hops = if *max_depth == 1 { "once" } else { "from agent to agent" };
    let mut told = vec![format!("{hops}, {max_depth} deep at most, to")];
    told.extend(agents.iter().map(|agent| format!("  {agent}")));
    if !equal.is_empty() {
        let equal: Vec<&str> = equal.iter().map(|dimension| dimension.as_str()).collect();
        told.push(format!("unchanged where nothing is said: {}", equal.join(", ")));
    }
    lines(&told)
}
