//! The API of approvals, for people who logged in and for signed callbacks.

use serde_json::{Value, json};

use super::operation::{FORM, JSON, Operation, path};
use super::schemas::intent_id;
use crate::http::approvals::{CSRF, PATH};

pub(super) fn paths() -> Vec<(String, Value)> {
    let below = |rest: &str| format!("{PATH}{rest}");
    vec![
        path(below(""), [list()]),
        path(below("/session"), [session()]),
        path(below("/logout"), [log_out()]),
        path(below("/intents/{id}"), [find()]),
        path(below("/intents/{id}/approve"), [approve()]),
        path(below("/intents/{id}/deny"), [deny()]),
        path(below("/login"), [begin()]),
        path(below("/login/callback"), [finish()]),
        path(below("/login/confirm"), [confirm()]),
        path(below("/login/token"), [token()]),
        path(below("/callback/{name}"), [callback()]),
    ]
}

/// What everything here answers where people do not log in.
fn offered(method: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, "approvals", id, summary)
        .secured(&[""])
        .problem(404, "people do not log in here")
}

pub(super) fn person(method: &'static str, id: &'static str, summary: &'static str) -> Operation {
    offered(method, id, summary)
        .secured(&["approver_session", "approver_terminal"])
        .problem(401, "nobody is logged in, or not with what the playbook wants")
        .header(401, "WWW-Authenticate", "where a fresh login with more than one factor is wanted")
        .problem(403, "refused, with a stable code")
        .problem(503, "it could not be kept, and was not done")
}

fn list() -> Operation {
    let summary = "what waits for the approver, the riskiest first";
    person("get", "listApprovals", summary).answer(200, "the intents", JSON, "Reviews")
}

fn session() -> Operation {
    person("get", "getApproverSession", "who is logged in").answer(
        200,
        "the session",
        JSON,
        "ApproverSession",
    )
}

fn log_out() -> Operation {
    csrf(person("post", "logOutApprover", "ends the session")).empty(204, "it has ended")
}

pub(super) fn csrf(operation: Operation) -> Operation {
    operation.parameter(
        "header",
        CSRF,
        "the session's own token, which a browser has to send along",
        &json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$" }),
    )
}

fn find() -> Operation {
    person("get", "reviewIntent", "all that an approver has to see of an intent")
        .parameter("path", "id", "the intent", &intent_id())
        .answer(200, "the intent as it stands", JSON, "Review")
        .problem(404, "there is no such intent, or the approver has no say in it")
}

fn decision(
    id: &'static str,
    summary: &'static str,
    schema: &'static str,
    example: &Value,
) -> Operation {
    let key = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" });
    changing(csrf(person("post", id, summary)))
        .parameter("path", "id", "the intent", &intent_id())
        .parameter("header", "Idempotency-Key", "makes a retry safe for 24 hours", &key)
        .body(JSON, schema, example)
        .answer(200, "the intent as it stands", JSON, "Review")
        .problem(404, "there is no such intent, or the approver has no say in it")
}

fn approve() -> Operation {
    let example = json!({ "digest": DIGEST });
    decision(
        "approveIntent",
        "approves the grant with exactly this digest",
        "ApproveIntent",
        &example,
    )
}

fn deny() -> Operation {
    let example = json!({ "digest": DIGEST, "reason": "not_needed", "text": "the old one is good until May" });
    decision("denyIntent", "refuses the grant with exactly this digest", "DenyIntent", &example)
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A query may make a request longer than its head may be.
const TOO_LONG: &str = "the address is too long";

fn begin() -> Operation {
    let mut operation = offered("get", "beginLogin", "sends a browser to the identity provider");
    for (name, description, schema) in [
        ("fresh", "to prove anew who one is", json!({ "type": "string", "enum": ["1"] })),
        (
            "port",
            "where a terminal listens on this machine",
            json!({ "type": "string", "pattern": "^[0-9]{4,5}$" }),
        ),
        ("challenge", "the digest of the terminal's secret", base64()),
        ("terminal_state", "what the terminal wants back", base64()),
    ] {
        operation = operation.parameter("query", name, description, &schema);
    }
    page(operation.empty(303, "to the provider"), 400)
        .header(303, "Location", "the provider")
        .empty(431, TOO_LONG)
}

fn base64() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$" })
}

/// A refusal as a page.
fn page(operation: Operation, status: u16) -> Operation {
    let html = json!({ "text/html": { "schema": { "type": "string" } } });
    operation
        .response(status, json!({ "description": "a page that says why not", "content": html }))
}

fn finish() -> Operation {
    let mut operation =
        offered("get", "finishLogin", "takes a browser back from the identity provider");
    for name in ["code", "state", "iss", "error"] {
        let schema = json!({ "type": "string", "maxLength": 2048 });
        operation =
            operation.parameter("query", name, "of the provider (RFC 6749, RFC 9207)", &schema);
    }
    [200, 400, 403, 503].into_iter().fold(operation, page).empty(431, TOO_LONG)
}

fn confirm() -> Operation {
    let operation = offered("post", "confirmTerminal", "lets a terminal decide as the person")
        .body(FORM, "ConfirmTerminal", &json!({ "login": "AAAA" }))
        .empty(303, "to the terminal, on this machine")
        .problem(413, "the body is too large")
        .response(403, json!({
            "description": "the form is not of our page, or nobody may be logged in",
            "content": {
                "application/problem+json": { "schema": super::operation::reference("Problem") },
                "text/html": { "schema": { "type": "string" } },
            },
        }));
    [400, 503].into_iter().fold(operation, page)
}

fn token() -> Operation {
    let example = json!({ "code": "A".repeat(43), "verifier": "B".repeat(43) });
    offered("post", "collectTerminalSession", "gives a terminal its session, once")
        .body(JSON, "CollectTerminalSession", &example)
        .answer(200, "the session", JSON, "TerminalSession")
        .problem(400, "the code or its secret is not accepted, or the body is malformed")
        .problem(403, "it is asked for by a page")
        .problem(413, "the body is too large")
        .problem(415, "the body is not JSON")
        .problem(503, "it could not be kept, and was not done")
}

fn callback() -> Operation {
    let example = json!({
        "user": "U024BE7LH",
        "intent": "int_01abcdefghjkmnpqrstvwxyz01",
        "decision": "approve",
        "digest": DIGEST,
    });
    let mut operation =
        offered("post", "passOnDecision", "takes what a user of an integration decided");
    let name = json!({ "type": "string", "pattern": "^[a-z0-9-]{1,32}$" });
    operation = operation.parameter("path", "name", "the integration", &name);
    for (name, description) in [
        ("webhook-id", "of this message alone"),
        ("webhook-timestamp", "seconds since 1970"),
        ("webhook-signature", "as Standard Webhooks has it"),
    ] {
        operation = operation.parameter("header", name, description, &json!({ "type": "string" }));
    }
    changing(operation)
        .body(JSON, "PassedOnDecision", &example)
        .answer(200, "where the intent stands", JSON, "PassedOn")
        .problem(401, "the signature is not accepted, or not of now")
        .problem(403, "refused, with a stable code")
        .problem(404, "there is no such intent, or the person has no say in it")
        .problem(503, "it could not be kept, and was not done")
}

pub(super) fn changing(operation: Operation) -> Operation {
    operation
        .problem(400, "the request is malformed")
        .problem(409, "it contradicts what was done before")
        .problem(413, "the body is too large")
        .problem(415, "the body is not JSON")
        .problem(429, "too often")
}
