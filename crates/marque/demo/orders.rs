//! What the demo asks of its agents, one JSON line each way over the agent's standard input and output.
//!
//! Tokens stay inside the agent process: an order names what to do with "the token you hold", never the token itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing to do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub(super) enum Order {
    /// Fetch an X.509-SVID and a JWT-SVID for `audience`.
    Identity {
        /// The audience of the JWT-SVID.
        audience: String,
    },
    /// Open a Workload API stream and keep it open.
    Watch,
    /// Wait until the stream opened by `Watch` has ended; says with which status.
    WatchEnded,
    /// Ask for an intent with exactly this JSON body.
    Ask {
        /// The intents endpoint.
        url: String,
        /// The issuer, audience of the JWT-SVID.
        issuer: String,
        /// The request.
        body: Value,
    },
    /// Read an intent.
    Look {
        /// The intents endpoint.
        url: String,
        /// The issuer, audience of the JWT-SVID.
        issuer: String,
        /// The intent.
        intent: String,
    },
    /// Exchange the JWT-SVID and an intent for an access token, and hold it.
    Exchange {
        /// The token endpoint.
        url: String,
        /// The issuer, audience of the JWT-SVID.
        issuer: String,
        /// The intent.
        intent: String,
    },
    /// Call the resource with the access token held.
    Call {
        /// The resource.
        url: String,
    },
    /// Call the resource with the bare JWT-SVID.
    CallWithIdentity {
        /// The resource.
        url: String,
        /// The audience of the JWT-SVID.
        audience: String,
    },
    /// Try to approve an intent by running the command line, as a child of the agent.
    Approve {
        /// The `marque` program.
        program: PathBuf,
        /// The endpoints file.
        endpoints: PathBuf,
        /// The trust domain.
        trust_domain: String,
        /// The intent.
        intent: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Outcome {
    /// The HTTP or exit status; 0 where there is none.
    pub(super) status: i64,
    /// What was answered, without any secret.
    pub(super) detail: Value,
}

/// A member of a JSON document; `Null` where there is none.
pub(super) fn member<'a>(document: &'a Value, name: &str) -> &'a Value {
    document.get(name).unwrap_or(&Value::Null)
}
