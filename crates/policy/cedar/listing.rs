//! What lies in a policy folder beside the parts that are known by name: policies in Rego, and what nobody would read.
//!
//! A policy that is not read refuses nothing, so a file that looks like one and is none of ours is a finding.

use std::path::{Path, PathBuf};

use marque_intent::files_in;

use super::load::{GATE, HARD, PLAYBOOKS, RELATIONS, SCHEMA_FILE, TESTS, entries, read};
use crate::finding::PolicyFinding;

/// Endings of files that somebody wrote for a decision point to read.
const ENDINGS: [&str; 3] = ["cedar", "cedarschema", "rego"];

/// The texts of `*.rego`, by name.
pub(super) fn rego_files(dir: &Path, findings: &mut Vec<PolicyFinding>) -> Vec<(PathBuf, String)> {
    let files = files_in(dir, "rego").unwrap_or_else(|error| {
        findings.push(PolicyFinding::new(dir, None, format!("cannot be read: {error}")));
        Vec::new()
    });
    let mut texts = Vec::new();
    for file in files {
        match read(&file) {
            Ok(text) => texts.push((file, text)),
            Err(finding) => findings.push(finding),
        }
    }
    texts
}

/// Policies that are not read: of the folder itself, or of a single playbook.
pub(super) fn strays(dir: &Path, of_playbook: bool, findings: &mut Vec<PolicyFinding>) {
    for path in entries(dir, findings) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            findings.push(PolicyFinding::new(&path, None, "has a name that is no text"));
            continue;
        };
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let is_policy = ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()));
        let stray = if path.is_dir() {
            let known = !of_playbook && [PLAYBOOKS, RELATIONS, TESTS].contains(&name);
            !known && !name.starts_with('.')
        } else {
            let read = [HARD, GATE].contains(&name)
                || (!of_playbook && (name == SCHEMA_FILE || name.ends_with(".rego")));
            is_policy && !read
        };
        if stray {
            let message = match of_playbook {
                true => format!("is not read: a playbook's policies are in `{HARD}` and `{GATE}`"),
                false => format!("is not read: policies are in `{HARD}`, `{GATE}` and `*.rego`"),
            };
            findings.push(PolicyFinding::new(&path, None, message));
        }
    }
}
