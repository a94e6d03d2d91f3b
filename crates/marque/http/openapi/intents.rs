//! The API of intents.

use marque_exchange::INTENTS_API_PATH;
use serde_json::{Value, json};

use super::operation::{JSON, Operation, path};

pub(super) fn paths() -> Vec<(String, Value)> {
    let below = |rest: &str| format!("{INTENTS_API_PATH}{rest}");
    vec![
        path(below("/playbooks"), [playbooks()]),
        path(below("/intents"), [request()]),
        path(below("/intents/{id}"), [named("get", "findIntent", "the agent's own intent")]),
        path(below("/intents/{id}/complete"), [complete()]),
        path(below("/intents/{id}/heartbeat"), [heartbeat()]),
        path(below("/intents/{id}/cancel"), [cancel()]),
        path(below("/stop"), [stop()]),
    ]
}

/// What an agent does with an intent.
const NEXT: [&str; 3] = ["findIntent", "completeIntent", "cancelIntent"];

fn operation(method: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, "intents", id, summary)
        .secured(&["jwt_svid"])
        .problem(401, "no JWT-SVID for the issuer, or one that is not accepted")
        .header(401, "WWW-Authenticate", "`Bearer`, with the way to the metadata of this resource")
        .problem(403, "refused, with a stable code")
        .problem(503, "it could not be kept, and was not done")
}

fn playbooks() -> Operation {
    operation("get", "listPlaybooks", "the playbooks that the agent may ask for").answer(
        200,
        "the playbooks",
        JSON,
        "Playbooks",
    )
}

fn request() -> Operation {
    let example = json!({
        "playbook": "ingress-cert-rotation",
        "version": 1,
        "parameters": { "service": "checkout", "region": "eu-west-1" },
        "ticket": "CHG-1842",
        "justification": "the certificate ends in six days",
    });
    let operation = operation("post", "requestIntent", "asks for a playbook").body(
        JSON,
        "IntentRequest",
        &example,
    );
    changing(once(operation))
        .answer(201, "approved", JSON, "Intent")
        .header(201, "Location", "the intent")
        .answer(202, "waits for an approver", JSON, "Intent")
        .header(202, "Location", "the intent")
        .leads_to(201, &NEXT)
        .leads_to(202, &NEXT)
}

fn complete() -> Operation {
    let operation =
        named("post", "completeIntent", "ends the intent with a report; its tokens end too");
    changing(once(operation.body(JSON, "Report", &json!({ "outcome": "success" }))))
}

/// What is done once for one key.
fn once(operation: Operation) -> Operation {
    operation.parameter(
        "header",
        "Idempotency-Key",
        "makes a retry safe for 24 hours: the same key with the same body is answered alike",
        &json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" }),
    )
}

fn cancel() -> Operation {
    without_body(once(named("post", "cancelIntent", "withdraws the intent, before any use")))
}

fn heartbeat() -> Operation {
    let summary = "says that the work goes on: puts off the end of a grant that falls idle";
    without_body(named("post", "hearIntent", summary))
}

fn stop() -> Operation {
    let reason = json!({ "reason": "what I was told to do is not what I was started for" });
    operation("post", "stopSelf", "stops the agent itself, until two people lift it")
        .described(
            "It kills the SPIFFE ID of the JWT-SVID and nothing else. Its tokens end at once.",
        )
        .optional_body(JSON, "Stop", &reason)
        .answer(200, "stopped", JSON, "Stopped")
        .problem(400, "the body is malformed")
        .problem(413, "the body is too large")
        .problem(415, "the body is not JSON")
}

fn without_body(operation: Operation) -> Operation {
    let body = json!({
        "required": false,
        "content": { JSON: { "schema": { "type": "object", "maxProperties": 0 } } },
    });
    operation
        .request_body(body)
        .problem(400, "there is a body")
        .problem(409, "it contradicts what was done before")
        .problem(413, "the body is too large")
        .empty(408, "the body did not come in time")
}

/// What takes a JSON body and changes something.
fn changing(operation: Operation) -> Operation {
    operation
        .problem(400, "the request is malformed")
        .problem(409, "it contradicts what was done before")
        .problem(413, "the body is too large")
        .problem(415, "the body is not JSON")
        .problem(429, "too often")
        .header(429, "Retry-After", "seconds")
}

/// What is about one intent.
fn named(method: &'static str, id: &'static str, summary: &'static str) -> Operation {
    operation(method, id, summary)
        .parameter("path", "id", "the intent", &super::schemas::intent_id())
        .answer(200, "the intent as it stands", JSON, "Intent")
        .problem(404, "there is no such intent, or it is somebody else's")
}
