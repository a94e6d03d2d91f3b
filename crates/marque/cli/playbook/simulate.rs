//! `marque playbook simulate`: what would come of a request, from files alone.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use marque_intent::{Grant, PhaseName, Problem, Ruling};
use marque_spiffe::{Clock as _, SpiffeId};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::pairs;
use super::lint::read;
use super::test::load;
use crate::clock::SystemClock;
use crate::rehearsal::{Asked, Rehearsed, rehearse};

/// Say what a request would give: grant, digest and ruling, or the denial as the agent and as an operator sees it
///
/// Reads a trust domain's folder and a request and asks no daemon. Attestation, caps and ticket systems are not looked at:
/// facts that they would find are handed in with --evidence.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque playbook simulate trust-domains/prod.example.org request.json \\
      --agent spiffe://prod.example.org/agent/cert-rotator/one
  marque --output json playbook simulate . request.json --agent spiffe://… --at 2026-12-24T09:00:00Z | jq .digest")]
pub(super) struct SimulateArgs {
    /// A trust domain's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The request as the agent would send it, a JSON object
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// Who asks
    #[arg(long, value_name = "SPIFFE-ID")]
    agent: SpiffeId,
    /// Who answers for the agent
    #[arg(long, value_name = "OWNER", default_value = "group:simulated")]
    sponsor: String,
    /// When; now if absent
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// What was found out about the request, a JSON object
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// A phase that was completed with success before
    #[arg(long, value_name = "PHASE")]
    done: Vec<PhaseName>,
}

#[derive(Debug, Serialize)]
struct Report {
    /// `approve`, `ask` or `deny`.
    outcome: &'static str,
    rules: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Grant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_sees: Option<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_sees: Option<OperatorView>,
}

#[derive(Debug, Serialize)]
struct OperatorView {
    code: &'static str,
    class: &'static str,
    detail: String,
    rules: Vec<String>,
}

impl SimulateArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (playbooks, policy) = load(&self.folder)?;
        let request: Map<String, Value> = serde_json::from_str(&read(&self.request)?)
            .map_err(|error| Failure::usage(format!("the request is no JSON object: {error}")))?;
        let evidence = match &self.evidence {
            Some(file) => serde_json::from_str(&read(file)?)
                .map_err(|error| Failure::usage(format!("the evidence does not fit: {error}")))?,
            None => marque_intent::Evidence::default(),
        };
        let asked = Asked {
            agent: self.agent,
            sponsor: Some(self.sponsor),
            request,
            evidence,
            done: self.done.into_iter().collect(),
            now: self.at.unwrap_or_else(|| SystemClock.now()),
        };
        let report = Report::of(rehearse(&playbooks, &policy, &asked));
        session.output.show(&report, render)?;
        match report.operator_sees {
            None => Ok(()),
            Some(denied) => Err(Failure::failed("it would be refused")
                .code(Some(denied.code.to_owned()))
                .next("the refusal's remediation says what to change")),
        }
    }
}

impl Report {
    fn of(Rehearsed { grant, ruling, denial }: Rehearsed) -> Self {
        let outcome = match (&denial, &ruling) {
            (None, Some(Ruling::Approve { .. })) => "approve",
            (None, Some(Ruling::AskApproval { .. })) => "ask",
            _ => "deny",
        };
        Self {
            outcome,
            rules: ruling.as_ref().map(|ruling| ruling.rules().to_vec()).unwrap_or_default(),
            digest: grant.as_ref().map(|grant| grant.digest().to_string()),
            grant,
            agent_sees: denial.as_ref().map(marque_intent::Denial::to_problem),
            operator_sees: denial.map(|denial| OperatorView {
                code: denial.code().as_str(),
                class: denial.class().as_str(),
                detail: denial.detail().to_owned(),
                rules: denial.rules().to_vec(),
            }),
        }
    }
}

fn render(report: &Report) -> String {
    let mut told = vec![("outcome", report.outcome.to_owned())];
    if !report.rules.is_empty() {
        told.push(("policies", report.rules.join(", ")));
    }
    if let Some(grant) = &report.grant {
        told.push(("digest", grant.digest().to_string()));
        told.push(("grant", json(grant)));
    }
    if let Some(problem) = &report.agent_sees {
        told.push(("agent sees", json(problem)));
    }
    if let Some(OperatorView { code, class, detail, .. }) = &report.operator_sees {
        told.push(("operator sees", format!("{code} ({class}): {detail}")));
    }
    pairs(told)
}

/// Readable JSON; nothing where there is none, which is never so for what is shown here.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
