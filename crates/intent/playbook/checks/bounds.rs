//! Tools, constraints, numbers and delegation: everything that is named is bounded, and nothing is delegated by silence.

use std::collections::{BTreeMap, BTreeSet};

use marque_spiffe::TrustDomain;
use serde_json::Value;

use super::{LIKE_A_SECRET, MAX_ITEMS, Report, agents, limits::duration};
use crate::playbook::ToolTemplate;
use crate::playbook::document::{LimitsSection, OnBehalfSection, Tool};
use crate::playbook::parameters::{MAX_SAFE_INTEGER, Of, Parameters};
use crate::playbook::template::Variable;
use crate::playbook::value::{ValueTemplate, Where};
use crate::rights::{
    ConstraintValue, Constraints, Dimension, Limits, MAX_CONSTRAINTS, MAX_DELEGATION_DEPTH,
    MAX_TOOLS, OnBehalf, ToolId, check_constraint_name,
};
use crate::secrets::{is_secret_name, looks_like_secret};

pub(super) struct Parts {
    pub(super) tools: BTreeMap<ToolId, ToolTemplate>,
    pub(super) constraints: BTreeMap<String, ValueTemplate>,
    pub(super) limits: Limits,
    pub(super) on_behalf: Option<OnBehalf>,
}

impl Parts {
    /// What one section demands of another: calls are never without number.
    pub(super) fn check(&self, report: &mut Report<'_>) {
        if self.tools.is_empty() {
            return;
        }
        let message = "is missing: tools are never called without number";
        report.require(self.limits.max_calls.is_some(), "limits.max_calls", message);
        let destructive = self.tools.values().any(|tool| tool.destructive);
        let message = "is missing: a tool is destructive, and never without number";
        report.require(
            !destructive || self.limits.max_destructive.is_some(),
            "limits.max_destructive",
            message,
        );
    }
}

