//! Policy cases in files: `policy/tests/*.toml`. A case is a request as an agent would send it, and what has to come of it.
//!
//! Playbooks and policies are tested together, because a change to either changes what comes of a request.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_intent::{
    Circumstances, Denial, DenialCode, Digest, Evidence, IntentId, IntentRequest, PlaybookSet,
    Requester, Ruling, resolve,
};
use marque_spiffe::SpiffeId;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cedar::CedarDecisionPoint;
use crate::decision::{DecisionPoint, Question};
use crate::finding::PolicyFinding;

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The file that it is in.
    pub file: PathBuf,
    /// The line of its `[[case]]`, from 1, where it is known.
    pub line: Option<usize>,
    /// Its name.
    pub name: String,
    /// Whether it came out as expected.
    pub outcome: CaseOutcome,
}

/// Whether a case came out as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseOutcome {
    /// It did.
    Passed,
    /// It did not; both are in words.
    Failed {
        /// What the case says.
        expected: String,
        /// What came of it.
        actual: String,
    },
}

impl CaseResult {
    /// Whether it came out as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcome == CaseOutcome::Passed
    }

    /// What `marque check` reports of a case that failed.
    #[must_use]
    pub fn finding(&self) -> Option<PolicyFinding> {
        match &self.outcome {
            CaseOutcome::Passed => None,
            CaseOutcome::Failed { expected, actual } => {
                let message = format!("case `{}`: expected {expected}, got {actual}", self.name);
                Some(PolicyFinding::new(&self.file, self.line, message))
            }
        }
    }
}

/// Runs every case of `dir/tests/*.toml`, in the order of the files' names. A folder without cases has no results.
///
/// # Errors
/// The cases that cannot be read.
pub fn run_cases(
    dir: &Path,
    point: &CedarDecisionPoint,
    playbooks: &PlaybookSet,
) -> Result<Vec<CaseResult>, Vec<PolicyFinding>> {
    let (mut results, mut findings) = (Vec::new(), Vec::new());
    for file in files(&dir.join("tests"))? {
        match read(&file) {
            Ok((text, document)) => {
                let lines = case_lines(&text);
                for (index, case) in document.case.into_iter().enumerate() {
                    results.push(CaseResult {
                        line: lines.get(index).copied(),
                        outcome: run(&case, point, playbooks),
                        name: case.name,
                        file: file.clone(),
                    });
                }
            }
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() { Ok(results) } else { Err(findings) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    agent: SpiffeId,
    request: Map<String, Value>,
    expect: Expectation,
    code: Option<DenialCode>,
    rules: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expectation {
    Approve,
    Ask,
    Deny,
}

fn run(case: &Case, point: &CedarDecisionPoint, playbooks: &PlaybookSet) -> CaseOutcome {
    let ruling = match decide(case, point, playbooks) {
        Ok(Ok(ruling)) => ruling,
        Ok(Err(denial)) => Ruling::Deny { code: denial.code(), rules: Vec::new() },
        Err(failure) => return CaseOutcome::Failed { expected: expected(case), actual: failure },
    };
    let (expectation, code, rules) = match &ruling {
        Ruling::Approve { rules } => (Expectation::Approve, None, rules),
        Ruling::AskApproval { rules } => (Expectation::Ask, None, rules),
        Ruling::Deny { code, rules } => (Expectation::Deny, Some(*code), rules),
    };
    let same_rules = case.rules.as_ref().is_none_or(|wanted| {
        let (mut wanted, mut actual) = (wanted.clone(), rules.clone());
        wanted.sort();
        actual.sort();
        wanted == actual
    });
    if expectation == case.expect && code == case.code && same_rules {
        CaseOutcome::Passed
    } else {
        CaseOutcome::Failed {
            expected: expected(case),
            actual: in_words(expectation, code, Some(rules)),
        }
    }
}

/// What comes of a request; the outer error is a policy that cannot be evaluated.
fn decide(
    case: &Case,
    point: &CedarDecisionPoint,
    playbooks: &PlaybookSet,
) -> Result<Result<Ruling, Denial>, String> {
    let request = match IntentRequest::from_object(case.request.clone()) {
        Ok(request) => request,
        Err(denial) => return Ok(Err(denial)),
    };
    let Some(playbook) = playbooks.find(request.playbook()) else {
        return Ok(Err(Denial::new(DenialCode::UnknownPlaybook, "no such playbook")));
    };
    let playbook = match playbook.in_phase(request.phase()) {
        Ok(playbook) => playbook,
        Err(denial) => return Ok(Err(denial)),
    };
    let intent_id: IntentId = "int_00000000000000000000000000"
        .parse()
        .map_err(|error| format!("no intent id: {error}"))?;
    // Cases are about rules and not about the day: they all play at one instant.
    let now = Timestamp::UNIX_EPOCH;
    let circumstances = Circumstances {
        intent_id,
        policy_set_digest: *point.set_digest(),
        evidence: Evidence::default(),
        now,
    };
    let requester =
        Requester { agent: case.agent.clone(), attestation: None::<Digest>, owner: None };
    let grant = match resolve(playbook, &request, &requester, circumstances) {
        Ok(grant) => grant,
        Err(denial) => return Ok(Err(denial)),
    };
    let question = Question { grant: &grant, playbook, environment: playbooks.environment(), now };
    point.decide(&question).map(Ok).map_err(|error| error.to_string())
}

fn expected(case: &Case) -> String {
    in_words(case.expect, case.code, case.rules.as_ref())
}

fn in_words(
    expectation: Expectation,
    code: Option<DenialCode>,
    rules: Option<&Vec<String>>,
) -> String {
    let mut words = match expectation {
        Expectation::Approve => "approve".to_owned(),
        Expectation::Ask => "ask".to_owned(),
        Expectation::Deny => "deny".to_owned(),
    };
    if let Some(code) = code {
        words.push_str(&format!(" with `{code}`"));
    }
    if let Some(rules) = rules.filter(|rules| !rules.is_empty()) {
        words.push_str(&format!(" by {}", rules.join(", ")));
    }
    words
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Vec<PolicyFinding>> {
    let failed = |error: std::io::Error| {
        vec![PolicyFinding::new(dir, None, format!("cannot be read: {error}"))]
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<(String, CaseFile), PolicyFinding> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| PolicyFinding::new(file, None, format!("cannot be read: {error}")))?;
    match toml::from_str(&text) {
        Ok(document) => Ok((text, document)),
        Err(error) => {
            let line = error.span().map(|span| {
                1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
            });
            Err(PolicyFinding::new(file, line, error.message()))
        }
    }
}

fn case_lines(text: &str) -> Vec<usize> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.trim() == "[[case]]")
        .map(|(index, _)| index + 1)
        .collect()
}

#[cfg(test)]
mod tests;
