//! What an agent says when it asks for another one: who will hold the grant, under which of its own, and how much of it.

use clap::Args;
use marque_intent::IntentId;
use marque_spiffe::SpiffeId;
use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::ask::Parameter;

/// The members of a request for another agent.
#[derive(Debug, Args)]
pub(super) struct BehalfArgs {
    /// Ask for this agent, which will hold the grant
    #[arg(long, value_name = "SPIFFE-ID", requires = "parent")]
    for_agent: Option<SpiffeId>,
    /// Your own live intent that the other agent's hangs below
    #[arg(long, value_name = "INTENT", requires = "for_agent")]
    parent: Option<IntentId>,
    /// Want only this of what the playbook gives: NAME=TEXT, NAME:=JSON, or all of it as a JSON object; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "for_agent")]
    narrow: Vec<String>,
}

impl BehalfArgs {
    /// The members; none where the agent asks for itself.
    pub(super) fn members(self) -> Result<Map<String, Value>, Failure> {
        let Self { for_agent, parent, narrow } = self;
        let narrow = narrowed(&narrow)?;
        let given = [
            ("for_agent", for_agent.map(|agent| Value::from(agent.to_string()))),
            ("parent", parent.map(|parent| Value::from(parent.to_string()))),
            (
                "narrow",
                Some(Value::from(narrow)).filter(|narrow| narrow != &Value::from(Map::new())),
            ),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

/// Each dimension once, however it is written.
fn narrowed(texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut parameters = Vec::new();
    for text in texts {
        if text.trim_start().starts_with('{') {
            let members: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                Failure::usage(format!("--narrow `{text}` is no JSON object: {error}"))
            })?;
            parameters.extend(members.into_iter().map(|(name, value)| Parameter::new(name, value)));
        } else {
            let parameter = text.parse::<Parameter>();
            parameters.push(
                parameter.map_err(|error| Failure::usage(format!("--narrow `{text}`: {error}")))?,
            );
        }
    }
    Parameter::collect(parameters)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(texts: &[&str]) -> Result<Value, Failure> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        narrowed(&texts).map(Value::from)
    }

    #[test]
    fn what_is_narrowed_is_written_by_dimension_or_whole() {
        let wanted = json!({"scopes": ["contracts.read"], "uses": 1, "purpose": "review"});
        let by_dimension = ["scopes:=[\"contracts.read\"]", "uses:=1", "purpose=review"];
        assert_eq!(of(&by_dimension).unwrap(), wanted);
        assert_eq!(of(&[&wanted.to_string()]).unwrap(), wanted);
        let mixed = ["{\"scopes\": [\"contracts.read\"], \"uses\": 1}", "purpose=review"];
        assert_eq!(of(&mixed).unwrap(), wanted);
        for refused in [&["uses"][..], &["{\"uses\""], &["uses:=1", "{\"uses\": 2}"], &["[]"]] {
            assert!(of(refused).is_err(), "{refused:?}");
        }
    }
}
