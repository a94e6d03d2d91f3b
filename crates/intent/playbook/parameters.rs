//! The parameters of a playbook: a JSON Schema 2020-12 of which every part is bounded, and the values that fit it.
//!
//! The keywords are a list, because a keyword that a validator ignores (`format`, a misspelt `patern`) would be a
//! control that is not there. Absent: references, defaults, numbers with fractions (two spellings of one number would
//! have one digest).

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::pattern::{PATTERN_SIZE_LIMIT, check_anchored};
use crate::secrets::is_secret_name;
use crate::text::bounded;

/// Integers beyond this have no exact canonical JSON form (RFC 8785 section 3.2.2.3).
pub(super) const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
const MAX_SCHEMA_DEPTH: usize = 4;

const KEYWORDS: &[&str] = &[
    "additionalProperties",
    "const",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "uniqueItems",
];

/// A checked schema.
#[derive(Clone)]
pub(crate) struct Parameters {
    schema: Value,
    validator: Arc<Validator>,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({})", self.schema)
    }
}

/// Something wrong with a schema, at a path below `parameters`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SchemaFault {
    pub(super) path: String,
    pub(super) message: String,
}

/// Whose schema it is, which says how its members may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A playbook's parameters.
    Parameters,
    /// The arguments of a tool, which has its own names for them.
    Arguments,
}

/// What a template may know of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its values are a list of the playbook's own.
    pub(super) closed: bool,
    /// It is one value and no array or object.
    pub(super) scalar: bool,
    /// A request always has it.
    pub(super) required: bool,
}

impl Parameters {
    pub(super) fn parse(schema: Value) -> Result<Self, Vec<SchemaFault>> {
        Self::parse_of(schema, Of::Parameters)
    }

    pub(super) fn parse_of(schema: Value, of: Of) -> Result<Self, Vec<SchemaFault>> {
        let mut faults = Vec::new();
        match schema.as_object() {
            Some(object) if object.get("type").and_then(Value::as_str) == Some("object") => {
                check_schema(object, "", (of, 0), &mut faults);
            }
            _ => faults.push(fault("type", "the schema of the parameters has `type = \"object\"`")),
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let validator = jsonschema::draft202012::options()
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_SIZE_LIMIT))
            .build(&schema)
            .map_err(|error| {
                vec![fault("", format!("not a JSON Schema: {}", bounded(&error.to_string(), 200)))]
            })?;
        Ok(Self { schema, validator: Arc::new(validator) })
    }

    pub(crate) const fn schema(&self) -> &Value {
        &self.schema
    }

    pub(super) fn shape(&self, name: &str) -> Option<Shape> {
        let property = self.schema.get("properties")?.get(name)?;
        let kind = property.get("type").and_then(Value::as_str);
        Some(Shape {
            closed: property.get("enum").is_some() || property.get("const").is_some(),
            scalar: !matches!(kind, Some("array" | "object")),
            required: self
                .schema
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|names| names.iter().any(|required| required == name)),
        })
    }

    /// Whether a parameter is a list of single values.
    pub(super) fn is_list(&self, name: &str) -> bool {
        let property = self.schema.pointer(&format!("/properties/{name}"));
        let kind = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        property.is_some_and(|property| {
            kind(property.get("type")).as_deref() == Some("array")
                && !matches!(
                    kind(property.pointer("/items/type")).as_deref(),
                    Some("array" | "object")
                )
        })
    }

    pub(crate) fn declares(&self, name: &str) -> bool {
        self.schema.get("properties").and_then(|properties| properties.get(name)).is_some()
    }

    /// Checks values; the message names the place and never repeats a value.
    pub(crate) fn check(&self, values: &Map<String, Value>) -> Result<(), String> {
        let instance = Value::Object(values.clone());
        check_numbers(&instance).map_err(|path| {
            format!("`{path}` is a number that is no integer, or one beyond 2^53 - 1")
        })?;
        self.validator.validate(&instance).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "/".to_owned() } else { place };
            format!("`{}`: {}", bounded(&place, 64), bounded(&error.masked().to_string(), 160))
        })
    }
}

/// Whether the schema is one that a tool's arguments may have in a playbook: an object of which every part is bounded.
pub(crate) fn is_bounded_schema(schema: &Value) -> bool {
    Parameters::parse_of(schema.clone(), Of::Arguments).is_ok()
}

fn fault(path: impl Into<String>, message: impl Into<String>) -> SchemaFault {
    SchemaFault { path: path.into(), message: message.into() }
}

