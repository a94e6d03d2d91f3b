//! Where an instant stands in change windows and blackouts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the playbook's windows and calendars say of the instant of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowEvidence {
    /// Whether a window is open and no blackout holds.
    pub open: bool,
    /// When what holds now ends; absent if nothing known ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When a window opens next, if none is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<Timestamp>,
    /// The calendar whose blackout holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout: Option<String>,
}
