//! What a request asks of a grant: the part of it that can be kept while an approver thinks.
//!
//! Deliberately absent: tokens. Whoever asks again proves again who it is.

use std::collections::{BTreeMap, BTreeSet};

use marque_intent::{
    AuthorizationDetail, Constraints, Limits, Scope, ToolId, Wanted as WantedRights, WantedTool,
};
use serde::{Deserialize, Serialize};

use crate::{OAuthError, OAuthErrorCode};

/// What is asked for. Everything may be absent, which asks for all that was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `audience`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub audiences: BTreeSet<String>,
    /// `resource` (RFC 8707).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
    /// `scope`; `None` when the parameter was absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Scope>>,
    /// Details of granted types (RFC 9396 §6.1); `None` when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<Vec<AuthorizationDetail>>,
    /// The detail of type `marque_rights`, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<AskedRights>,
}

/// Less of what no other parameter of a request speaks of: the members of a detail of type `marque_rights`. What is absent
/// asks for what the parent has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedRights {
    /// These tools and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeMap<ToolId, WantedTool>>,
    /// These classes of data and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_classes: Option<BTreeSet<String>>,
    /// These constraints in place of the ones of the same names.
    #[serde(default, skip_serializing_if = "Constraints::is_empty")]
    pub constraints: Constraints,
    /// These numbers in place of the ones of the same names.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// A purpose below the parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// To be handed on so many more times at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u8>,
}

impl Asked {
    /// Whether details ask for less than was granted.
    pub(crate) const fn has_details(&self) -> bool {
        self.authorization_details.is_some() || self.rights.is_some()
    }

    /// The refusal of a request that says nothing of an intent: details of other types alone are unknown ones.
    pub(crate) const fn names_no_intent(&self) -> OAuthError {
        let code = if self.has_details() {
            OAuthErrorCode::InvalidAuthorizationDetails
        } else {
            OAuthErrorCode::InvalidRequest
        };
        OAuthError::new(code, "authorization_details must name an intent or ask for a playbook")
    }

    /// What the details want of a parent's rights.
    pub(crate) fn wanted(&self) -> WantedRights {
        let AskedRights { tools, data_classes, constraints, limits, purpose, depth } =
            self.rights.clone().unwrap_or_default();
        WantedRights {
            authorization_details: self.authorization_details.clone(),
            tools,
            data_classes,
            constraints,
            limits,
            purpose,
            depth,
            ..WantedRights::default()
        }
    }
}

impl AskedRights {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
