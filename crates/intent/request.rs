//! What an agent asks for: one playbook with parameters. Never permissions, never times (M 28, M 31).

use std::fmt;
use std::str::FromStr;

use marque_jose::json::{Limits, StrictJsonError, parse_object};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::appeal::Appeal;
use crate::delegation::ForAgent;
use crate::denial::{Denial, DenialCode};
use crate::evidence::{Category, Confidence};
use crate::playbook::{PhaseName, PlaybookId};
use crate::rights::Label;
use crate::secrets::looks_like_secret;
use crate::text::{Justification, bounded};

/// How large a request may be, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// How deep a request's JSON may be.
pub const MAX_REQUEST_DEPTH: usize = 8;
/// How many parameters a request may have.
pub const MAX_PARAMETERS: usize = 64;

/// Members by which a caller would ask for permissions, targets or times instead of a playbook. Compared without case,
/// `-` and `_`.
const RAW_PERMISSION_MEMBERS: &[&str] = &[
    "access",
    "accesslevel",
    "acl",
    "action",
    "actions",
    "aud",
    "audience",
    "audiences",
    "authorizationdetails",
    "bindings",
    "capabilities",
    "capability",
    "claims",
    "duration",
    "durationseconds",
    "entitlement",
    "entitlements",
    "environment",
    "exp",
    "expires",
    "expiresin",
    "expiry",
    "grant",
    "grants",
    "iam",
    "iamactions",
    "iamrole",
    "lifetime",
    "maxduration",
    "operation",
    "operations",
    "permission",
    "permissions",
    "permits",
    "policies",
    "policy",
    "policyarn",
    "privilege",
    "privileges",
    "resource",
    "resources",
    "rights",
    "role",
    "rolearn",
    "roles",
    "scope",
    "scopes",
    "sessionpolicy",
    "statement",
    "target",
    "targets",
    "tool",
    "tools",
    "ttl",
    "uses",
    "verbs",
];

/// Whether a member's name asks for raw permissions.
pub(crate) fn is_raw_permission(member: &str) -> bool {
    let folded: String = member
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    RAW_PERMISSION_MEMBERS.contains(&folded.as_str())
}

/// A request for one intent, in our own words. It is well formed; whether it fits the playbook is [`crate::resolve()`]'s
/// question.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentRequest {
    playbook: PlaybookId,
    version: Option<u64>,
    parameters: Map<String, Value>,
    ticket: Option<TicketRef>,
    justification: Option<Justification>,
    appeal: Option<Appeal>,
    session: Option<Label>,
    task: Option<Label>,
    phase: Option<PhaseName>,
    confidence: Option<Confidence>,
    category: Option<Category>,
    for_agent: Option<ForAgent>,
}

impl IntentRequest {
    /// Reads the body of a request: a JSON object with `playbook` and, where needed, `version`, `parameters`, `ticket`,
    /// `justification`, `session`, `task`, `phase`, `confidence` and `category`.
    ///
    /// # Errors
    /// `raw_permissions_not_requestable`, `unrecognised_field` or `invalid_request`.
    pub fn parse(body: &[u8]) -> Result<Self, Denial> {
        let limits = Limits { max_bytes: MAX_REQUEST_BYTES, max_depth: MAX_REQUEST_DEPTH };
        let members = parse_object(body, &limits).map_err(|error: StrictJsonError| {
            Denial::new(DenialCode::InvalidRequest, error.to_string())
        })?;
        Self::from_object(members)
    }

