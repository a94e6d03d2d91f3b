//! Lifting kills, for people who logged in.

use marque_intent::kill::KillMode;
use serde_json::{Value, json};

use super::approvals::{changing, csrf, person};
use super::operation::{JSON, Operation, path, reference};
use super::schemas::{exactly, instant, text};
use crate::http::approvals::PATH;

pub(super) fn paths() -> Vec<(String, Value)> {
    vec![
        path(format!("{PATH}/kills"), [list()]),
        path(format!("{PATH}/kills/{{kill}}/lift"), [ask()]),
        path(format!("{PATH}/lifts/{{lift}}/confirm"), [confirm()]),
    ]
}

fn list() -> Operation {
    person("get", "listKills", "the kills that stand, and who wants them lifted").answer(
        200,
        "the kill switch as it stands",
        JSON,
        "KillState",
    )
}

fn ask() -> Operation {
    let example = json!({ "reason": "repaired, see CHG-1842", "to": "drain" });
    let name = json!({ "type": "string", "pattern": "^(kill_[0-9a-f]{24}|[0-9]{1,20})$" });
    changing(csrf(person("post", "askLift", "asks for a kill to be lifted or relaxed")))
        .parameter("path", "kill", "its id, or its epoch", &name)
        .body(JSON, "AskLift", &example)
        .answer(200, "the wish, which another person confirms", JSON, "LiftAsk")
        .problem(404, "no such kill stands")
}

fn confirm() -> Operation {
    let name = json!({ "type": "string", "pattern": "^lift_[0-9a-f]{24}$" });
    changing(csrf(person("post", "confirmLift", "confirms what another person asked for")))
        .parameter("path", "lift", "the wish", &name)
        .body(JSON, "ConfirmLift", &json!({}))
        .answer(200, "the kill switch after it", JSON, "KillState")
        .problem(404, "nobody asked for it, or it has ended")
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let modes = KillMode::ALL.map(KillMode::as_str);
    let mode = json!({ "type": "string", "enum": modes });
    let ask = exactly(&json!({ "reason": text(), "to": mode }), &["reason"]);
    let wish = exactly(
        &json!({
            "id": text(), "kill": text(), "mode": mode, "reason": text(), "actor": text(),
            "at": instant(), "until": instant(),
        }),
        &["id", "kill", "reason", "actor", "at", "until"],
    );
    let kill = exactly(
        &json!({
            "scope": text(), "selector": text(), "reason": text(), "actor": text(), "at": instant(),
            "epoch": { "type": "integer" }, "id": text(), "mode": mode, "expires_at": instant(),
        }),
        &["scope", "reason", "actor", "at", "epoch", "id", "mode"],
    );
    let state = exactly(
        &json!({
            "epoch": { "type": "integer" },
            "kills": { "type": "array", "items": kill },
            "asks": { "type": "array", "items": reference("LiftAsk") },
            "asks_unknown": text(),
            "kept_here_only": { "type": "boolean" },
        }),
        &["epoch", "kills"],
    );
    let nothing = exactly(&json!({}), &[]);
    vec![("AskLift", ask), ("ConfirmLift", nothing), ("LiftAsk", wish), ("KillState", state)]
}
