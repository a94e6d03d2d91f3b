//! A metadata document in the making, which has no empty arrays (RFC 8414 §3.2, RFC 9728 §3.2).

use serde_json::{Map, Value};

/// A document in the making.
#[derive(Debug, Default)]
pub(super) struct Document(Map<String, Value>);

impl Document {
    /// A member that is text.
    pub(super) fn text(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), Value::String(value.into()));
    }

    /// A member that is an array; left out where it would be empty.
    pub(super) fn list(
        &mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item: Into<Value>>,
    ) {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        if !values.is_empty() {
            self.0.insert(name.into(), Value::Array(values));
        }
    }

    /// A member that is true; left out where it is not, which means the same.
    pub(super) fn switch(&mut self, name: impl Into<String>, on: bool) {
        if on {
            self.0.insert(name.into(), Value::Bool(true));
        }
    }

    /// A member that is false, where to leave it out would not say so.
    pub(super) fn no(&mut self, name: impl Into<String>) {
        self.0.insert(name.into(), Value::Bool(false));
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Self {
        Self::Object(document.0)
    }
}
