//! The kill switch as it is shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::super::client::CallError;
use super::super::super::proto::admin as proto;
use super::super::super::time::from_timestamp;

/// Every kill that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStateView {
    /// Rises with every kill.
    pub epoch: u64,
    /// Oldest first.
    pub kills: Vec<KillView>,
    /// Wishes to lift a kill that another person may confirm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<LiftAskView>,
    /// Why those are not known, where they are not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asks_unknown: String,
    /// Something is in force at this replica of which no other can hear yet: it is ordered at each of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_here_only: bool,
}

/// The kill switch after a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KilledView {
    /// How it stands.
    #[serde(flatten)]
    pub state: KillStateView,
    /// Where what is stopped stays good until it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irrevocable: Option<IrrevocableView>,
}

/// Resource servers that hear of no token's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrrevocableView {
    /// Their audiences.
    pub audiences: Vec<String>,
    /// When the last token expires that is good there; absent while none is out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Somebody's wish to lift a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftAskView {
    /// Names exactly this wish.
    pub id: String,
    /// The id of the kill.
    pub kill: String,
    /// What it is relaxed to; it ends where it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub actor: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Until when it may be confirmed.
    pub until: Option<Timestamp>,
}

/// One kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillView {
    /// What it stops.
    #[serde(flatten)]
    pub scope: KillScopeView,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub actor: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The epoch that it began.
    pub epoch: u64,
    /// Its id.
    pub id: String,
    /// How far it goes now.
    pub mode: String,
    /// When it ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What a kill stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillScopeView {
    /// The kind of its scope.
    pub scope: String,
    /// What it selects within it; nothing where it takes everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

impl TryFrom<proto::KillState> for KillStateView {
    type Error = CallError;

    fn try_from(message: proto::KillState) -> Result<Self, CallError> {
        let proto::KillState { epoch, kills, kept_here_only } = message;
        Ok(Self {
            epoch,
            kills: kills.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            asks: Vec::new(),
            asks_unknown: String::new(),
            kept_here_only,
        })
    }
}

impl From<proto::Irrevocable> for IrrevocableView {
    fn from(message: proto::Irrevocable) -> Self {
        let proto::Irrevocable { audiences, until } = message;
        Self { audiences, until: until.and_then(from_timestamp) }
    }
}

impl From<proto::LiftAsk> for LiftAskView {
    fn from(message: proto::LiftAsk) -> Self {
        let proto::LiftAsk { id, kill, mode, reason, actor, at, until } = message;
        let (at, until) = (at.and_then(from_timestamp), until.and_then(from_timestamp));
        Self { id, kill, mode, reason, actor, at, until }
    }
}

impl TryFrom<proto::KillRecord> for KillView {
    type Error = CallError;

    fn try_from(message: proto::KillRecord) -> Result<Self, CallError> {
        use proto::kill_scope::Scope;
        let proto::KillRecord { scope, reason, actor, at, epoch, id, mode, expires_at } = message;
        let proto::KillScope { scope } = scope.ok_or(CallError::Malformed("scope"))?;
        let (kind, selector) = match scope.ok_or(CallError::Malformed("scope"))? {
            Scope::Agent(agent) => ("agent".to_owned(), Some(agent)),
            Scope::Playbook(playbook) => ("playbook".to_owned(), Some(playbook)),
            Scope::TrustDomain(proto::TrustDomainScope {}) => ("trust_domain".to_owned(), None),
            Scope::All(proto::AllScope {}) => ("all".to_owned(), None),
            Scope::Selected(proto::SelectedScope { kind, selector }) => (kind, Some(selector)),
        };
        let scope = KillScopeView { scope: kind, selector };
        let (at, expires_at) = (at.and_then(from_timestamp), expires_at.and_then(from_timestamp));
        Ok(Self { scope, reason, actor, at, epoch, id, mode, expires_at })
    }
}