    /// Reads the members of a request that somebody else has parsed strictly.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn from_object(mut members: Map<String, Value>) -> Result<Self, Denial> {
        const KNOWN: [&str; 13] = [
            "playbook",
            "version",
            "parameters",
            "ticket",
            "justification",
            "session",
            "task",
            "phase",
            "confidence",
            "category",
            "for_agent",
            "parent",
            "narrow",
        ];
        if let Some(raw) = members.keys().find(|name| is_raw_permission(name)) {
            return Err(raw_permissions(raw));
        }
        if let Some(unknown) = members.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            let detail = format!("`{}` is not a member of a request", bounded(unknown, 64));
            return Err(Denial::new(DenialCode::UnrecognisedField, detail));
        }
        Ok(Self {
            playbook: playbook(members.remove("playbook"))?,
            version: version(members.remove("version"))?,
            parameters: parameters(members.remove("parameters"))?,
            ticket: ticket(members.remove("ticket"))?,
            justification: justification(members.remove("justification"))?,
            appeal: None,
            session: label("session", members.remove("session"))?,
            task: label("task", members.remove("task"))?,
            phase: phase(members.remove("phase"))?,
            confidence: confidence(members.remove("confidence"))?,
            category: category(members.remove("category"))?,
            for_agent: for_agent(&mut members)?,
        })
    }

    /// The playbook asked for.
    #[must_use]
    pub const fn playbook(&self) -> &PlaybookId {
        &self.playbook
    }

    /// The version that the agent believes current, if it says so.
    #[must_use]
    pub const fn version(&self) -> Option<u64> {
        self.version
    }

    /// The parameters, not yet checked against the playbook.
    #[must_use]
    pub const fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    /// The change ticket, not yet checked against the playbook.
    #[must_use]
    pub const fn ticket(&self) -> Option<&TicketRef> {
        self.ticket.as_ref()
    }

    /// What the agent says about it; no input to any decision.
    #[must_use]
    pub const fn justification(&self) -> Option<&Justification> {
        self.justification.as_ref()
    }

    /// Says whom the client asks for an approval. No member of a request does: it comes beside one.
    #[must_use]
    pub fn with_appeal(mut self, appeal: Appeal) -> Self {
        self.appeal = Some(appeal);
        self
    }

    /// Whom the client asks for an approval; no input to any decision.
    #[must_use]
    pub const fn appeal(&self) -> Option<&Appeal> {
        self.appeal.as_ref()
    }

    /// How sure the agent says that it is; only ever counts against the request.
    #[must_use]
    pub const fn confidence(&self) -> Option<Confidence> {
        self.confidence
    }

    /// The category of business justification, not yet checked against the playbook.
    #[must_use]
    pub const fn category(&self) -> Option<&Category> {
        self.category.as_ref()
    }

    /// For whom it is asked, if not for the agent itself.
    #[must_use]
    pub const fn for_agent(&self) -> Option<&ForAgent> {
        self.for_agent.as_ref()
    }

    /// What the agent calls its session; shown and logged, and no input to any decision.
    #[must_use]
    pub const fn session(&self) -> Option<&Label> {
        self.session.as_ref()
    }

    /// What the agent calls its task; shown and logged, and no input to any decision.
    #[must_use]
    pub const fn task(&self) -> Option<&Label> {
        self.task.as_ref()
    }

    /// Which phase of a staged playbook it asks for.
    #[must_use]
    pub const fn phase(&self) -> Option<&PhaseName> {
        self.phase.as_ref()
    }
}

/// `for_agent` and `parent` together, and what is wanted of what the playbook gives.
fn for_agent(members: &mut Map<String, Value>) -> Result<Option<ForAgent>, Denial> {
    let narrow = members.remove("narrow");
    match (members.remove("for_agent"), members.remove("parent")) {
        (None, None) if narrow.is_none() => Ok(None),
        (Some(Value::String(agent)), Some(Value::String(parent))) => {
            let agent = agent.parse().map_err(|error| invalid(format!("`for_agent`: {error}")))?;
            let parent = parent.parse().map_err(|error| invalid(format!("`parent`: {error}")))?;
            let narrow = narrow.map(serde_json::from_value).transpose().map_err(|_source| {
                invalid(
                    "`narrow` names what is wanted of what the playbook gives, and nothing else",
                )
            })?;
            Ok(Some(ForAgent { agent, parent, narrow: narrow.unwrap_or_default() }))
        }
        _ => {
            Err(invalid("`for_agent` and `parent` are texts and come together, `narrow` with them"))
        }
    }
}

