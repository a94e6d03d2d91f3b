//! `[constraints]`: what the rows and records of the work have in common.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::playbook::parameters::Parameters;
use crate::playbook::report::{LIKE_A_SECRET, Report, check_literals};
use crate::playbook::template::Variable;
use crate::playbook::value::{ValueTemplate, Where};
use crate::rights::{ConstraintValue, Constraints, MAX_CONSTRAINTS, check_constraint_name};
use crate::secrets::is_secret_name;

pub(crate) fn read(
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
pub(crate) enum Whole {
    Scalar,
    ScalarOrList,
}

pub(crate) fn check_variables(
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
