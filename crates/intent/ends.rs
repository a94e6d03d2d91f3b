//! What ends a grant beside its fixed clocks, by its playbook's `time`, `liveness` and `on_complete`: silence, the end of
//! the agent's process, the end of the parent intent, and how long a report may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The rules by which a grant ends early, or is closed late. Each is enforced by whoever keeps intents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndingRules {
    /// How long after its last use nothing may be heard of it; no such clock if absent.
    #[serde(
        rename = "idle_timeout_s",
        default,
        with = "seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub idle_timeout: Option<Duration>,
    /// Whether it ends when the last process that is attested as its agent has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_agent: bool,
    /// Whether it ends when the intent ends that it was asked for under.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_parent: bool,
    /// How long after the end of its last token the agent has to report the outcome; the default if absent.
    #[serde(
        rename = "report_within_s",
        default,
        with = "seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub report_within: Option<Duration>,
}

impl EndingRules {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Durations as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|length| length.as_secs()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
    }
}
