//! `marque playbook test`: the cases of a trust domain's playbooks.

use std::path::PathBuf;

use clap::Args;
use marque_intent::PlaybookSet;
use marque_policy::CedarDecisionPoint;
use marque_registry::{Finding, TrustDomainFolder};

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{OutputFormat, visible};
use crate::issuer::folder::overdue;
use crate::rehearsal::{CaseOutcome, CaseResult, run_cases};

/// Run the cases in playbooks/tests: each request has to give the grant or the denial that its case says
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque playbook test trust-domains/prod.example.org
  marque --output json playbook test . | jq -r '.[] | select(.outcome.result == \"failed\").name'")]
pub(super) struct TestArgs {
    /// A trust domain's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

impl TestArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (playbooks, policy) = load(&self.folder)?;
        let results =
            run_cases(&self.folder.join("playbooks/tests"), &playbooks, &policy).map_err(first)?;
        match session.output.format() {
            OutputFormat::Json => session.output.show(&results, |_| String::new())?,
            OutputFormat::Text => {
                for finding in results.iter().filter_map(CaseResult::finding) {
                    session.output.remark(&visible(&finding.to_string()))?;
                }
            }
        }
        let passed = results.iter().filter(|one| one.outcome == CaseOutcome::Passed).count();
        let told = format!("{passed} of {} cases passed", results.len());
        if passed < results.len() {
            return Err(Failure::failed(told));
        }
        session.output.remark(&told)
    }
}

/// The playbooks and policies of a folder, whatever its cases say.
pub(super) fn load(folder: &std::path::Path) -> Result<(PlaybookSet, CedarDecisionPoint), Failure> {
    let document = TrustDomainFolder::load(folder).map_err(first)?.document;
    let found = |found: marque_intent::PlaybookFinding| {
        Finding::new(&found.file, found.line, found.message)
    };
    let playbooks =
        PlaybookSet::load(&folder.join("playbooks"), document.name(), document.environment())
            .and_then(|playbooks| playbooks.with_exceptions(&folder.join("exceptions")))
            .map(|playbooks| playbooks.with_overdue(overdue(&document)))
            .map_err(|findings| first(findings.into_iter().map(found).collect()))?;
    let policy = CedarDecisionPoint::load(&folder.join("policy")).map_err(|findings| {
        let told = findings.first().map_or_else(String::new, |one| one.message.clone());
        Failure::failed(told).next("`marque check` shows every finding")
    })?;
    Ok((playbooks, policy))
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn first(findings: Vec<Finding>) -> Failure {
    let told = findings.first().map_or_else(String::new, ToString::to_string);
    Failure::failed(told).next("`marque check` shows every finding")
}
