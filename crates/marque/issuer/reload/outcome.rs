//! What came of reading a folder anew, as operators, the log and the metrics are told.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use marque_registry::Finding;
use serde::{Deserialize, Serialize};

use crate::plan::TrustDomainPlan;

/// How many names of what changed the log is told; of more it is told how many there are.
const MAX_RECORDED: usize = 50;

/// What came of a reload, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// What was done.
    pub result: ReloadResult,
    /// Why not, where it was refused; stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ReloadCode>,
    /// Everything that stands in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FoundView>,
    /// The digest of the folder that was in force.
    pub digest_before: String,
    /// The digest of the folder as it is now.
    pub digest: String,
    /// Files of the folder.
    pub files: Changes,
    /// Registration entries of the folder, by id.
    pub entries: Changes,
    /// Templates of entries, by id.
    #[serde(default)]
    pub templates: Changes,
    /// Playbooks, by id.
    pub playbooks: Changes,
    /// Whether the policy set is another one.
    pub policy_changed: bool,
    /// Grants that ended because the new rules would not give them; `None` where nobody looked, or could look yet.
    pub grants_ended: Option<usize>,
    /// Requests that went back to their first approver; as above.
    pub begun_anew: Option<usize>,
    /// What would change, in sentences; of a dry run of a folder that could be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<TrustDomainPlan>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The folder is in force as it was read.
    Reloaded,
    /// It would be, if that were wanted.
    WouldReload,
    /// Everything is as it was.
    Refused,
}

/// Why a folder was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadCode {
    /// A file breaks a rule, or cannot be read.
    FolderInvalid,
    /// Something changed that is the same as long as the process runs.
    RestartRequired,
    /// A file changed while the folder was read.
    FolderChanging,
    /// An entry that was added by command does not fit the folder.
    StoredEntryConflict,
}

/// A finding as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundView {
    /// The file.
    pub file: String,
    /// The line, counted from 1, where the finding is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

/// What differs, by name and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// There now.
    pub added: Vec<String>,
    /// Not there any more.
    pub removed: Vec<String>,
    /// There, and different.
    pub changed: Vec<String>,
}

/// A reload that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedReload {
    /// When.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub code: ReloadCode,
    /// The first of what stands in the way.
    pub first: String,
}

/// How the folder in force stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderStanding {
    /// The digest of what was read.
    pub digest: String,
    /// When.
    pub loaded_at: Timestamp,
    /// Whether the files are others by now.
    pub differs: bool,
    /// The last reload, where it was refused.
    pub refused: Option<RefusedReload>,
}

impl ReloadCode {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FolderInvalid => "folder_invalid",
            Self::RestartRequired => "restart_required",
            Self::FolderChanging => "folder_changing",
            Self::StoredEntryConflict => "stored_entry_conflict",
        }
    }
}

impl fmt::Display for ReloadCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&Finding> for FoundView {
    fn from(found: &Finding) -> Self {
        let (file, message) = (found.file.display().to_string(), found.message.clone());
        Self { file, line: found.line, message }
    }
}

impl fmt::Display for FoundView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message } = self;
        match line {
            Some(line) => write!(f, "{file}:{line}: {message}"),
            None => write!(f, "{file}: {message}"),
        }
    }
}

impl Changes {
    /// What differs between two sets of things by name.
    pub(in crate::issuer) fn between<T: PartialEq>(
        before: &BTreeMap<String, T>,
        after: &BTreeMap<String, T>,
    ) -> Self {
        let mut changes = Self::default();
        for (name, now) in after {
            match before.get(name) {
                None => changes.added.push(name.clone()),
                Some(was) if was != now => changes.changed.push(name.clone()),
                Some(_same) => {}
            }
        }
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        changes.removed.extend(gone.cloned());
        changes
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// How many there are, in words; `None` where nothing differs.
    #[must_use]
    pub fn counted(&self) -> Option<String> {
        let Self { added, removed, changed } = self;
        let (added, changed, removed) = (added.len(), changed.len(), removed.len());
        (!self.is_empty()).then(|| format!("{added} new, {changed} changed, {removed} gone"))
    }

    /// For the log: how many, and which as far as there is room.
    pub(super) fn recorded(&self) -> serde_json::Value {
        let told = |names: &[String]| match names.len() {
            0..=MAX_RECORDED => serde_json::json!(names),
            many => serde_json::json!(many),
        };
        let Self { added, removed, changed } = self;
        serde_json::json!({
            "added": told(added),
            "removed": told(removed),
            "changed": told(changed),
            "count": { "added": added.len(), "removed": removed.len(), "changed": changed.len() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_as_they_are_written() {
        for code in [
            ReloadCode::FolderInvalid,
            ReloadCode::RestartRequired,
            ReloadCode::FolderChanging,
            ReloadCode::StoredEntryConflict,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn the_log_is_told_so_many_names_and_of_more_how_many_there_are() {
        let names = |count: usize| (0..count).map(|at| format!("{at:03}")).collect::<Vec<_>>();
        let told = |count| {
            let changes = Changes { added: names(count), ..Changes::default() };
            changes.recorded()["added"].clone()
        };
        assert_eq!(told(MAX_RECORDED).as_array().unwrap().len(), MAX_RECORDED);
        assert_eq!(told(MAX_RECORDED + 1), MAX_RECORDED + 1);
        let changes = Changes { removed: names(2), ..Changes::default() };
        let count = serde_json::json!({ "added": 0, "removed": 2, "changed": 0 });
        assert_eq!(changes.recorded()["count"], count);
        assert_eq!(changes.counted().as_deref(), Some("0 new, 0 changed, 2 gone"));
        assert_eq!(Changes::default().counted(), None);
    }
}