pub(super) fn tools(
    listed: Option<&[Tool]>,
    json: &Value,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> BTreeMap<ToolId, ToolTemplate> {
    let mut tools = BTreeMap::new();
    let Some(listed) = listed else { return tools };
    report.require(!listed.is_empty(), "tools", "lists at least one tool, or is left out");
    report.require(listed.len() <= MAX_TOOLS, "tools", format!("has at most {MAX_TOOLS} tools"));
    for (index, tool) in listed.iter().enumerate() {
        let path = format!("tools.{index}");
        let Some(id) = report.keep(&path, ToolId::new(&tool.server, &tool.name)) else { continue };
        let max_calls = tool.max_calls.filter(|calls| *calls > 0);
        report.require(
            max_calls == tool.max_calls,
            &format!("{path}.max_calls"),
            "is a positive integer",
        );
        let arguments = tool.arguments.is_some().then(|| {
            let schema = json.pointer(&format!("/tools/{index}/arguments"));
            arguments(&format!("{path}.arguments"), schema, parameters, report)
        });
        let template = ToolTemplate {
            sensitive: tool.sensitive,
            destructive: tool.destructive,
            max_calls,
            arguments: arguments.flatten(),
        };
        if tools.insert(id.clone(), template).is_some() {
            report.refuse(&path, format!("`{id}` is listed twice"));
        }
    }
    tools
}

/// The schema as it is written is bounded, and stays so whatever its parameters are: they are values that it lists.
fn arguments(
    path: &str,
    schema: Option<&Value>,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> Option<ValueTemplate> {
    let schema = schema?;
    if let Err(faults) = Parameters::parse_of(schema.clone(), Of::Arguments) {
        for fault in faults {
            report.refuse(&format!("{path}.{}", fault.path), fault.message);
        }
        return None;
    }
    let template = report.keep(path, ValueTemplate::parse(schema, Where::ListedValues))?;
    check_variables(path, &template, Whole::Scalar, parameters, report);
    check_literals(path, schema, report);
    Some(template)
}

pub(super) fn constraints(
    json: &Value,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> BTreeMap<String, ValueTemplate> {
    let Some(members) = json.get("constraints").and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    report.require(!members.is_empty(), "constraints", "names at least one, or is left out");
    let message = format!("has at most {MAX_CONSTRAINTS} entries");
    report.require(members.len() <= MAX_CONSTRAINTS, "constraints", message);
    let mut constraints = BTreeMap::new();
    for (name, value) in members {
        let path = format!("constraints.{name}");
        let _named: Option<()> = report.keep(&path, check_constraint_name(name));
        report.require(!is_secret_name(name), &path, LIKE_A_SECRET);
        check_literals(&path, value, report);
        let Some(template) = report.keep(&path, ValueTemplate::parse(value, Where::Everywhere))
        else {
            continue;
        };
        check_variables(&path, &template, Whole::ScalarOrList, parameters, report);
        // With something in place of each variable it is a constraint; whether the real values are, a request shows.
        let any = template
            .render(&|_| Some(Value::from("x")), &|_| Some("x".to_owned()))
            .ok()
            .and_then(|value| serde_json::from_value::<ConstraintValue>(value).ok())
            .and_then(|value| Constraints::new(BTreeMap::from([("x".to_owned(), value)])).ok());
        report.require(any.is_some(), &path, crate::rights::ConstraintError::Value);
        constraints.insert(name.clone(), template);
    }
    constraints
}

/// What a variable that stands alone may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Scalar,
    ScalarOrList,
}

fn check_variables(
    path: &str,
    template: &ValueTemplate,
    whole: Whole,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) {
    let Some(parameters) = parameters else { return };
    for (variable, alone) in template.variables() {
        let Variable::Parameter(name) = variable else { continue };
        let Some(shape) = parameters.shape(name) else {
            report.refuse(path, format!("`{variable}` is not declared in `parameters`"));
            continue;
        };
        let message = format!("`{variable}` is optional; list `{name}` in `parameters.required`");
        report.require(shape.required, path, message);
        let list = alone && whole == Whole::ScalarOrList && parameters.is_list(name);
        report.require(shape.scalar || list, path, format!("`{variable}` is no single value here"));
    }
}

/// Nothing that is written in the file looks like a secret.
fn check_literals(path: &str, value: &Value, report: &mut Report<'_>) {
    match value {
        Value::String(text) => report.require(!looks_like_secret(text), path, LIKE_A_SECRET),
        Value::Array(items) => items.iter().for_each(|item| check_literals(path, item, report)),
        Value::Object(members) => {
            members.values().for_each(|member| check_literals(path, member, report));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub(super) fn limits(section: Option<&LimitsSection>, report: &mut Report<'_>) -> Limits {
    let Some(section) = section else { return Limits::default() };
    let LimitsSection { max_records, max_calls, max_destructive, max_bytes_out, min_interval } =
        section;
    let mut number = |name: &str, value: &Option<u64>, least: u64| {
        if let Some(value) = value {
            let message = format!("is {least} to 2^53 - 1");
            let fits = (least..=MAX_SAFE_INTEGER).contains(value);
            report.require(fits, &format!("limits.{name}"), message);
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
            .and_then(|text| report.keep("limits.min_interval", duration(text)))
            .map(|interval| interval.as_secs()),
    };
    report.require(!limits.is_empty(), "limits", "names at least one number, or is left out");
    limits
}

pub(super) fn on_behalf(
    section: Option<&OnBehalfSection>,
    trust_domain: Option<&TrustDomain>,
    report: &mut Report<'_>,
) -> Option<OnBehalf> {
    let OnBehalfSection { max_depth, agents: patterns, equal } = section?;
    report.require(
        (1..=MAX_DELEGATION_DEPTH).contains(max_depth),
        "on_behalf.max_depth",
        format!("is 1 to {MAX_DELEGATION_DEPTH}; who may not delegate leaves `on_behalf` out"),
    );
    let agents = agents("on_behalf.agents", patterns, trust_domain, report);
    report.require(equal.len() <= MAX_ITEMS, "on_behalf.equal", "has too many entries");
    let mut dimensions = BTreeSet::new();
    for (index, name) in equal.iter().enumerate() {
        let path = format!("on_behalf.equal.{index}");
        let known = Dimension::NARROWED_BY_DELEGATION.iter().find(|known| known.as_str() == name);
        match known {
            Some(dimension) if dimensions.insert(*dimension) => {}
            Some(_) => report.refuse(&path, format!("`{name}` is listed twice")),
            None => {
                let names = Dimension::NARROWED_BY_DELEGATION.map(Dimension::as_str).join("`, `");
                report.refuse(&path, format!("`{name}` is none of `{names}`"));
            }
        }
    }
    Some(OnBehalf { max_depth: *max_depth, agents, equal: dimensions })
}
