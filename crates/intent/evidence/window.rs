//! Where an instant stands in change windows and blackouts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::window::Standing;

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

impl From<Standing<'_>> for WindowEvidence {
    fn from(standing: Standing<'_>) -> Self {
        match standing {
            Standing::Open { until } => Self { open: true, until, opens_at: None, blackout: None },
            Standing::Outside { opens_at } => {
                Self { open: false, until: None, opens_at, blackout: None }
            }
            Standing::Blackout { calendar, opens_at } => Self {
                open: false,
                until: None,
                opens_at,
                blackout: Some(calendar.name().to_string()),
            },
        }
    }
}
