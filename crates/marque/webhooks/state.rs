//! What was put aside of each webhook, as every replica sees it, and how operators see a webhook.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The rows of cursors, by the name of the webhook.
pub(super) const CURSORS: &str = "webhook";
/// The rows of what was put aside, by the name of the webhook and the number of the leaf.
pub(super) const DEAD: &str = "webhook_dead";

/// A message that nobody took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetter {
    pub(super) webhook: String,
    pub(super) leaf: u64,
    pub(super) at: Timestamp,
    pub(super) failure: String,
}

impl DeadLetter {
    pub(super) fn key(webhook: &str, leaf: u64) -> String {
        format!("{webhook}/{leaf:020}")
    }
}

/// A webhook, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookView {
    /// What it is called.
    pub name: String,
    /// How many leaves of the log it has not looked at yet.
    pub behind: u64,
    /// How often the next message was not taken so far.
    pub failed: u32,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Why it was not taken.
    pub failure: Option<String>,
    /// When a message was last taken.
    pub delivered_at: Option<Timestamp>,
    /// What was put aside.
    pub dead: Vec<DeadLetterView>,
}

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// The number of the leaf that it is about.
    pub leaf: u64,
    /// When it was put aside.
    pub at: Timestamp,
    /// Why it was not taken.
    pub failure: String,
}
