//! Values with parameters in them: of constraints, and inside the schemas of tool arguments.
//!
//! A value that is nothing but one `{{params.x}}` is that parameter as it is, be it a number or a list; inside other text
//! a parameter is percent-encoded as in every [`Template`]. Absent: a parameter that becomes a keyword of a schema.

use serde_json::{Map, Value};

use super::template::{RenderError, Shape, Template, Variable};

/// A text, number, switch or list, with parameters in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ValueTemplate {
    /// A literal that has no parameter.
    Literal(Value),
    /// One variable and nothing around it.
    Whole(Variable),
    /// Text around variables.
    Text(Template),
    /// Some of these.
    List(Vec<Self>),
    /// An object, such as a JSON Schema.
    Object(Vec<(String, Self)>),
}

/// Where a value may have variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// Wherever it has text.
    Everywhere,
    /// In the values that a JSON Schema lists (`const` and `enum`).
    ListedValues,
}

impl ValueTemplate {
    pub(super) fn parse(value: &Value, place: Where) -> Result<Self, String> {
        match value {
            Value::String(text) if place == Where::Everywhere && text.contains(['{', '}']) => {
                let template = Template::parse(text, Shape::Text)?;
                Ok(match template.sole() {
                    Some(variable) => Self::Whole(variable.clone()),
                    None => Self::Text(template),
                })
            }
            Value::Array(items) => items
                .iter()
                .map(|item| Self::parse(item, place))
                .collect::<Result<_, _>>()
                .map(Self::List),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| Ok((name.clone(), Self::parse(member, place.below(name))?)))
                .collect::<Result<_, String>>()
                .map(Self::Object),
            other => Ok(Self::Literal(other.clone())),
        }
    }

    /// Every variable, and whether it stands alone.
    pub(super) fn variables(&self) -> Vec<(&Variable, bool)> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Whole(variable) => vec![(variable, true)],
            Self::Text(template) => {
                template.variables().into_iter().map(|(variable, _)| (variable, false)).collect()
            }
            Self::List(items) => items.iter().flat_map(Self::variables).collect(),
            Self::Object(members) => {
                members.iter().flat_map(|(_, member)| member.variables()).collect()
            }
        }
    }

    /// Fills in every value. `whole` gives a parameter as it is, `text` as text.
    pub(crate) fn render(
        &self,
        whole: &impl Fn(&Variable) -> Option<Value>,
        text: &impl Fn(&Variable) -> Option<String>,
    ) -> Result<Value, RenderError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Whole(variable) => {
                whole(variable).ok_or_else(|| RenderError::Missing(variable.clone()))
            }
            Self::Text(template) => template.render(text).map(Value::String),
            Self::List(items) => items.iter().map(|item| item.render(whole, text)).collect(),
            Self::Object(members) => {
                let mut object = Map::new();
                for (name, member) in members {
                    object.insert(name.clone(), member.render(whole, text)?);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

impl Where {
    fn below(self, keyword: &str) -> Self {
        match self {
            Self::ListedValues if matches!(keyword, "const" | "enum") => Self::Everywhere,
            other => other,
        }
    }
}
