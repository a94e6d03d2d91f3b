//! Reads a policy folder and checks it: ids, annotations, effects, strict validation, and what a part may look at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Authorizer, Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};
use marque_intent::{DenialCode, Digest, files_in};
use serde_json::Value;

use super::listing::{rego_files, strays};
use super::names::Names;
use super::relations;
use super::statements::split;
use super::{CedarDecisionPoint, PolicyInfo, PolicyPart, SCHEMA, Sets, Tier};
use crate::finding::PolicyFinding;
use crate::rego::RegoPolicies;

pub(super) const SCHEMA_FILE: &str = "schema.cedarschema";
pub(super) const HARD: &str = "hard.cedar";
pub(super) const GATE: &str = "gate.cedar";
/// The folder of the parts that single playbooks have.
pub(super) const PLAYBOOKS: &str = "playbooks";
pub(super) const RELATIONS: &str = "relations";
/// The folder of the cases, which decide nothing.
pub(super) const TESTS: &str = "tests";
/// The largest policy file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The most policies in one file: evaluation takes time for each.
const MAX_POLICIES: usize = 500;
/// The longest `@reason`, in characters.
const MAX_REASON: usize = 200;
/// The domain tag of a set's digest.
const SET_TAG: &str = "marque/policy-set/v1";
const MAX_ID_LEN: usize = 64;

pub(super) fn load(dir: &Path) -> Result<CedarDecisionPoint, Vec<PolicyFinding>> {
    let broken = |why: String| vec![PolicyFinding::new(dir, None, why)];
    let names = Names::new().map_err(|error| broken(one_line(&*error)))?;
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|error| broken(one_line(&error)))?;
    let mut reader = Reader {
        schema: &schema,
        names: &names,
        ids: BTreeMap::new(),
        texts: Vec::new(),
        findings: Vec::new(),
    };
    reader.own_schema(dir);
    strays(dir, false, &mut reader.findings);
    let own = reader.part(dir, None);
    let mut parts = BTreeMap::new();
    for (playbook, folder) in playbook_folders(dir, &mut reader.findings) {
        strays(&folder, true, &mut reader.findings);
        let more = reader.part(&folder, Some(&playbook));
        parts.insert(playbook, more);
    }
    let Reader { mut texts, mut findings, .. } = reader;
    let (relations, files) = relations::load(dir, &names, &schema, &mut findings);
    texts.extend(files);
    let rego_files = rego_files(dir, &mut findings);
    texts.extend(rego_files.iter().map(|(file, text)| (name_of(file), text.clone())));
    let rego = RegoPolicies::parse(&rego_files).unwrap_or_else(|found| {
        findings.extend(found);
        None
    });
    let digest = match Digest::of_document(SET_TAG, &texts) {
        Ok(digest) => digest,
        Err(error) => return Err(broken(error.to_string())),
    };
    let mut policies = own.policies.clone();
    let mut sets = BTreeMap::new();
    for (playbook, part) in parts {
        policies.extend(part.policies.iter().cloned());
        match Sets::of(own.policies.iter().chain(&part.policies)) {
            Ok(both) => {
                sets.insert(playbook, both);
            }
            Err(why) => findings.push(PolicyFinding::new(dir, None, why)),
        }
    }
    let own = Sets::of(&own.policies).map_err(broken)?;
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(CedarDecisionPoint {
        schema,
        names,
        own,
        sets,
        policies,
        relations,
        rego: rego.map(Arc::new),
        rego_files,
        digest,
        authorizer: Authorizer::new(),
    })
}

/// The policies of a folder, hard ones first, each part in the order of its file.
struct Part {
    policies: Vec<Arc<PolicyInfo>>,
}

struct Reader<'a> {
    schema: &'a Schema,
    names: &'a Names,
    ids: BTreeMap<String, (PathBuf, usize)>,
    texts: Vec<(String, String)>,
    findings: Vec<PolicyFinding>,
}

