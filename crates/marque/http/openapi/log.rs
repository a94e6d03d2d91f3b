//! The log and receipts.

use serde_json::{Value, json};

use super::operation::{Operation, path};
use crate::http::log::{PATH, RECEIPTS, TILES};

pub(super) fn paths() -> Vec<(String, Value)> {
    let mut paths = vec![
        path(format!("{PATH}/checkpoint"), [checkpoint()]),
        path(format!("{RECEIPTS}/{{id}}"), [receipt()]),
    ];
    let ids = ["logTile1", "logTile2", "logTile3", "logTile4"];
    paths.extend(
        TILES.into_iter().zip(ids).enumerate().map(|(more, (rest, id))| {
            path(format!("{PATH}/tile/{{level}}{rest}"), [tile(id, more)])
        }),
    );
    paths
}

fn of_the_log(id: &'static str, summary: &'static str) -> Operation {
    Operation::new("get", "log", id, summary)
        .secured(&["", "jwt_svid", "approver_session", "approver_terminal"])
        .problem(401, "it is for readers, and nobody says who is asking")
        .problem(403, "whoever asks is no reader, or is stopped")
        .problem(404, "the log has no such piece, or no checkpoint covers it yet")
        .problem(503, "the log cannot be read, too many read it, or the tree is behind its leaves")
}

fn checkpoint() -> Operation {
    let text = json!({
        "description": "a C2SP signed note",
        "content": { "text/plain": { "schema": { "type": "string" } } },
    });
    of_the_log("logCheckpoint", "the newest checkpoint of the log (C2SP tlog-checkpoint)")
        .response(200, text)
        .empty(304, "it is the one that is known")
}

fn tile(id: &'static str, more: usize) -> Operation {
    let bytes = json!({
        "description": "hashes of 32 bytes, or leaves each behind its length in two bytes",
        "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } },
    });
    let part = json!({ "type": "string", "pattern": "^x?[0-9]{3}([.]p)?$" });
    let level = json!({ "type": "string", "pattern": "^([0-9]|[1-5][0-9]|6[0-3]|entries)$" });
    let last = json!({ "type": "string", "pattern": "^[0-9]{1,3}$" });
    let operation = of_the_log(id, "one tile of the log (C2SP tlog-tiles)")
        .parameter("path", "level", "the level of hashes, or `entries`", &level)
        .parameter("path", "group", "the index begins: `x001`, `067` or `067.p`", &part);
    let operation = if more >= 1 {
        let next = json!({ "type": "string", "pattern": "^(x?[0-9]{3}([.]p)?|[0-9]{1,3})$" });
        operation.parameter("path", "next", "the index or the width goes on", &next)
    } else {
        operation
    };
    let operation = if more >= 2 {
        let third = json!({ "type": "string", "pattern": "^([0-9]{3}([.]p)?|[0-9]{1,3})$" });
        operation.parameter("path", "third", "the index or the width goes on", &third)
    } else {
        operation
    };
    let operation = if more >= 3 {
        operation.parameter("path", "width", "how much a tile has that is not full", &last)
    } else {
        operation
    };
    operation.response(200, bytes).empty(304, "it is the one that is known")
}

fn receipt() -> Operation {
    let proof = json!({
        "description": "a C2SP tlog-proof@v1 with the whole leaf as its extra data: docs/audit.md says what a leaf tells",
        "content": { "text/plain": { "schema": { "type": "string" } } },
    });
    let id = json!({ "type": "string", "description": "the `jti` of the token" });
    Operation::new("get", "log", "findReceipt", "the proof that the token is in the log")
        .described("For the agents that hold the token or held what it derives from, for the resource servers that it is for, and, where it is bound to no key, for whoever shows the token itself as bearer.")
        .secured(&["jwt_svid"])
        .parameter("path", "id", "the token", &id)
        .response(200, proof)
        .problem(401, "no JWT-SVID for the issuer and not the token, or one that is not accepted")
        .header(401, "WWW-Authenticate", "`Bearer`, with the way to the metadata of this resource")
        .problem(403, "the kill switch stops whoever asks")
        .problem(404, "there is no such token, it is somebody else's, or no checkpoint covers it yet")
        .header(404, "Retry-After", "seconds, with `receipt_pending`")
        .problem(503, "the log cannot be read, too many read it, or the tree is behind its leaves")
}
