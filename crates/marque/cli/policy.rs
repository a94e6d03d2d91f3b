//! `marque policy`: the policies of a folder of trust domains, and the cases that say what has to come of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use marque_intent::PlaybookSet;
use marque_policy::{
    CaseOutcome, CaseResult, CedarDecisionPoint, DecisionPoint as _, PolicyFinding, PolicyInfo,
    PolicyPart, SCHEMA, run_cases,
};
use marque_registry::{Finding, TrustDomainFolder};
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::{OutputFormat, table, visible};
use crate::issuer::folder;

/// The policies of a folder: run their cases, list them, and pin them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque policy test
  marque policy test trust-domains/prod.example.org --fail-uncovered
  marque --output json policy test | jq -r '.[].uncovered[]'
  marque policy show trust-domains/prod.example.org
  marque policy digest
  marque policy schema > policy/schema.cedarschema

These commands read files and ask no daemon. Exit code 0 when every case comes out as it says, 1 else.")]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Run the cases of policy/tests/*.toml, and tell which policies decided none
    Test {
        /// A trust domain's folder, or a folder of such folders
        #[arg(value_name = "DIR", default_value = "./trust-domains")]
        folder: PathBuf,
        /// Fail too when there is a policy that decided no case
        #[arg(long)]
        fail_uncovered: bool,
    },
    /// List the policies with what their annotations say
    Show {
        /// A trust domain's folder, or a folder of such folders
        #[arg(value_name = "DIR", default_value = "./trust-domains")]
        folder: PathBuf,
    },
    /// Print the digest that grants and the log pin the policies with
    Digest {
        /// A trust domain's folder, or a folder of such folders
        #[arg(value_name = "DIR", default_value = "./trust-domains")]
        folder: PathBuf,
    },
    /// Print the schema that policies are checked against
    Schema,
}

impl PolicyArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            PolicyCommand::Test { folder, fail_uncovered } => {
                test(session, &folder, fail_uncovered)
            }
            PolicyCommand::Show { folder } => show(session, &folder),
            PolicyCommand::Digest { folder } => digest(session, &folder),
            PolicyCommand::Schema => session.output.show(&SCHEMA, |schema| (*schema).to_owned()),
        }
    }
}

/// The policies and the playbooks of one trust domain; nothing else of its folder has to be there.
struct Loaded {
    name: String,
    path: PathBuf,
    policy: CedarDecisionPoint,
    playbooks: PlaybookSet,
}