impl Reader<'_> {
    /// A folder may hold the schema, for editors and readers; it is this version's.
    fn own_schema(&mut self, dir: &Path) {
        let file = dir.join(SCHEMA_FILE);
        if !file.exists() {
            return;
        }
        match read(&file) {
            Ok(text) if text == SCHEMA => {}
            Ok(_) => {
                let message = "is not the schema of this version; write it with `marque policy schema`, or leave it out";
                self.findings.push(PolicyFinding::new(file, None, message));
            }
            Err(finding) => self.findings.push(finding),
        }
    }

    /// Both files of a folder; a playbook's own folder has one of them at least.
    fn part(&mut self, dir: &Path, playbook: Option<&str>) -> Part {
        let mut policies = Vec::new();
        let mut found = 0;
        for (name, part) in [(HARD, PolicyPart::Hard), (GATE, PolicyPart::Gate)] {
            let path = dir.join(name);
            if playbook.is_some() && !path.exists() {
                continue;
            }
            found += 1;
            match read(&path) {
                Ok(text) => {
                    policies.extend(self.file(&path, &text, part, playbook));
                    let folder =
                        playbook.map_or_else(String::new, |id| format!("{PLAYBOOKS}/{id}/"));
                    self.texts.push((format!("{folder}{name}"), text));
                }
                Err(finding) => self.findings.push(finding),
            }
        }
        if found == 0 {
            let message = format!("holds neither `{HARD}` nor `{GATE}`");
            self.findings.push(PolicyFinding::new(dir, None, message));
        }
        Part { policies }
    }

    fn file(
        &mut self,
        path: &Path,
        text: &str,
        part: PolicyPart,
        playbook: Option<&str>,
    ) -> Vec<Arc<PolicyInfo>> {
        let mut policies = Vec::new();
        let mut set = PolicySet::new();
        for statement in split(text) {
            let refuse = |why: String| PolicyFinding::new(path, Some(statement.line), why);
            let policy = match policy(statement.text, part) {
                Ok(policy) => policy,
                Err(why) => {
                    self.findings.push(refuse(why));
                    continue;
                }
            };
            let id = policy.id().to_string();
            if let Some((other, line)) = self.ids.get(&id) {
                let why = format!("the id `{id}` is taken by {}:{line}", other.display());
                self.findings.push(refuse(why));
                continue;
            }
            self.ids.insert(id.clone(), (path.to_owned(), statement.line));
            if let Err(error) = set.add(policy.clone()) {
                self.findings.push(refuse(one_line(&error)));
            }
            match info(policy, part, self.names) {
                Ok(info) => policies.push(Arc::new(PolicyInfo {
                    file: path.to_owned(),
                    line: statement.line,
                    playbook: playbook.map(str::to_owned),
                    text: statement.text.trim().to_owned(),
                    ..info
                })),
                Err(why) => self.findings.push(refuse(why)),
            }
        }
        if self.ids.values().filter(|(file, _)| file == path).count() > MAX_POLICIES {
            let message = format!("has more than {MAX_POLICIES} policies");
            self.findings.push(PolicyFinding::new(path, None, message));
        }
        self.validate(path, &set);
        policies
    }

    /// Strict validation; what Cedar only warns of is an error here.
    fn validate(&mut self, path: &Path, set: &PolicySet) {
        let result = Validator::new(self.schema.clone()).validate(set, ValidationMode::Strict);
        let line_of = |id: &PolicyId| self.ids.get(&id.to_string()).map(|(_, line)| *line);
        let errors =
            result.validation_errors().map(|error| (line_of(error.policy_id()), one_line(error)));
        let warnings = result
            .validation_warnings()
            .map(|warning| (line_of(warning.policy_id()), one_line(warning)));
        let found: Vec<PolicyFinding> = errors
            .chain(warnings)
            .map(|(line, message)| PolicyFinding::new(path, line, message))
            .collect();
        self.findings.extend(found);
    }
}

/// One policy under the id that its annotation gives it.
fn policy(text: &str, part: PolicyPart) -> Result<Policy, String> {
    let policy = Policy::parse(None, text).map_err(|error| one_line(&error))?;
    let id = policy.annotation("id").ok_or("the policy has no `@id(\"…\")`")?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_ID_LEN).contains(&id.len()) || !id.bytes().all(fits) {
        return Err(format!("an id has 1 to {MAX_ID_LEN} of the characters `a-z`, `0-9` and `-`"));
    }
    match (part, policy.effect()) {
        (PolicyPart::Hard, Effect::Permit) => {
            Err(format!("`{id}` permits; this file only forbids"))
        }
        (PolicyPart::Gate, Effect::Forbid) => {
            Err(format!("`{id}` forbids; this file only permits"))
        }
        (PolicyPart::Hard, Effect::Forbid) | (PolicyPart::Gate, Effect::Permit) => {
            Ok(policy.new_id(PolicyId::new(id)))
        }
    }
}

