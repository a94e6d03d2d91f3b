//! The claims of an access token (RFC 9068 §2.2), each of exactly its type: a mistyped one is never "absent"
//! (CVE-2026-25537).

use marque_jose::{Audiences, Confirmation, NumericDate, present};
use marque_status_list::StatusReference;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::details::Detail;

/// The deepest chain of `act` that is read; the issuer's own is no deeper.
pub(crate) const MAX_ACTORS: usize = 8;

/// What this crate reads. Other claims stay in the token's map.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: Text,
    pub(crate) sub: Text,
    pub(crate) aud: Audiences,
    pub(crate) client_id: Text,
    pub(crate) jti: Text,
    pub(crate) iat: NumericDate,
    pub(crate) exp: NumericDate,
    #[serde(default, deserialize_with = "present")]
    pub(crate) nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) scope: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) authorization_details: Option<Vec<Detail>>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) cnf: Option<Confirmation>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) status: Option<Status>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) act: Option<Actor>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) intent: Option<Intent>,
    #[serde(flatten)]
    pub(crate) envelope: Envelope,
}

/// A text that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Err(D::Error::custom("an empty text")) } else { Ok(Self(text)) }
    }
}

/// `status`: where the token's status is. Other mechanisms beside a status list are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Status {
    #[serde(default, deserialize_with = "present")]
    pub(crate) status_list: Option<StatusReference>,
}

/// `act`: who acts for the subject (RFC 8693 §4.1). Only the outermost one may decide anything; those within are how the
/// token came to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Actor {
    sub: Text,
    #[serde(default, deserialize_with = "present")]
    iss: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    act: Option<Box<Self>>,
}

impl Actor {
    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.sub.0
    }

    /// Who says so, where that is not the token's issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.iss.as_ref().map(|text| text.0.as_str())
    }

    /// Who acted before: information, and no ground for a decision.
    #[must_use]
    pub fn before(&self) -> Option<&Self> {
        self.act.as_deref()
    }

    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.before()).take(MAX_ACTORS + 1).count()
    }
}

/// `intent`: which approved intent the token stands on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Intent {
    /// Its id.
    pub id: String,
    /// The digest of what was approved.
    pub digest: String,
    /// The playbook.
    pub playbook: String,
    /// The playbook's version.
    pub version: u64,
}

/// The identity envelope: on whose behalf, in which context and within which bounds the agent acts. What is absent was
/// not said; it is no permission.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct Envelope {
    /// The person who delegated.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub delegator_id: Option<String>,
    /// The tenant.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The session.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The task.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What it is for.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The only tools that may be called, where tools are limited at all.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    /// What the resources are limited to, by names that the resource server knows.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub resource_constraints: Option<Map<String, Value>>,
}
