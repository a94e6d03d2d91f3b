//! Whom or what a kill stops (specs/intents.md 8).

use std::fmt;
use std::str::FromStr;

use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};

use super::KillMode;
use crate::denial::DenialCode;
use crate::digest::Digest;
use crate::id::IntentId;
use crate::playbook::PlaybookId;
use crate::rights::{Label, ToolId};

/// The longest name of a person or tenant, in bytes.
pub const MAX_KILL_NAME: usize = 512;

/// Whom or what a kill stops, within one trust domain. The order is from the narrowest to the widest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", content = "selector", rename_all = "snake_case", deny_unknown_fields)]
pub enum KillScope {
    /// One token by its `jti`, and every token that derives from it.
    Credential(Label),
    /// Every token that is bound to a key, by the key's thumbprint: `cnf.jkt` or `cnf.x5t#S256` of the token.
    Key(Label),
    /// One grant, by the id of its intent, and everything that was asked for under it.
    Grant(IntentId),
    /// Every grant of a task, by the label that the agent gave it.
    Task(Label),
    /// Every grant of a session, by the label that the agent gave it.
    Session(Label),
    /// One agent.
    Agent(SpiffeId),
    /// Every agent of a build: of an executable or an image with this digest.
    Build(Digest),
    /// Every grant of one version of a playbook.
    PlaybookVersion(PlaybookVersion),
    /// Every grant of one playbook, in any version.
    Playbook(PlaybookId),
    /// Every grant that permits a tool, or any tool of a server.
    Tool(ToolScope),
    /// Everything that is done on behalf of a person: `<issuer>:<subject>`.
    Delegator(KillName),
    /// Every agent that somebody answers for: the owner of its entry.
    Sponsor(KillName),
    /// Every grant of a tenant.
    Tenant(KillName),
    /// The whole trust domain.
    TrustDomain,
    /// Everything that this installation issues.
    All,
}

impl KillScope {
    /// The code that a stopped caller is told.
    #[must_use]
    pub const fn code(&self) -> DenialCode {
        match self {
            Self::Credential(_) => DenialCode::KillSwitchCredential,
            Self::Key(_) => DenialCode::KillSwitchKey,
            Self::Grant(_) => DenialCode::KillSwitchGrant,
            Self::Task(_) => DenialCode::KillSwitchTask,
            Self::Session(_) => DenialCode::KillSwitchSession,
            Self::Agent(_) => DenialCode::KillSwitchAgent,
            Self::Build(_) => DenialCode::KillSwitchBuild,
            Self::PlaybookVersion(_) | Self::Playbook(_) => DenialCode::KillSwitchPlaybook,
            Self::Tool(_) => DenialCode::KillSwitchTool,
            Self::Delegator(_) => DenialCode::KillSwitchDelegator,
            Self::Sponsor(_) => DenialCode::KillSwitchSponsor,
            Self::Tenant(_) => DenialCode::KillSwitchTenant,
            Self::TrustDomain => DenialCode::KillSwitchTrustDomain,
            Self::All => DenialCode::KillSwitchGlobal,
        }
    }

    /// The name of the kind of scope, as documents have it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Credential(_) => "credential",
            Self::Key(_) => "key",
            Self::Grant(_) => "grant",
            Self::Task(_) => "task",
            Self::Session(_) => "session",
            Self::Agent(_) => "agent",
            Self::Build(_) => "build",
            Self::PlaybookVersion(_) => "playbook_version",
            Self::Playbook(_) => "playbook",
            Self::Tool(_) => "tool",
            Self::Delegator(_) => "delegator",
            Self::Sponsor(_) => "sponsor",
            Self::Tenant(_) => "tenant",
            Self::TrustDomain => "trust_domain",
            Self::All => "all",
        }
    }

    /// Whether a kill of this scope stops anything in this mode. Tokens, keys and people are known when a token is issued, not
    /// when an intent is asked for or approved.
    #[must_use]
    pub const fn can_be(&self, mode: KillMode) -> bool {
        let of_tokens = matches!(self, Self::Credential(_) | Self::Key(_) | Self::Delegator(_));
        !(of_tokens && matches!(mode, KillMode::Drain))
    }

    /// What it selects within its kind; `None` for the two that take everything.
    #[must_use]
    pub fn selector(&self) -> Option<String> {
        Some(match self {
            Self::Credential(label)
            | Self::Key(label)
            | Self::Task(label)
            | Self::Session(label) => label.to_string(),
            Self::Grant(id) => id.to_string(),
            Self::Agent(agent) => agent.to_string(),
            Self::Build(digest) => digest.to_string(),
            Self::PlaybookVersion(version) => version.to_string(),
            Self::Playbook(playbook) => playbook.to_string(),
            Self::Tool(tool) => tool.to_string(),
            Self::Delegator(name) | Self::Sponsor(name) | Self::Tenant(name) => name.to_string(),
            Self::TrustDomain | Self::All => return None,
        })
    }

    /// Reads a kind and its selector.
    ///
    /// # Errors
    /// There is no such kind, or the selector is none of its.
    pub fn parse(kind: &str, selector: Option<&str>) -> Result<Self, KillScopeError> {
        let bad = |source: Box<dyn std::error::Error + Send + Sync>| KillScopeError::Selector {
            kind: kind.to_owned(),
            source,
        };
        fn read<T: FromStr>(text: &str) -> Result<T, Box<dyn std::error::Error + Send + Sync>>
        where
            T::Err: std::error::Error + Send + Sync + 'static,
        {
            text.parse().map_err(|error: T::Err| error.into())
        }
        let named = || selector.ok_or_else(|| KillScopeError::Missing(kind.to_owned()));
        match (kind, selector) {
            ("trust_domain", None) => return Ok(Self::TrustDomain),
            ("all", None) => return Ok(Self::All),
            ("trust_domain" | "all", Some(_)) => {
                return Err(KillScopeError::Needless(kind.to_owned()));
            }
            _ => {}
        }
        let scope = match kind {
            "credential" => read(named()?).map(Self::Credential),
            "key" => read(named()?).map(Self::Key),
            "grant" => read(named()?).map(Self::Grant),
            "task" => read(named()?).map(Self::Task),
            "session" => read(named()?).map(Self::Session),
            "agent" => read(named()?).map(Self::Agent),
            "build" => read(named()?).map(Self::Build),
            "playbook_version" => read(named()?).map(Self::PlaybookVersion),
            "playbook" => read(named()?).map(Self::Playbook),
            "tool" => read(named()?).map(Self::Tool),
            "delegator" => read(named()?).map(Self::Delegator),
            "sponsor" => read(named()?).map(Self::Sponsor),
            "tenant" => read(named()?).map(Self::Tenant),
            _ => return Err(KillScopeError::Kind(kind.to_owned())),
        };
        scope.map_err(bad)
    }
}