fn check_schema(
    schema: &Map<String, Value>,
    path: &str,
    (of, depth): (Of, usize),
    faults: &mut Vec<SchemaFault>,
) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if depth > MAX_SCHEMA_DEPTH {
        faults.push(fault(path, format!("is nested deeper than {MAX_SCHEMA_DEPTH} levels")));
        return;
    }
    for keyword in schema.keys().filter(|keyword| !KEYWORDS.contains(&keyword.as_str())) {
        let why = match keyword.as_str() {
            "format" => "`format` is not checked by JSON Schema; use `pattern`".to_owned(),
            "default" => {
                "`default` is not filled in by JSON Schema; make the parameter required".to_owned()
            }
            other => format!("`{other}` is not a keyword that playbooks may use"),
        };
        faults.push(fault(at(keyword), why));
    }
    let closed = schema.contains_key("enum") || schema.contains_key("const");
    check_listed_values(schema, &at, faults);
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => check_object(schema, path, (of, depth), faults),
        Some("array") => check_array(schema, path, (of, depth), faults),
        Some("string") => check_string(schema, closed, path, faults),
        Some("integer") => {
            let ranged = schema.contains_key("minimum") && schema.contains_key("maximum");
            if !closed && !ranged {
                faults.push(fault(
                    path,
                    "an integer has `minimum` and `maximum`, or `enum` or `const`",
                ));
            }
        }
        Some("boolean") => {}
        None if closed => {}
        Some(other) => {
            let message =
                format!("the type `{other}` is none of string, integer, boolean, array and object");
            faults.push(fault(at("type"), message));
        }
        None => faults.push(fault(path, "has `type` as one string, or `enum` or `const`")),
    }
}

fn check_object(
    schema: &Map<String, Value>,
    path: &str,
    (of, depth): (Of, usize),
    faults: &mut Vec<SchemaFault>,
) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        faults.push(fault(path, "an object has `additionalProperties = false`"));
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        faults.push(fault(path, "an object has `properties`, which may be empty"));
        return;
    };
    for (name, property) in properties {
        let place = at(&format!("properties.{name}"));
        if let Err(why) = of.check_name(name) {
            faults.push(fault(&place, why));
        }
        match property.as_object() {
            Some(inner) => check_schema(inner, &place, (of, depth + 1), faults),
            None => faults.push(fault(place, "a parameter is described by a table")),
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !properties.contains_key(name) {
            faults.push(fault(at("required"), format!("`{name}` is required and not declared")));
        }
    }
}

fn check_array(
    schema: &Map<String, Value>,
    path: &str,
    (of, depth): (Of, usize),
    faults: &mut Vec<SchemaFault>,
) {
    if !schema.contains_key("maxItems") {
        faults.push(fault(path, "an array has `maxItems`"));
    }
    match schema.get("items").and_then(Value::as_object) {
        Some(items) => check_schema(items, &format!("{path}.items"), (of, depth + 1), faults),
        None => faults.push(fault(path, "an array has `items`")),
    }
}

fn check_string(
    schema: &Map<String, Value>,
    closed: bool,
    path: &str,
    faults: &mut Vec<SchemaFault>,
) {
    match schema.get("pattern").map(Value::as_str) {
        Some(Some(pattern)) => {
            if let Err(why) = check_anchored(pattern) {
                faults.push(fault(format!("{path}.pattern"), format!("`pattern` {why}")));
            }
        }
        Some(None) => faults.push(fault(format!("{path}.pattern"), "`pattern` is a string")),
        None if closed || schema.contains_key("maxLength") => {}
        None => faults.push(fault(path, "a string has `pattern`, `enum`, `const` or `maxLength`")),
    }
}

fn check_listed_values(
    schema: &Map<String, Value>,
    at: &dyn Fn(&str) -> String,
    faults: &mut Vec<SchemaFault>,
) {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    for value in listed.chain(schema.get("const")) {
        let scalar = value.is_string() || value.is_boolean() || value.is_i64() || value.is_u64();
        if !scalar {
            faults.push(fault(at("enum"), "listed values are strings, integers or booleans"));
        }
    }
}

impl Of {
    fn check_name(self, name: &str) -> Result<(), &'static str> {
        if !(1..=64).contains(&name.len()) {
            return Err("a name has 1 to 64 characters");
        }
        match self {
            Self::Parameters => {
                let fits =
                    |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(fits) {
                    return Err("a parameter's name has `a-z`, `0-9` and `_`, a letter first");
                }
                if is_secret_name(name) {
                    return Err(
                        "a parameter is no place for a secret: approvers, the log and tokens show it",
                    );
                }
            }
            Self::Arguments => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.$".contains(&byte);
                if !name.bytes().all(fits) {
                    return Err("an argument's name has `A-Z a-z 0-9 _ - . $`");
                }
            }
        }
        Ok(())
    }
}

/// Refuses every number that is no integer, or one that canonical JSON could not keep apart from its neighbour.
pub(super) fn check_numbers(value: &Value) -> Result<(), String> {
    match value {
        Value::Number(number) => {
            let safe =
                number.as_i64().is_some_and(|integer| integer.unsigned_abs() <= MAX_SAFE_INTEGER);
            if safe { Ok(()) } else { Err(String::new()) }
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            check_numbers(item).map_err(|path| format!("/{index}{path}"))
        }),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            check_numbers(member).map_err(|path| format!("/{name}{path}"))
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