pub(crate) fn raw_permissions(member: &str) -> Denial {
    let detail = format!(
        "`{}` asks for permissions; name a playbook and its parameters instead",
        bounded(member, 64)
    );
    Denial::new(DenialCode::RawPermissionsNotRequestable, detail)
}

fn invalid(detail: impl AsRef<str>) -> Denial {
    Denial::new(DenialCode::InvalidRequest, detail)
}

fn playbook(member: Option<Value>) -> Result<PlaybookId, Denial> {
    match member {
        Some(Value::String(text)) => {
            text.parse().map_err(|error| invalid(format!("`playbook`: {error}")))
        }
        Some(_) => Err(invalid("`playbook` is a string")),
        None => Err(invalid("`playbook` is missing")),
    }
}

fn version(member: Option<Value>) -> Result<Option<u64>, Denial> {
    let Some(value) = member else { return Ok(None) };
    match value.as_u64() {
        Some(version) if version > 0 => Ok(Some(version)),
        _ => Err(invalid("`version` is a positive integer")),
    }
}

fn parameters(member: Option<Value>) -> Result<Map<String, Value>, Denial> {
    match member {
        None => Ok(Map::new()),
        Some(Value::Object(parameters)) if parameters.len() <= MAX_PARAMETERS => Ok(parameters),
        Some(Value::Object(_)) => {
            Err(invalid(format!("`parameters` has more than {MAX_PARAMETERS} members")))
        }
        Some(_) => Err(invalid("`parameters` is an object")),
    }
}

fn ticket(member: Option<Value>) -> Result<Option<TicketRef>, Denial> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) => {
            let ticket = text.parse().map_err(|error: TicketRefError| {
                Denial::new(DenialCode::TicketFormat, error.to_string())
            })?;
            Ok(Some(ticket))
        }
        Some(_) => Err(invalid("`ticket` is a string")),
    }
}

fn justification(member: Option<Value>) -> Result<Option<Justification>, Denial> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) => Justification::new(&text)
            .map(Some)
            .map_err(|error| invalid(format!("`justification`: {error}"))),
        Some(_) => Err(invalid("`justification` is a string")),
    }
}

fn phase(member: Option<Value>) -> Result<Option<PhaseName>, Denial> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|error| invalid(format!("`phase`: {error}")))
        }
        Some(_) => Err(invalid("`phase` is a string")),
    }
}

fn confidence(member: Option<Value>) -> Result<Option<Confidence>, Denial> {
    let Some(value) = member else { return Ok(None) };
    let number = value.as_u64().ok_or_else(|| invalid("`confidence` is a whole number"))?;
    let stated = Confidence::try_from(number);
    stated.map(Some).map_err(|error| invalid(format!("`confidence`: {error}")))
}

fn category(member: Option<Value>) -> Result<Option<Category>, Denial> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|error| invalid(format!("`category`: {error}")))
        }
        Some(_) => Err(invalid("`category` is a string")),
    }
}

fn label(name: &str, member: Option<Value>) -> Result<Option<Label>, Denial> {
    match member {
        None => Ok(None),
        Some(Value::String(text)) if looks_like_secret(&text) => {
            Err(invalid(format!("`{name}` looks like a secret, and tokens show it")))
        }
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|error| invalid(format!("`{name}`: {error}")))
        }
        Some(_) => Err(invalid(format!("`{name}` is a string"))),
    }
}

/// The name of a change ticket, such as `CHG-1842`: 1 to 64 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicketRef(String);

/// The text does not name a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ticket has 1 to 64 printable ASCII characters without spaces")]
pub struct TicketRefError;

impl TicketRef {
    /// The ticket's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TicketRef {
    type Err = TicketRefError;

    fn from_str(text: &str) -> Result<Self, TicketRefError> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TicketRefError)
        }
    }
}

impl TryFrom<String> for TicketRef {
    type Error = TicketRefError;

    fn try_from(text: String) -> Result<Self, TicketRefError> {
        text.parse()
    }
}

impl From<TicketRef> for String {
    fn from(ticket: TicketRef) -> Self {
        ticket.0
    }
}

impl fmt::Display for TicketRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
