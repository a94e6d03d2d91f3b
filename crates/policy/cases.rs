//! Policy cases in files: `policy/tests/*.toml`. A case is a request as an agent would send it, and what has to come of it.
//!
//! ```toml
//! [[case]]
//! name = "one certificate under one ticket waits for an approver"
//! agent = "spiffe://prod.example.org/agent/cert-rotator/one"
//! request = { playbook = "ingress-cert-rotation", ticket = "CHG-1842", parameters = { service = "checkout" } }
//! expect = "ask"                        # or "approve", "deny"
//! code = "ticket_missing"               # with "deny"
//! rules = ["prod-ask"]                  # the policies that decide; may be absent
//! would_deny = "risk_too_high"          # where the playbook is only observed
//! at = "2026-03-10T09:00:00Z"           # may be absent: the first instant of 1970
//! act = "approve"                       # or "use"; absent: "request"
//! facts = { owner = "group:sre", posture = "high", open_grants = 2 }    # what is found out; see [`Facts`]
//! person = { id = "workforce:alice", groups = ["csm"] }    # the delegator of a use; the approver of an approval
//! ```
//!
//! Playbooks and policies are tested together, because a change to either changes what comes of a request.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use marque_intent::{
    AgentStanding, Approver, Circumstances, Delegator, Denial, DenialCode, Digest, Evidence,
    GroupName, History, IntentId, IntentRequest, Person, Playbook, PlaybookSet, Posture, Requester,
    Ruling, TicketEvidence, Verdict, WindowEvidence, files_in, resolve,
};
use marque_spiffe::{Repository, Selector, SpiffeId};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cedar::CedarDecisionPoint;
use crate::decision::{Act, DecisionPoint as _, Question};
use crate::finding::PolicyFinding;
use crate::judge::judge;

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
    /// The policies that decided it.
    pub rules: Vec<String>,
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
                    let (outcome, rules) = run(&case, point, playbooks);
                    results.push(CaseResult {
                        line: lines.get(index).copied(),
                        outcome,
                        name: case.name,
                        file: file.clone(),
                        rules,
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
    would_deny: Option<DenialCode>,
    at: Option<Timestamp>,
    #[serde(default)]
    act: CaseAct,
    #[serde(default)]
    facts: Facts,
    person: Option<CasePerson>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expectation {
    Approve,
    Ask,
    Deny,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CaseAct {
    #[default]
    Request,
    Approve,
    Use,
}

/// What is found out in a case. What is absent is not known, not there, or none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Facts {
    owner: String,
    selectors: Vec<Selector>,
    repository: Option<Repository>,
    attested_at: Option<Timestamp>,
    posture: Posture,
    open_grants: u32,
    recent_denials: u32,
    new_build: bool,
    ticket_state: Option<String>,
    in_window: Option<bool>,
    mfa: Option<bool>,
    approvals: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CasePerson {
    id: String,
    #[serde(default)]
    groups: BTreeSet<String>,
}

impl Facts {
    fn evidence(&self, now: Timestamp) -> Evidence {
        let ticket = self.ticket_state.as_ref().map(|state| TicketEvidence {
            system: "case".to_owned(),
            state: state.clone(),
            title: String::new(),
            state_hash: Digest::of(state.as_bytes()),
            checked_at: now,
            bound: Default::default(),
            planned_from: None,
            planned_until: None,
        });
        let window = self.in_window.map(|open| WindowEvidence {
            open,
            until: None,
            opens_at: None,
            blackout: None,
        });
        Evidence {
            ticket,
            window,
            history: History {
                open_grants: self.open_grants,
                denials: self.recent_denials,
                ..History::default()
            },
            standing: AgentStanding {
                owner: self.owner.clone(),
                selectors: self.selectors.iter().cloned().collect(),
                repository: self.repository.clone(),
                attested_at: self.attested_at,
            },
            new_build: self.new_build,
            posture: self.posture,
            ..Evidence::default()
        }
    }
}

fn run(
    case: &Case,
    point: &CedarDecisionPoint,
    playbooks: &PlaybookSet,
) -> (CaseOutcome, Vec<String>) {
    let verdict = match decide(case, point, playbooks) {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(denial)) => Ruling::refused(denial.code()).into(),
        Err(actual) => {
            return (CaseOutcome::Failed { expected: expected(case), actual }, Vec::new());
        }
    };
    let (expectation, code, rules) = match &verdict.ruling {
        Ruling::Approve { rules } => (Expectation::Approve, None, rules),
        Ruling::AskApproval { rules } => (Expectation::Ask, None, rules),
        Ruling::Deny { code, rules } => (Expectation::Deny, Some(*code), rules),
    };
    let (would_deny, shadowed) = match &verdict.shadow {
        Some(Ruling::Deny { code, rules }) => (Some(*code), rules.clone()),
        Some(_) | None => (None, Vec::new()),
    };
    let same_rules = case.rules.as_ref().is_none_or(|wanted| {
        let (mut wanted, mut actual) = (wanted.clone(), rules.clone());
        wanted.sort();
        actual.sort();
        wanted == actual
    });
    let decided = rules.iter().cloned().chain(shadowed).collect();
    let as_expected = expectation == case.expect
        && code == case.code
        && would_deny == case.would_deny
        && same_rules;
    if as_expected {
        return (CaseOutcome::Passed, decided);
    }
    let actual = in_words(expectation, code, Some(rules), would_deny);
    (CaseOutcome::Failed { expected: expected(case), actual }, decided)
}

/// What comes of a request; the outer error is a case or a policy that cannot be evaluated.
fn decide(
    case: &Case,
    point: &CedarDecisionPoint,
    playbooks: &PlaybookSet,
) -> Result<Result<Verdict, Denial>, String> {
    let request = match IntentRequest::from_object(case.request.clone()) {
        Ok(request) => request,
        Err(denial) => return Ok(Err(denial)),
    };
    let Some(playbook) = playbooks.find(request.playbook()) else {
        return Ok(Err(Denial::new(DenialCode::UnknownPlaybook, "no such playbook")));
    };
    let intent_id: IntentId = "int_00000000000000000000000000"
        .parse()
        .map_err(|error| format!("no intent id: {error}"))?;
    // Most cases are about rules and not about the day.
    let now = case.at.unwrap_or(Timestamp::UNIX_EPOCH);
    let evidence = match evidence(case, playbook, &request, playbooks, now) {
        Ok(evidence) => evidence,
        Err(denial) => return Ok(Err(denial)),
    };
    let circumstances =
        Circumstances { intent_id, policy_set_digest: *point.set_digest(), evidence, now };
    let requester = Requester {
        agent: case.agent.clone(),
        attestation: None::<Digest>,
        owner: Some("group:case".to_owned()),
    };
    let grant = match resolve(playbook, &request, &requester, circumstances) {
        Ok(grant) => grant,
        Err(denial) => return Ok(Err(denial)),
    };
    let person = Actor::of(case)?;
    let question = Question {
        grant: &grant,
        playbook,
        evidence: &grant.evidence,
        environment: playbooks.environment(),
        act: person.act(case, grant.uses),
        now,
    };
    judge(point, &question, true).map(Ok).map_err(|error| error.to_string())
}

/// What is known in a case, with the risk of it; or what the playbook demands and does not get.
fn evidence(
    case: &Case,
    playbook: &Playbook,
    request: &IntentRequest,
    playbooks: &PlaybookSet,
    now: Timestamp,
) -> Result<Evidence, Denial> {
    let mut evidence = case.facts.evidence(now);
    playbook.demands().check(&evidence.standing, request, now)?;
    evidence.confidence = request.confidence();
    let ticket = request.ticket().is_some();
    evidence.risk = playbook.assess_risk(&evidence, ticket, playbooks.environment(), now);
    Ok(evidence)
}

/// Who acts beside the agent.
struct Actor {
    approver: Approver,
    groups: BTreeSet<GroupName>,
    delegator: Option<Delegator>,
}

impl Actor {
    fn of(case: &Case) -> Result<Self, String> {
        let nobody = Approver::Operator { uid: 0, user: String::new() };
        let Some(CasePerson { id, groups }) = &case.person else {
            return Ok(Self { approver: nobody, groups: BTreeSet::new(), delegator: None });
        };
        let delegator = Delegator { principal: id.clone(), groups: groups.clone() };
        if case.act != CaseAct::Approve {
            return Ok(Self {
                approver: nobody,
                groups: BTreeSet::new(),
                delegator: Some(delegator),
            });
        }
        let names = groups.iter().map(|group| group.parse::<GroupName>());
        let groups = names.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let form = "an approver is `operator:user(uid)` or `person:https://issuer#subject`";
        let approver = approver(id).ok_or_else(|| form.to_owned())?;
        Ok(Self { approver, groups, delegator: None })
    }

    fn act(&self, case: &Case, uses: u32) -> Act<'_> {
        match case.act {
            CaseAct::Request => Act::Request,
            CaseAct::Approve => Act::Approve {
                approver: &self.approver,
                groups: &self.groups,
                approvals: case.facts.approvals,
                mfa: case.facts.mfa,
            },
            CaseAct::Use => Act::Use {
                delegator: self.delegator.as_ref(),
                approvals: case.facts.approvals,
                uses_left: uses,
                by_policy: case.facts.approvals == 0,
            },
        }
    }
}

/// An approver as the log writes one.
fn approver(text: &str) -> Option<Approver> {
    if let Some(person) = text.strip_prefix("person:") {
        let (issuer, subject) = person.split_once('#')?;
        return Person::new(issuer, subject).ok().map(Approver::Person);
    }
    let (user, uid) = text.strip_prefix("operator:")?.strip_suffix(')')?.split_once('(')?;
    Some(Approver::Operator { uid: uid.parse().ok()?, user: user.to_owned() })
}

fn expected(case: &Case) -> String {
    in_words(case.expect, case.code, case.rules.as_ref(), case.would_deny)
}

fn in_words(
    expectation: Expectation,
    code: Option<DenialCode>,
    rules: Option<&Vec<String>>,
    would_deny: Option<DenialCode>,
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
    if let Some(code) = would_deny {
        words.push_str(&format!(", and would deny with `{code}`"));
    }
    words
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Vec<PolicyFinding>> {
    files_in(dir, "toml")
        .map_err(|error| vec![PolicyFinding::new(dir, None, format!("cannot be read: {error}"))])
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
