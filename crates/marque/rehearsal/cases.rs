//! Cases of playbooks in files: `playbooks/tests/*.toml`. A case is a request with its instant and its facts, and what has to
//! come of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_intent::{DenialCode, Evidence, PhaseName, PlaybookSet, Ruling, files_in};
use marque_policy::DecisionPoint;
use marque_registry::{Finding, FindingCode};
use marque_spiffe::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Asked, Rehearsed, rehearse};

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    /// The file that it is in.
    pub file: PathBuf,
    /// The line of its `[[case]]`, from 1.
    pub line: Option<usize>,
    /// Its name.
    pub name: String,
    /// How it came out.
    pub outcome: CaseOutcome,
}

/// How a case came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum CaseOutcome {
    /// As expected.
    Passed,
    /// Otherwise.
    Failed {
        /// What differs, in words.
        differs: Vec<String>,
    },
}

impl CaseResult {
    /// What `marque check` reports of a case that failed.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        let CaseOutcome::Failed { differs } = &self.outcome else { return None };
        let message = format!("case `{}`: {}", self.name, differs.join("; "));
        Some(Finding::new(&self.file, self.line, message).coded(FindingCode::CaseFailed))
    }
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
    now: Timestamp,
    agent: SpiffeId,
    sponsor: Option<String>,
    request: Map<String, Value>,
    #[serde(default)]
    evidence: Evidence,
    #[serde(default)]
    done: BTreeSet<PhaseName>,
    expect: Expected,
    code: Option<DenialCode>,
    /// Members of the grant, each whole.
    #[serde(default)]
    grant: Map<String, Value>,
    /// The first resource of the grant.
    resource: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Approve,
    Ask,
    Deny,
}

impl Expected {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// Runs every case of `dir/*.toml`, in the order of the files' names. A folder that is not there has no cases.
///
/// # Errors
/// The files that cannot be read.
pub fn run_cases(
    dir: &Path,
    playbooks: &PlaybookSet,
    policy: &dyn DecisionPoint,
) -> Result<Vec<CaseResult>, Vec<Finding>> {
    let (mut results, mut findings) = (Vec::new(), Vec::new());
    for file in files(dir)? {
        match read(&file) {
            Ok((lines, document)) => {
                for (index, case) in document.case.into_iter().enumerate() {
                    results.push(CaseResult {
                        line: lines.get(index).copied(),
                        outcome: run(&case, playbooks, policy),
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

fn run(case: &Case, playbooks: &PlaybookSet, policy: &dyn DecisionPoint) -> CaseOutcome {
    let asked = Asked {
        agent: case.agent.clone(),
        sponsor: case.sponsor.clone(),
        request: case.request.clone(),
        evidence: case.evidence.clone(),
        done: case.done.clone(),
        now: case.now,
    };
    let Rehearsed { grant, ruling, denial } = rehearse(playbooks, policy, &asked);
    let came = match (&denial, &ruling) {
        (None, Some(Ruling::Approve { .. })) => Expected::Approve,
        (None, Some(Ruling::AskApproval { .. })) => Expected::Ask,
        _ => Expected::Deny,
    };
    let mut differs = Vec::new();
    let why = denial.as_ref().map(|denial| format!(" ({}: {})", denial.code(), denial.detail()));
    if came != case.expect {
        let why = why.unwrap_or_default();
        differs.push(format!("expected {}, got {}{why}", case.expect.as_str(), came.as_str()));
    } else if case.expect == Expected::Deny {
        let code = denial.as_ref().map(marque_intent::Denial::code);
        if case.code != code {
            let name = |code: Option<DenialCode>| code.map_or("no code", |code| code.as_str());
            differs.push(format!("expected `{}`, got `{}`", name(case.code), name(code)));
        }
    } else if case.code.is_some() {
        differs.push("`code` is for what is denied".to_owned());
    }
    let terms = grant.as_ref().and_then(|grant| serde_json::to_value(grant).ok());
    for (name, wanted) in &case.grant {
        let found = terms.as_ref().and_then(|terms| terms.get(name)).unwrap_or(&Value::Null);
        if found != wanted {
            differs.push(format!("expected `{name}` to be {wanted}, got {found}"));
        }
    }
    if let Some(wanted) = &case.resource {
        let found = grant.as_ref().and_then(|grant| grant.resources.first());
        if found != Some(wanted) {
            differs.push(format!("expected the resource `{wanted}`, got {found:?}"));
        }
    }
    if differs.is_empty() { CaseOutcome::Passed } else { CaseOutcome::Failed { differs } }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Vec<Finding>> {
    files_in(dir, "toml")
        .map_err(|error| vec![Finding::about(dir, format!("cannot be read: {error}"))])
}

fn read(file: &Path) -> Result<(Vec<usize>, CaseFile), Finding> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Finding::about(file, format!("cannot be read: {error}")))?;
    let begins = |(_, line): &(usize, &str)| line.trim() == "[[case]]";
    let lines = text.lines().enumerate().filter(begins).map(|(index, _)| index + 1).collect();
    match toml::from_str(&text) {
        Ok(document) => Ok((lines, document)),
        Err(error) => {
            let before = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            let line = error.span().map(|span| 1 + before(span.start));
            Err(Finding::new(file, line, error.message().to_owned()))
        }
    }
}
