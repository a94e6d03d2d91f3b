//! Tools: which of which server, and with which arguments (specs/intents.md 1, 9; M 93–96).
//!
//! Absent: what a tool is. A server defines its tools; here they have names, and schemas that their arguments fit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Dimension, Widening};

/// The most tools that a grant or a token may name.
pub const MAX_TOOLS: usize = 64;
/// The most schemas that the arguments of one tool may have to fit: one of the playbook and one for each hop.
pub const MAX_ARGUMENT_SCHEMAS: usize = 9;
const MAX_SERVER_LEN: usize = 63;
const MAX_NAME_LEN: usize = 128;

/// One tool of one server, written `server.name`: `k8s-prod.secrets.patch` is the tool `secrets.patch` of `k8s-prod`. A
/// server has no dot in its name, so there is one reading only, and tools of one name on two servers are two tools (M 96).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolId {
    server: String,
    name: String,
}

/// The text names no tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ToolIdError {
    /// The server's name.
    #[error("a tool's server has 1 to {MAX_SERVER_LEN} of the characters `a-z`, `0-9` and `-`")]
    Server,
    /// The tool's name.
    #[error("a tool's name has 1 to {MAX_NAME_LEN} of `A-Z a-z 0-9 . _ - /`, and no wildcard")]
    Name,
}

impl ToolId {
    /// A tool by its server and its name there.
    ///
    /// # Errors
    /// One of them is no such name.
    pub fn new(server: &str, name: &str) -> Result<Self, ToolIdError> {
        let of_server = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=MAX_SERVER_LEN).contains(&server.len()) || !server.bytes().all(of_server) {
            return Err(ToolIdError::Server);
        }
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if !(1..=MAX_NAME_LEN).contains(&name.len()) || !name.bytes().all(of_name) {
            return Err(ToolIdError::Name);
        }
        Ok(Self { server: server.to_owned(), name: name.to_owned() })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The tool's name at its server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ToolId {
    type Err = ToolIdError;

    fn from_str(text: &str) -> Result<Self, ToolIdError> {
        let (server, name) = text.split_once('.').ok_or(ToolIdError::Name)?;
        Self::new(server, name)
    }
}

impl TryFrom<String> for ToolId {
    type Error = ToolIdError;

    fn try_from(text: String) -> Result<Self, ToolIdError> {
        text.parse()
    }
}

impl From<ToolId> for String {
    fn from(tool: ToolId) -> Self {
        tool.to_string()
    }
}

impl fmt::Display for ToolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.server, self.name)
    }
}

/// How a tool may be called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolBounds {
    /// Whether each call is decided anew, with a fresh look at revocations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
    /// Whether a call counts against `max_destructive`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
    /// How often it may be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// JSON Schemas, each of which the arguments fit. Narrowing adds one; none is ever taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Value>,
}

impl ToolBounds {
    /// Whether `child` calls the tool in no way that `self` may not.
    pub(super) fn covers(&self, child: &Self) -> Result<(), Widening> {
        let loosened =
            (self.sensitive && !child.sensitive) || (self.destructive && !child.destructive);
        let more = match (self.max_calls, child.max_calls) {
            (Some(most), Some(calls)) => calls > most,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if loosened || more {
            return Err(Widening::exceeds(Dimension::Tools));
        }
        // Schemas are not compared with one another: a subset of schemas would have to be proven. They are conjoined.
        if !self.arguments.iter().all(|schema| child.arguments.contains(schema)) {
            return Err(Widening::exceeds(Dimension::ToolArguments));
        }
        if child.arguments.len() > MAX_ARGUMENT_SCHEMAS {
            return Err(Widening::incomparable(Dimension::ToolArguments));
        }
        Ok(())
    }
}
