//! One operation of the document in the making.

use serde_json::{Map, Value, json};

pub(super) const JSON: &str = "application/json";
pub(super) const PROBLEM: &str = "application/problem+json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// An operation in the making.
#[derive(Debug)]
pub(super) struct Operation {
    method: &'static str,
    members: Map<String, Value>,
    responses: Map<String, Value>,
    parameters: Vec<Value>,
}

impl Operation {
    /// An operation that anybody may call.
    pub(super) fn new(
        method: &'static str,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let members =
            [("tags", json!([tag])), ("operationId", id.into()), ("summary", summary.into())];
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let operation = Self { method, members, responses: Map::new(), parameters: Vec::new() };
        operation.problem(405, "another method").problem(500, "a fault of ours")
    }

    /// What there is to know beside the summary.
    pub(super) fn described(mut self, text: &'static str) -> Self {
        self.members.insert("description".to_owned(), text.into());
        self
    }

    /// Who may call it: one of these schemes.
    pub(super) fn secured(mut self, schemes: &[&str]) -> Self {
        let one = |scheme: &&str| match *scheme {
            "" => json!({}),
            scheme => json!({ scheme: [] }),
        };
        self.members.insert("security".to_owned(), schemes.iter().map(one).collect());
        self
    }

    /// A parameter of the path or a header.
    pub(super) fn parameter(
        mut self,
        place: &'static str,
        name: &'static str,
        description: &'static str,
        schema: &Value,
    ) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
            "schema": schema,
        }));
        self
    }

    /// Its body, of a schema by name.
    pub(super) fn body(
        self,
        media_type: &'static str,
        schema: &'static str,
        example: &Value,
    ) -> Self {
        self.body_that(true, media_type, schema, example)
    }

    /// Its body, which may be left out.
    pub(super) fn optional_body(
        self,
        media_type: &'static str,
        schema: &'static str,
        example: &Value,
    ) -> Self {
        self.body_that(false, media_type, schema, example)
    }

    fn body_that(
        self,
        required: bool,
        media_type: &'static str,
        schema: &'static str,
        example: &Value,
    ) -> Self {
        let content = json!({ media_type: { "schema": reference(schema), "example": example } });
        self.request_body(json!({ "required": required, "content": content }))
            .empty(408, "the body did not come in time")
    }

    /// Its body as it is.
    pub(super) fn request_body(mut self, body: Value) -> Self {
        self.members.insert("requestBody".to_owned(), body);
        self
    }

    /// An answer with a body of a schema by name.
    pub(super) fn answer(
        self,
        status: u16,
        description: &'static str,
        media_type: &'static str,
        schema: &'static str,
    ) -> Self {
        let content = json!({ media_type: { "schema": reference(schema) } });
        self.response(status, json!({ "description": description, "content": content }))
    }

    /// A refusal of the API of intents.
    pub(super) fn problem(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, PROBLEM, "Problem")
    }

    /// A refusal of the token service.
    pub(super) fn refusal(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, JSON, "OAuthError")
    }

    /// An answer without a body.
    pub(super) fn empty(self, status: u16, description: &'static str) -> Self {
        self.response(status, json!({ "description": description }))
    }

    /// A header of an answer that is described already.
    pub(super) fn header(
        mut self,
        status: u16,
        name: &'static str,
        description: &'static str,
    ) -> Self {
        let header = json!({ "description": description, "schema": { "type": "string" } });
        if let Some(response) = self.responses.get_mut(&status.to_string()) {
            if let Some(headers) = response.get_mut("headers").and_then(Value::as_object_mut) {
                headers.insert(name.to_owned(), header);
            } else if let Some(response) = response.as_object_mut() {
                response.insert("headers".to_owned(), json!({ name: header }));
            }
        }
        self
    }

    /// What may be done next with the `id` in an answer that is described already: operations by their ids.
    pub(super) fn leads_to(mut self, status: u16, operations: &[&'static str]) -> Self {
        let link = |operation: &&str| {
            let link =
                json!({ "operationId": operation, "parameters": { "id": "$response.body#/id" } });
            ((*operation).to_owned(), link)
        };
        if let Some(response) =
            self.responses.get_mut(&status.to_string()).and_then(Value::as_object_mut)
        {
            let links: Map<String, Value> = operations.iter().map(link).collect();
            response.insert("links".to_owned(), links.into());
        }
        self
    }

    /// An example of an answer that is described already.
    pub(super) fn example(mut self, status: u16, example: &Value) -> Self {
        let content = self.responses.get_mut(&status.to_string());
        let content = content.and_then(|response| response.get_mut("content"));
        for media_type in
            content.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
        {
            if let Some(media_type) = media_type.as_object_mut() {
                media_type.insert("example".to_owned(), example.clone());
            }
        }
        self
    }

    /// An answer as it is.
    pub(super) fn response(mut self, status: u16, response: Value) -> Self {
        self.responses.insert(status.to_string(), response);
        self
    }

    /// The method, and the operation as the document has it.
    pub(super) fn finish(self) -> (String, Value) {
        let Self { method, mut members, responses, parameters } = self;
        if !parameters.is_empty() {
            members.insert("parameters".to_owned(), parameters.into());
        }
        members.insert("responses".to_owned(), Value::Object(responses));
        (method.to_owned(), Value::Object(members))
    }
}

/// A path with its operations.
pub(super) fn path(
    template: impl Into<String>,
    operations: impl IntoIterator<Item = Operation>,
) -> (String, Value) {
    let operations = operations.into_iter().map(Operation::finish).collect();
    (template.into(), Value::Object(operations))
}

/// A schema by name.
pub(super) fn reference(schema: &str) -> Value {
    json!({ "$ref": pointer(schema) })
}

/// Where in the document a schema is, by its name.
pub(super) fn pointer(schema: &str) -> String {
    format!("#/components/schemas/{schema}")
}
