//! `marque check`: is this folder of trust domains what a daemon would serve?

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use marque_registry::{Finding, FindingCode};
use marque_spiffe::Clock as _;
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::{OutputFormat, visible};
use crate::clock::SystemClock;
use crate::issuer::folder;

/// Validate a folder of trust domains: documents, entries, playbooks and policies
///
/// Prints every finding as file:line: message, its code, and what to do. Warnings are what somebody should look at. Exit code 0
/// when there is no finding, 1 when there are some (with --strict: or a warning), 2 when the command line is wrong: made
/// for CI. docs/check.md lists the codes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque check
  marque check trust-domains/prod.example.org
  marque check --strict trust-domains          fail on warnings too
  marque check --codes                         list the codes and what to do about each
  marque --output json check | jq -r '.findings[] | \"\\(.file):\\(.line): \\(.code)\"'")]
pub(super) struct CheckArgs {
    /// A trust domain's folder, or a folder of such folders
    #[arg(value_name = "DIR", default_value = "./trust-domains")]
    folder: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// List the codes that findings have, and check nothing
    #[arg(long, conflicts_with_all = ["strict"])]
    codes: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    trust_domains: Vec<Checked>,
    findings: Vec<Found>,
    /// What somebody should look at; no reason to fail.
    warnings: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Checked {
    name: String,
    environment: String,
    entries: usize,
    playbooks: usize,
}

#[derive(Debug, Serialize)]
struct Found {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// What kind of thing it is; stable.
    code: &'static str,
    message: String,
    /// What to do about it.
    help: &'static str,
}

/// A code, as `--codes` lists it.
#[derive(Debug, Serialize)]
struct Code {
    code: &'static str,
    help: &'static str,
}

impl CheckArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.codes {
            return list_codes(session);
        }
        let report = check(&self.folder, SystemClock.now());
        match session.output.format() {
            OutputFormat::Json => session.output.show(&report, |_| String::new())?,
            OutputFormat::Text => session.output.remark(&render(&report))?,
        }
        let (findings, warnings) = (report.findings.len(), report.warnings.len());
        match (findings, warnings) {
            (0, 0) => Ok(()),
            (0, count) if self.strict => Err(Failure::failed(counted(count, "warning"))),
            (0, _) => Ok(()),
            (count, _) => Err(Failure::failed(counted(count, "finding"))),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn list_codes(session: &mut Session) -> Result<(), Failure> {
    let codes = FindingCode::ALL.iter();
    let codes: Vec<Code> =
        codes.map(|code| Code { code: code.as_str(), help: code.help() }).collect();
    session.output.show(&codes, |codes| {
        codes.iter().map(|Code { code, help }| format!("{code}\n  {help}\n")).collect()
    })
}

fn check(path: &std::path::Path, now: Timestamp) -> Report {
    let mut report =
        Report { trust_domains: Vec::new(), findings: Vec::new(), warnings: Vec::new() };
    let folders = match folder::find(path) {
        Ok(folders) => folders,
        Err(finding) => {
            report.findings.push(finding.into());
            return report;
        }
    };
    let mut sound = Vec::new();
    for path in folders {
        match folder::check(&path) {
            Ok(checked) => {
                let document = &checked.folder.document;
                let name = document.name().to_string();
                if report.trust_domains.iter().any(|other| other.name == name) {
                    let message = format!("trust domain `{name}` is in another folder too");
                    let finding = Finding::about(&path, message);
                    report.findings.push(finding.coded(FindingCode::TrustDomainTwice).into());
                }
                report.trust_domains.push(Checked {
                    name,
                    environment: document.environment().to_string(),
                    entries: checked.folder.entries.len(),
                    playbooks: checked.playbooks.iter().count(),
                });
                report.findings.extend(checked.overdue(now).into_iter().map(Into::into));
                report.warnings.extend(checked.warnings(now).into_iter().map(Into::into));
                sound.push(checked);
            }
            Err(findings) => report.findings.extend(findings.into_iter().map(Into::into)),
        }
    }
    report.findings.extend(folder::across_the_firebreak(&sound).into_iter().map(Into::into));
    report
}

fn render(report: &Report) -> String {
    let sound = report.trust_domains.iter().map(|checked| {
        let Checked { name, environment, entries, playbooks } = checked;
        format!("{name} ({environment}): sound; entries {entries}, playbooks {playbooks}\n")
    });
    let told = |Found { file, line, code, message, help }: &Found| {
        let line = line.map_or_else(String::new, |line| format!("{line}:"));
        let told = visible(&format!("{}:{line} {message} [{code}]", file.display()));
        format!("{told}\n  help: {help}\n")
    };
    let warnings = report.warnings.iter().map(|found| format!("warning: {}", told(found)));
    let findings = report.findings.iter().map(told);
    sound.chain(warnings).chain(findings).collect()
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let Finding { file, line, message, code } = finding;
        Self { file, line, code: code.as_str(), message, help: code.help() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_trust_domains_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        let report = check(folder.path(), Timestamp::UNIX_EPOCH);
        assert_eq!(report.findings.len(), 1);
        assert!(render(&report).contains("no trust domain here"), "{}", render(&report));
    }

    #[test]
    fn a_finding_names_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trust-domain.toml");
        std::fs::write(&file, "name = \"prod.example.org\"\nenvironment = \"prod\"\n").unwrap();
        let told = render(&check(folder.path(), Timestamp::UNIX_EPOCH));
        assert!(told.contains(&format!("{}:2: ", file.display())), "{told}");
    }

    #[test]
    fn each_finding_says_its_code_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trust-domain.toml");
        std::fs::write(&file, "name = \"prod.example.org\"\ntenat = \"example\"\n").unwrap();
        let told = render(&check(folder.path(), Timestamp::UNIX_EPOCH));
        assert!(told.contains("[field_unknown]\n  help: correct the field's name"), "{told}");
    }

    #[test]
    fn the_page_lists_every_code() {
        const PAGE: &str = include_str!("../../../docs/check.md");
        let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows: Vec<&str> = rows.collect();
        let codes: Vec<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(rows, codes, "docs/check.md has a row for each code, in the order of the code");
    }
}
