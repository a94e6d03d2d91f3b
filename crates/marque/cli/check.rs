//! `marque check`: is this folder of trust domains what a daemon would serve?

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use marque_registry::Finding;
use marque_spiffe::Clock as _;
use serde::Serialize;

use super::Session;
use super::failure::Failure;
use super::output::{OutputFormat, visible};
use crate::clock::SystemClock;
use crate::issuer::folder;

/// Validate a folder of trust domains: documents, entries, playbooks and policies
///
/// Prints every finding as file:line: message. Exit code 0 when there is none, 1 when there are some: made for CI.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque check
  marque check trust-domains/prod.example.org
  marque --output json check | jq -r '.findings[].message'")]
pub(super) struct CheckArgs {
    /// A trust domain's folder, or a folder of such folders
    #[arg(value_name = "DIR", default_value = "./trust-domains")]
    folder: PathBuf,
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
    message: String,
}

impl CheckArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let report = check(&self.folder, SystemClock.now());
        match session.output.format() {
            OutputFormat::Json => session.output.show(&report, |_| String::new())?,
            OutputFormat::Text => session.output.remark(&render(&report))?,
        }
        match report.findings.len() {
            0 => Ok(()),
            1 => Err(Failure::failed("1 finding")),
            many => Err(Failure::failed(format!("{many} findings"))),
        }
    }
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
                    report.findings.push(Finding::about(&path, message).into());
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
    let told = |Found { file, line, message }: &Found| {
        let finding = Finding { file: file.clone(), line: *line, message: message.clone() };
        visible(&finding.to_string())
    };
    let warnings = report.warnings.iter().map(|found| format!("warning: {}\n", told(found)));
    let findings = report.findings.iter().map(|found| format!("{}\n", told(found)));
    sound.chain(warnings).chain(findings).collect()
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let Finding { file, line, message } = finding;
        Self { file, line, message }
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
}