/// The texts name no scope.
#[derive(Debug, thiserror::Error)]
pub enum KillScopeError {
    /// There is no such kind.
    #[error("there is no kill scope `{0}`")]
    Kind(String),
    /// It needs a selector.
    #[error("the kill scope `{0}` needs a selector")]
    Missing(String),
    /// It takes none.
    #[error("the kill scope `{0}` takes no selector")]
    Needless(String),
    /// The selector is none of this kind.
    #[error("the selector of the kill scope `{kind}` cannot be read")]
    Selector {
        /// The kind.
        kind: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Display for KillScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        self.selector().map_or(Ok(()), |selector| write!(f, " {selector}"))
    }
}

/// One version of a playbook, `<id>@<version>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlaybookVersion {
    /// The playbook.
    pub id: PlaybookId,
    /// Its version.
    pub version: u64,
}

/// A tool, `<server>.<name>`, or every tool of a server, `<server>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ToolScope {
    /// One tool.
    Tool(ToolId),
    /// All of a server's.
    Server(String),
}

/// The name of a person or a tenant: 1 to [`MAX_KILL_NAME`] bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KillName(String);

/// Why a selector was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorSyntaxError {
    /// It is no version of a playbook.
    #[error("a version of a playbook is written `<id>@<version>`, such as `cert-rotation@3`")]
    PlaybookVersion,
    /// It is neither a tool nor a server.
    #[error("a tool is written `<server>.<name>`, a server `<server>`")]
    Tool,
    /// It is no name.
    #[error("a name has 1 to {MAX_KILL_NAME} bytes and no control characters")]
    Name,
}

impl ToolScope {
    /// Whether it has this tool.
    #[must_use]
    pub fn has(&self, tool: &ToolId) -> bool {
        match self {
            Self::Tool(one) => one == tool,
            Self::Server(server) => server == tool.server(),
        }
    }
}

impl KillName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlaybookVersion {
    type Err = SelectorSyntaxError;

    fn from_str(text: &str) -> Result<Self, SelectorSyntaxError> {
        let (id, version) = text.rsplit_once('@').ok_or(SelectorSyntaxError::PlaybookVersion)?;
        match (id.parse(), version.parse()) {
            (Ok(id), Ok(version)) => Ok(Self { id, version }),
            _ => Err(SelectorSyntaxError::PlaybookVersion),
        }
    }
}

impl FromStr for ToolScope {
    type Err = SelectorSyntaxError;

    fn from_str(text: &str) -> Result<Self, SelectorSyntaxError> {
        if text.contains('.') {
            return text.parse().map(Self::Tool).or(Err(SelectorSyntaxError::Tool));
        }
        // A server's name is what may stand before a tool's.
        match ToolId::new(text, "any") {
            Ok(tool) => Ok(Self::Server(tool.server().to_owned())),
            Err(_no_server) => Err(SelectorSyntaxError::Tool),
        }
    }
}

impl FromStr for KillName {
    type Err = SelectorSyntaxError;

    fn from_str(text: &str) -> Result<Self, SelectorSyntaxError> {
        let fits = (1..=MAX_KILL_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.to_owned())) } else { Err(SelectorSyntaxError::Name) }
    }
}

impl fmt::Display for PlaybookVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

impl fmt::Display for ToolScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(tool) => tool.fmt(f),
            Self::Server(server) => f.write_str(server),
        }
    }
}

impl fmt::Display for KillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = SelectorSyntaxError;

            fn try_from(text: String) -> Result<Self, SelectorSyntaxError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(one: $name) -> Self {
                one.to_string()
            }
        }
    )*};
}

as_text!(PlaybookVersion ToolScope KillName);