/// What the annotations say, and whether the policy looks at what its part may.
fn info(policy: Policy, part: PolicyPart, names: &Names) -> Result<PolicyInfo, String> {
    let id = policy.id().to_string();
    let actions = actions(&policy, names);
    let asks = actions.contains("request");
    let (mut code, mut tier) = (None, None);
    match part {
        PolicyPart::Hard => {
            let text =
                policy.annotation("code").ok_or_else(|| format!("`{id}` has no `@code(\"…\")`"))?;
            let known = text.parse::<DenialCode>();
            code = Some(known.map_err(|_unknown| format!("`{text}` is no denial code"))?);
        }
        PolicyPart::Gate => {
            tier = match policy.annotation("tier") {
                Some("auto") => Some(Tier::Auto),
                Some("ask") => Some(Tier::Ask),
                Some(other) => {
                    return Err(format!("`{other}` is no tier; there are `auto` and `ask`"));
                }
                None if asks => return Err(format!("`{id}` has no `@tier(\"…\")`")),
                None => None,
            };
            let whole = policy.to_json().map_err(|error| one_line(&error))?;
            if names_attribute(&whole, "confidence") {
                let why = "looks at `confidence`, which is the agent's own word and only counts against it";
                return Err(format!("`{id}` {why}"));
            }
        }
    }
    let reason = policy.annotation("reason").map(str::to_owned);
    let fits = |reason: &String| {
        let length = reason.chars().count();
        (1..=MAX_REASON).contains(&length) && !reason.chars().any(char::is_control)
    };
    if !reason.as_ref().is_none_or(fits) {
        return Err(format!("`{id}`: a reason has 1 to {MAX_REASON} characters on one line"));
    }
    let (file, line, playbook, text) = (PathBuf::new(), 0, None, String::new());
    Ok(PolicyInfo { id, file, line, playbook, text, part, code, tier, reason, actions, policy })
}

/// The actions that a policy may be about.
fn actions(policy: &Policy, names: &Names) -> BTreeSet<&'static str> {
    let all = ["approve", "request", "use"];
    let named = match policy.action_constraint() {
        ActionConstraint::Any => return all.into(),
        ActionConstraint::Eq(one) => vec![one],
        ActionConstraint::In(some) => some,
    };
    all.into_iter().filter(|name| named.contains(&names.action(name))).collect()
}

fn names_attribute(policy: &Value, name: &str) -> bool {
    match policy {
        Value::Object(members) => {
            members.get("attr").is_some_and(|attribute| attribute == name)
                || members.values().any(|member| names_attribute(member, name))
        }
        Value::Array(items) => items.iter().any(|item| names_attribute(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The folders of single playbooks, by playbook.
fn playbook_folders(dir: &Path, findings: &mut Vec<PolicyFinding>) -> BTreeMap<String, PathBuf> {
    let dir = dir.join(PLAYBOOKS);
    let mut folders = BTreeMap::new();
    for path in entries(&dir, findings) {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        match name {
            Some(name) if path.is_dir() => {
                folders.insert(name, path);
            }
            _ => {
                let message = "is no folder; a playbook's policies are in a folder of its id";
                findings.push(PolicyFinding::new(path, None, message));
            }
        }
    }
    folders
}

/// The files of a folder that end in `.toml`, by name.
pub(super) fn toml_files(dir: &Path, findings: &mut Vec<PolicyFinding>) -> Vec<PathBuf> {
    files_in(dir, "toml").unwrap_or_else(|error| {
        findings.push(PolicyFinding::new(dir, None, format!("cannot be read: {error}")));
        Vec::new()
    })
}

/// The name of a file in its folder.
pub(super) fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a folder, by name; nothing if it is not there.
pub(super) fn entries(dir: &Path, findings: &mut Vec<PolicyFinding>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut failed = |error: std::io::Error| {
        findings.push(PolicyFinding::new(dir, None, format!("cannot be read: {error}")));
    };
    match std::fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => found.push(entry.path()),
                    Err(error) => failed(error),
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => failed(error),
    }
    found.sort();
    found
}

pub(super) fn read(file: &Path) -> Result<String, PolicyFinding> {
    let failed =
        |error: std::io::Error| PolicyFinding::new(file, None, format!("cannot be read: {error}"));
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(PolicyFinding::new(
            file,
            None,
            format!("has more than {MAX_FILE_BYTES} bytes"),
        ));
    }
    std::fs::read_to_string(file).map_err(failed)
}

/// An error and its causes on one line.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
