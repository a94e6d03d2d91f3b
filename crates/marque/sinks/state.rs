//! A sink as operators see it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The rows of cursors, by the name of the sink.
pub(super) const CURSORS: &str = "audit_sink";

/// A sink, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkView {
    /// What it is called.
    pub name: String,
    /// What it is sent: `checkpoints`, or a form of records.
    pub sends: String,
    /// Where it is, without what protects it.
    pub to: String,
    /// How many leaves of the log it has not been sent, or has no checkpoint of.
    pub behind: u64,
    /// How often the next push was not taken so far.
    pub failed: u32,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Why it was not taken.
    pub failure: Option<String>,
    /// When a push was last taken.
    pub delivered_at: Option<Timestamp>,
}
