//! Break-glass: what an emergency playbook fixes beforehand, and who answers it (M 51 to M 53).
//!
//! An emergency grant is as narrow as any other; only its approval is short: one named responder. Absent: the limits on
//! its playbook, which its lint keeps, and the exemption from blackouts, which is the calendar's.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::approval::{Approver, Decider, GroupName, Person};
use crate::grant::seconds;

/// What is special about an emergency playbook's grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// Whose word approves; nobody else's does.
    pub responders: BTreeSet<Responder>,
    /// Who is told at once.
    pub alert: AlertSink,
    /// How long after its approval somebody else has to have reviewed it.
    #[serde(rename = "post_review_within_s", with = "seconds")]
    pub post_review_within: Duration,
    /// How long the same agent waits before it may ask for the same playbook again.
    #[serde(rename = "cooldown_s", with = "seconds")]
    pub cooldown: Duration,
    /// How often in 24 hours the same agent may have it.
    pub max_per_day: u32,
    /// More activations than this within 30 days mean that the ordinary playbooks are too hard to use (M 129).
    pub alert_above: u32,
}

impl Emergency {
    /// Whether this approver is one of the responders.
    #[must_use]
    pub fn is_answered_by(&self, decider: &Decider) -> bool {
        self.responders.iter().any(|responder| responder.is(decider))
    }
}

/// Who answers an emergency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Responder {
    /// Everybody in a group: `group:incident-responders`.
    Group(GroupName),
    /// A local operator by user name: `operator:alice`.
    Operator(String),
    /// Somebody who logs in: `person:https://idp.example.org#248289761001`.
    Person(Person),
}

/// The text names no responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a responder is `group:NAME`, `operator:USER` or `person:ISSUER#SUBJECT`, and never a workload"
)]
pub struct ResponderError;

impl Responder {
    fn is(&self, decider: &Decider) -> bool {
        match (self, &decider.approver) {
            (Self::Group(group), _) => decider.is_in(group),
            (Self::Operator(name), Approver::Operator { user, .. }) => user == name,
            (Self::Person(named), Approver::Person(person)) => person == named,
            (Self::Operator(_), Approver::Person(_))
            | (Self::Person(_), Approver::Operator { .. }) => false,
        }
    }
}

impl FromStr for Responder {
    type Err = ResponderError;

    fn from_str(text: &str) -> Result<Self, ResponderError> {
        match text.split_once(':').ok_or(ResponderError)? {
            ("group", name) => name.parse().map(Self::Group).map_err(|_source| ResponderError),
            ("operator", user) => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                let fits = (1..=64).contains(&user.len()) && user.bytes().all(plain);
                fits.then(|| Self::Operator(user.to_owned())).ok_or(ResponderError)
            }
            ("person", name) => {
                let (issuer, subject) = name.split_once('#').ok_or(ResponderError)?;
                Person::new(issuer, subject).map(Self::Person).map_err(|_source| ResponderError)
            }
            _ => Err(ResponderError),
        }
    }
}

impl TryFrom<String> for Responder {
    type Error = ResponderError;

    fn try_from(text: String) -> Result<Self, ResponderError> {
        text.parse()
    }
}

impl From<Responder> for String {
    fn from(responder: Responder) -> Self {
        responder.to_string()
    }
}

impl fmt::Display for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Operator(user) => write!(f, "operator:{user}"),
            Self::Person(person) => write!(f, "person:{}#{}", person.issuer(), person.subject()),
        }
    }
}

/// Where an alert goes, beside the log of the daemon and the metrics, where all of them go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AlertSink {
    /// Nowhere else.
    Log,
    /// To the webhook of that name.
    Webhook(GroupName),
}

/// The text names no sink of alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an alert goes to `log` or to `webhook:NAME`")]
pub struct AlertSinkError;

impl FromStr for AlertSink {
    type Err = AlertSinkError;

    fn from_str(text: &str) -> Result<Self, AlertSinkError> {
        match text.split_once(':') {
            None if text == "log" => Ok(Self::Log),
            Some(("webhook", name)) => {
                name.parse().map(Self::Webhook).map_err(|_source| AlertSinkError)
            }
            _ => Err(AlertSinkError),
        }
    }
}

impl TryFrom<String> for AlertSink {
    type Error = AlertSinkError;

    fn try_from(text: String) -> Result<Self, AlertSinkError> {
        text.parse()
    }
}

impl From<AlertSink> for String {
    fn from(sink: AlertSink) -> Self {
        sink.to_string()
    }
}

impl fmt::Display for AlertSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Webhook(name) => write!(f, "webhook:{name}"),
        }
    }
}