fn load(path: &Path) -> Result<Vec<Loaded>, Failure> {
    let mut all = Vec::new();
    let mut findings = Vec::new();
    for path in folder::find(path).map_err(|finding| Failure::failed(finding.to_string()))? {
        match one(&path) {
            Ok(loaded) => all.push(loaded),
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() {
        return Ok(all);
    }
    let told: Vec<String> = findings.iter().map(|one| visible(&one.to_string())).collect();
    Err(Failure::failed(told.join("\n")))
}

fn one(path: &Path) -> Result<Loaded, Vec<Finding>> {
    let document = TrustDomainFolder::load(path)?.document;
    let playbooks = folder::playbooks(path, &document)?;
    let policy = folder::policies(path)?;
    let name = document.name().to_string();
    Ok(Loaded { name, path: path.to_owned(), policy, playbooks })
}

#[derive(Debug, Serialize)]
struct Tested {
    trust_domain: String,
    cases: Vec<Case>,
    /// Policies that decided no case.
    uncovered: Vec<String>,
    policies: usize,
}

#[derive(Debug, Serialize)]
struct Case {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    name: String,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<String>,
    rules: Vec<String>,
}

fn test(session: &mut Session, path: &Path, fail_uncovered: bool) -> Result<(), Failure> {
    let mut all = Vec::new();
    for Loaded { name, path, policy, playbooks } in load(path)? {
        let results = run_cases(&path.join("policy"), &policy, &playbooks);
        let results = results.map_err(|found| Failure::failed(lines_of(&found)))?;
        let decided: BTreeSet<&String> = results.iter().flat_map(|case| &case.rules).collect();
        let ids = policy.policies().map(|policy| &policy.id);
        let uncovered = ids.filter(|id| !decided.contains(id)).cloned().collect();
        let policies = policy.policies().count();
        let cases = results.into_iter().map(Case::from).collect();
        all.push(Tested { trust_domain: name, cases, uncovered, policies });
    }
    match session.output.format() {
        OutputFormat::Json => session.output.show(&all, |_| String::new())?,
        OutputFormat::Text => session.output.remark(&render(&all))?,
    }
    let failed = all.iter().flat_map(|one| &one.cases).filter(|case| !case.passed).count();
    let uncovered = all.iter().map(|one| one.uncovered.len()).sum::<usize>();
    match (failed, uncovered) {
        (0, 0) => Ok(()),
        (0, _) if !fail_uncovered => Ok(()),
        (0, count) => Err(Failure::failed(format!("{count} policies decided no case"))),
        (1, _) => Err(Failure::failed("1 case came out otherwise")),
        (many, _) => Err(Failure::failed(format!("{many} cases came out otherwise"))),
    }
}

fn lines_of(findings: &[PolicyFinding]) -> String {
    let told: Vec<String> = findings.iter().map(|one| visible(&one.to_string())).collect();
    told.join("\n")
}

impl From<CaseResult> for Case {
    fn from(result: CaseResult) -> Self {
        let passed = result.passed();
        let CaseResult { file, line, name, outcome, rules } = result;
        let (expected, actual) = match outcome {
            CaseOutcome::Passed => (None, None),
            CaseOutcome::Failed { expected, actual } => (Some(expected), Some(actual)),
        };
        Self { file, line, name, passed, expected, actual, rules }
    }
}

fn render(all: &[Tested]) -> String {
    let mut told = String::new();
    for Tested { trust_domain, cases, uncovered, policies } in all {
        for case in cases.iter().filter(|case| !case.passed) {
            let line = case.line.map_or_else(String::new, |line| format!(":{line}"));
            let (expected, actual) = (case.expected.as_deref(), case.actual.as_deref());
            told.push_str(&visible(&format!(
                "FAILED {}{line}: {}: expected {}, got {}",
                case.file.display(),
                case.name,
                expected.unwrap_or("-"),
                actual.unwrap_or("-")
            )));
            told.push('\n');
        }
        let passed = cases.iter().filter(|case| case.passed).count();
        let covered = policies.saturating_sub(uncovered.len());
        told.push_str(&format!(
            "{trust_domain}: {passed} of {} cases passed; {covered} of {policies} policies decided some case\n",
            cases.len()
        ));
        for id in uncovered {
            told.push_str(&format!("  never decided: {id}\n"));
        }
    }
    told
}

#[derive(Debug, Serialize)]
struct Shown {
    trust_domain: String,
    id: String,
    set: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    playbook: Option<String>,
    actions: Vec<&'static str>,
    /// The code of a forbid, the tier of a permit, or `refusal` of a file in Rego.
    gives: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    file: PathBuf,
    line: usize,
    text: String,
}

fn show(session: &mut Session, path: &Path) -> Result<(), Failure> {
    let mut all = Vec::new();
    for Loaded { name, policy, .. } in load(path)? {
        all.extend(policy.policies().map(|policy| shown(&name, policy)));
        all.extend(policy.rego().map(|(file, text)| in_rego(&name, file, text)));
    }
    session.output.show(&all, |all| {
        let rows = all.iter().map(|one| {
            [
                one.trust_domain.clone(),
                one.id.clone(),
                one.set.to_owned(),
                one.playbook.clone().unwrap_or_else(|| "all".to_owned()),
                one.actions.join(" "),
                one.gives.clone(),
                one.reason.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        table(["TRUST DOMAIN", "POLICY", "SET", "PLAYBOOK", "ACTIONS", "GIVES", "REASON"], rows)
    })
}

/// A file in Rego, whose rules have no names of their own.
fn in_rego(trust_domain: &str, file: &Path, text: &str) -> Shown {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Shown {
        trust_domain: trust_domain.to_owned(),
        id: format!("rego:{name}"),
        set: "rego",
        playbook: None,
        actions: vec!["approve", "request", "use"],
        gives: "refusal".to_owned(),
        reason: None,
        file: file.to_owned(),
        line: 1,
        text: text.to_owned(),
    }
}

fn shown(trust_domain: &str, policy: &PolicyInfo) -> Shown {
    let set = match policy.part {
        PolicyPart::Hard => "hard",
        PolicyPart::Gate => "gate",
    };
    let code = policy.code.map(|code| code.as_str().to_owned());
    let gives = code.or_else(|| policy.tier().map(str::to_owned));
    Shown {
        trust_domain: trust_domain.to_owned(),
        id: policy.id.clone(),
        set,
        playbook: policy.playbook.clone(),
        actions: policy.actions.iter().copied().collect(),
        gives: gives.unwrap_or_else(|| "permit".to_owned()),
        reason: policy.reason.clone(),
        file: policy.file.clone(),
        line: policy.line,
        text: policy.text.clone(),
    }
}

#[derive(Debug, Serialize)]
struct Pinned {
    trust_domain: String,
    digest: String,
}

fn digest(session: &mut Session, path: &Path) -> Result<(), Failure> {
    let pin = |Loaded { name, policy, .. }: Loaded| Pinned {
        trust_domain: name,
        digest: policy.set_digest().to_string(),
    };
    let all: Vec<Pinned> = load(path)?.into_iter().map(pin).collect();
    session.output.show(&all, |all| {
        let line = |Pinned { trust_domain, digest }: &Pinned| format!("{digest}  {trust_domain}\n");
        all.iter().map(line).collect()
    })
}
