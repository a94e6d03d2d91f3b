//! What a request asks of a grant: the part of it that can be kept while an approver thinks.
//!
//! Deliberately absent: tokens. Whoever asks again proves again who it is.

use std::collections::BTreeSet;

use marque_intent::Scope;
use serde::{Deserialize, Serialize};

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
}
