//! `[[tools]]`: which tools of which servers, with which arguments.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::constraints::{Whole, check_variables};
use crate::playbook::parameters::{Of, Parameters};
use crate::playbook::report::{Report, check_literals};
use crate::playbook::value::{ValueTemplate, Where};
use crate::rights::{MAX_TOOLS, ToolId};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolSection {
    pub(crate) server: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) sensitive: bool,
    #[serde(default)]
    pub(crate) destructive: bool,
    pub(crate) max_calls: Option<u32>,
    pub(crate) arguments: Option<toml::Table>,
}

/// How a tool may be called, before values are filled in.
#[derive(Debug, Clone)]
pub(crate) struct ToolTemplate {
    pub(crate) sensitive: bool,
    pub(crate) destructive: bool,
    pub(crate) max_calls: Option<u32>,
    pub(crate) arguments: Option<ValueTemplate>,
}

pub(crate) fn read(
    listed: Option<&[ToolSection]>,
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
