//! What people with a job may do: `roles/*.toml` of a trust domain's folder, to hold playbooks against (M 133).
//!
//! Nothing is granted from a role; it is a yardstick. Absent: roles that no agent may have at all, which
//! `trust-domain.toml` lists (M 11), and where these facts come from, which is whoever runs the
//! directory or the cloud's IAM.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::playbook::{Playbook, PlaybookFinding, PlaybookId};

/// The most roles of one folder.
const MAX_ROLES: usize = 256;
/// The most permissions of one role.
const MAX_PERMISSIONS: usize = 1024;
const MAX_ROLE_BYTES: u64 = 256 * 1024;

/// What a person with one job may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HumanJob {
    name: String,
    permissions: BTreeSet<String>,
    playbooks: Vec<PlaybookId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    permissions: Vec<String>,
    #[serde(default)]
    playbooks: Vec<PlaybookId>,
}

impl HumanJob {
    /// Reads one role: `name`, `permissions` in the form of [`Playbook::permissions`], and the `playbooks` that do
    /// the same job.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Document { name, permissions, playbooks } =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if name.trim().is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err("`name` has 1 to 128 characters on one line".to_owned());
        }
        if permissions.is_empty() || permissions.len() > MAX_PERMISSIONS {
            return Err(format!("`permissions` names 1 to {MAX_PERMISSIONS}"));
        }
        for permission in &permissions {
            let known = ["scope ", "tool ", "audience ", "action "];
            let named = known.iter().find_map(|kind| permission.strip_prefix(kind));
            if named.is_none_or(|name| name.is_empty() || name.contains(char::is_whitespace)) {
                return Err(format!(
                    "`{permission}` is no permission: `scope NAME`, `tool SERVER.NAME`, `audience URL` or `action TYPE:NAME`"
                ));
            }
        }
        Ok(Self { name, permissions: permissions.into_iter().collect(), playbooks })
    }

    /// Reads every role of a folder; one that is not there holds none.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn load(dir: &Path) -> Result<Vec<Self>, Vec<PlaybookFinding>> {
        let mut roles = Vec::new();
        let mut findings = Vec::new();
        for file in crate::playbook::toml_files(dir)? {
            let finding = |message| PlaybookFinding { file: file.clone(), line: None, message };
            let size = std::fs::metadata(&file).map_or(u64::MAX, |metadata| metadata.len());
            if size > MAX_ROLE_BYTES {
                findings.push(finding(format!("has more than {MAX_ROLE_BYTES} bytes")));
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string());
            match text.and_then(|text| Self::parse(&text)) {
                Ok(role) => roles.push(role),
                Err(message) => findings.push(finding(message)),
            }
        }
        if roles.len() > MAX_ROLES {
            let message = format!("the folder has more than {MAX_ROLES} roles");
            findings.push(PlaybookFinding { file: dir.to_owned(), line: None, message });
        }
        if findings.is_empty() { Ok(roles) } else { Err(findings) }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The playbooks that do the same job.
    #[must_use]
    pub fn playbooks(&self) -> &[PlaybookId] {
        &self.playbooks
    }

    /// What the playbook permits and the role does not.
    #[must_use]
    pub fn lacks(&self, playbook: &Playbook) -> Vec<String> {
        playbook.permissions().difference(&self.permissions).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::playbook;

    const SRE: &str = r#"
        name = "site reliability engineer"
        permissions = ["scope secrets.update", "audience https://ingress.prod.example.org", "action k8s_object:get"]
        playbooks = ["ingress-cert-rotation"]
    "#;

    #[test]
    fn a_playbook_is_held_against_a_role() {
        let sre = HumanJob::parse(SRE).unwrap();
        assert_eq!(sre.lacks(&playbook()), ["action k8s_object:patch"]);
    }

    #[test]
    fn a_role_says_what_it_means() {
        for (from, to) in [
            ("scope secrets.update", "secrets.update"),
            ("scope secrets.update", "scope "),
            ("site reliability engineer", " "),
            ("playbooks =", "extra = 1\nplaybooks ="),
        ] {
            assert!(HumanJob::parse(&SRE.replace(from, to)).is_err(), "{to}");
        }
    }
}
