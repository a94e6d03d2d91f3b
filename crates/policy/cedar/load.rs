//! Reads a policy folder and checks it: ids, annotations, effects, strict validation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cedar_policy::{
    Authorizer, Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use marque_intent::{DenialCode, Digest};

use super::statements::split;
use super::{CedarDecisionPoint, GateSet, HardSet, Tier};
use crate::finding::PolicyFinding;

const SCHEMA: &str = "schema.cedarschema";
const HARD: &str = "hard.cedar";
const GATE: &str = "gate.cedar";
/// The largest policy file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The most policies in one file: evaluation takes time for each.
const MAX_POLICIES: usize = 500;
/// The domain tag of a set's digest.
const SET_TAG: &str = "marque/policy-set/v1";
const MAX_ID_LEN: usize = 64;

pub(super) fn load(dir: &Path) -> Result<CedarDecisionPoint, Vec<PolicyFinding>> {
    let mut findings = Vec::new();
    let mut read =
        |name: &str| read(&dir.join(name)).map_err(|finding| findings.push(finding)).ok();
    let (schema_text, hard_text, gate_text) = (read(SCHEMA), read(HARD), read(GATE));
    let (Some(schema_text), Some(hard_text), Some(gate_text)) = (schema_text, hard_text, gate_text)
    else {
        return Err(findings);
    };
    let schema = schema(&dir.join(SCHEMA), &schema_text)?;
    let mut ids = BTreeMap::new();
    let hard =
        policies(dir.join(HARD), &hard_text, Effect::Forbid, &schema, &mut ids, &mut findings);
    let gate =
        policies(dir.join(GATE), &gate_text, Effect::Permit, &schema, &mut ids, &mut findings);
    let codes = hard.annotated("code", &mut findings, |text| {
        text.parse::<DenialCode>().map_err(|_unknown| format!("`{text}` is no denial code"))
    });
    let tiers = gate.annotated("tier", &mut findings, |text| match text {
        "auto" => Ok(Tier::Auto),
        "ask" => Ok(Tier::Ask),
        other => Err(format!("`{other}` is no tier; there are `auto` and `ask`")),
    });
    let files = [(GATE, &gate_text), (HARD, &hard_text), (SCHEMA, &schema_text)];
    let digest = match Digest::of_document(SET_TAG, &files) {
        Ok(digest) => digest,
        Err(error) => return Err(vec![PolicyFinding::new(dir, None, error.to_string())]),
    };
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(CedarDecisionPoint {
        schema,
        hard: HardSet {
            codes: codes
                .into_iter()
                .enumerate()
                .map(|(place, (id, code))| (id, (place, code)))
                .collect(),
            policies: hard.set,
        },
        gate: GateSet { policies: gate.set, tiers: tiers.into_iter().collect() },
        digest,
        authorizer: Authorizer::new(),
    })
}

fn read(file: &Path) -> Result<String, PolicyFinding> {
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

fn schema(file: &Path, text: &str) -> Result<Schema, Vec<PolicyFinding>> {
    let (schema, warnings) = Schema::from_cedarschema_str(text)
        .map_err(|error| vec![PolicyFinding::new(file, None, one_line(&error))])?;
    let warnings: Vec<PolicyFinding> =
        warnings.map(|warning| PolicyFinding::new(file, None, one_line(&warning))).collect();
    if warnings.is_empty() { Ok(schema) } else { Err(warnings) }
}

/// The policies of one file, in its order.
struct File {
    path: PathBuf,
    set: PolicySet,
    order: Vec<(usize, Policy)>,
}

impl File {
    /// The value of an annotation that every policy of the file has, by policy id and in the file's order.
    fn annotated<T>(
        &self,
        name: &str,
        findings: &mut Vec<PolicyFinding>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let mut values = Vec::new();
        for (line, policy) in &self.order {
            let outcome = policy
                .annotation(name)
                .ok_or_else(|| format!("`{}` has no `@{name}(\"…\")`", policy.id()))
                .and_then(&parse);
            match outcome {
                Ok(value) => values.push((policy.id().to_string(), value)),
                Err(why) => findings.push(PolicyFinding::new(&self.path, Some(*line), why)),
            }
        }
        values
    }
}

fn policies(
    path: PathBuf,
    text: &str,
    effect: Effect,
    schema: &Schema,
    ids: &mut BTreeMap<String, (PathBuf, usize)>,
    findings: &mut Vec<PolicyFinding>,
) -> File {
    let mut file = File { path, set: PolicySet::new(), order: Vec::new() };
    for statement in split(text) {
        let refuse = |why: String| PolicyFinding::new(&file.path, Some(statement.line), why);
        let policy = match policy(statement.text, effect) {
            Ok(policy) => policy,
            Err(why) => {
                findings.push(refuse(why));
                continue;
            }
        };
        let id = policy.id().to_string();
        if let Some((other, line)) = ids.get(&id) {
            findings.push(refuse(format!("the id `{id}` is taken by {}:{line}", other.display())));
            continue;
        }
        ids.insert(id, (file.path.clone(), statement.line));
        match file.set.add(policy.clone()) {
            Ok(()) => file.order.push((statement.line, policy)),
            Err(error) => findings.push(refuse(one_line(&error))),
        }
    }
    if file.order.len() > MAX_POLICIES {
        findings.push(PolicyFinding::new(
            &file.path,
            None,
            format!("has more than {MAX_POLICIES} policies"),
        ));
    }
    validate(&file, schema, findings);
    file
}

/// One policy under the id that its annotation gives it.
fn policy(text: &str, effect: Effect) -> Result<Policy, String> {
    let policy = Policy::parse(None, text).map_err(|error| one_line(&error))?;
    let id = policy.annotation("id").ok_or("the policy has no `@id(\"…\")`")?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=MAX_ID_LEN).contains(&id.len()) || !id.bytes().all(fits) {
        return Err(format!("an id has 1 to {MAX_ID_LEN} of the characters `a-z`, `0-9` and `-`"));
    }
    if policy.effect() != effect {
        return Err(match effect {
            Effect::Forbid => format!("`{id}` permits; this file only forbids"),
            Effect::Permit => format!("`{id}` forbids; this file only permits"),
        });
    }
    Ok(policy.new_id(PolicyId::new(id)))
}

/// Strict validation; what Cedar only warns of is an error here.
fn validate(file: &File, schema: &Schema, findings: &mut Vec<PolicyFinding>) {
    let result = Validator::new(schema.clone()).validate(&file.set, ValidationMode::Strict);
    let line_of = |id: &PolicyId| {
        file.order.iter().find(|(_, policy)| policy.id() == id).map(|(line, _)| *line)
    };
    let errors =
        result.validation_errors().map(|error| (line_of(error.policy_id()), one_line(error)));
    let warnings = result
        .validation_warnings()
        .map(|warning| (line_of(warning.policy_id()), one_line(warning)));
    findings.extend(
        errors.chain(warnings).map(|(line, message)| PolicyFinding::new(&file.path, line, message)),
    );
}

/// An error and its causes on one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
