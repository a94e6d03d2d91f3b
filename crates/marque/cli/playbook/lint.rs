//! `marque playbook lint`: everything that can be said against playbooks, for people and for CI.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use marque_intent::{Playbook, Severity, files_in, lint};
use marque_registry::TrustDomainDocument;
use marque_spiffe::{Clock as _, Environment};
use serde::Serialize;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{OutputFormat, visible};
use crate::clock::SystemClock;

/// Say everything against playbooks: file:line: what is wrong and what to do
///
/// Exit code 1 when there is an error, or a warning with --strict; made for CI. A file alone is held to the rules of
/// production; a trust domain's folder to those of its own environment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque playbook lint trust-domains/prod.example.org
  marque playbook lint rotate-web.toml --strict
  marque --output json playbook lint . --before /tmp/main | jq -r '.[].message'")]
pub(super) struct LintArgs {
    /// A playbook, or a trust domain's folder
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// The same file or folder as it was published before: a version that changed its content is an error
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Found {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    severity: Severity,
    message: String,
}

impl LintArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let found = self.found(SystemClock.now())?;
        match session.output.format() {
            OutputFormat::Json => session.output.show(&found, |_| String::new())?,
            OutputFormat::Text => {
                for Found { file, line, severity, message } in &found {
                    let line = line.map_or_else(String::new, |line| format!("{line}:"));
                    let told = format!("{}:{line} {severity}: {message}", file.display());
                    session.output.remark(&visible(&told))?;
                }
            }
        }
        let count = |severity| found.iter().filter(|one| one.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors > 0 || (self.strict && warnings > 0) {
            return Err(Failure::failed(format!("{errors} errors, {warnings} warnings")));
        }
        session.output.remark(&format!("no errors, {warnings} warnings"))
    }

    fn found(&self, now: Timestamp) -> Result<Vec<Found>, Failure> {
        let environment = environment(&self.path)?;
        let mut found = Vec::new();
        for file in files(&self.path)? {
            let text = read(&file)?;
            found.extend(lint(&text, environment, now).into_iter().map(|one| Found {
                file: file.clone(),
                line: one.line,
                severity: one.severity,
                message: one.message,
            }));
            if let Some(before) = &self.before {
                found.extend(self.republished(&file, &text, before)?);
            }
        }
        Ok(found)
    }

    /// A version that was published and has another content now.
    fn republished(
        &self,
        file: &Path,
        text: &str,
        before: &Path,
    ) -> Result<Option<Found>, Failure> {
        let name = file.file_name().unwrap_or_default();
        let old = files(before)?
            .into_iter()
            .find(|old| old.file_name() == Some(name) || (before.is_file() && self.path.is_file()));
        let Some(old) = old else { return Ok(None) };
        let (Ok(old), Ok(new)) = (Playbook::parse(&read(&old)?), Playbook::parse(text)) else {
            return Ok(None);
        };
        let same = old.id() == new.id() && old.version() == new.version();
        Ok((same && old.digest() != new.digest()).then(|| Found {
            file: file.to_owned(),
            line: text.lines().position(|line| line.starts_with("version")).map(|line| line + 1),
            severity: Severity::Error,
            message: format!(
                "`version`: {} was published with another content; give this one {}",
                new.version(),
                new.version() + 1
            ),
        }))
    }
}

/// The playbooks at a path: itself, those of a trust domain's folder, or those of a folder of playbooks.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let below = path.join("playbooks");
    let dir = if below.is_dir() { below } else { path.to_owned() };
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot read `{}`: {error}", dir.display()))
            .next("name a playbook, or a trust domain's folder")
    };
    std::fs::metadata(&dir).map_err(failed)?;
    files_in(&dir, "toml").map_err(failed)
}

pub(super) fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", file.display())))
}

fn environment(path: &Path) -> Result<Environment, Failure> {
    let file = path.join("trust-domain.toml");
    if !file.is_file() {
        return Ok(Environment::Production);
    }
    let document = TrustDomainDocument::parse(&file, &read(&file)?).map_err(|findings| {
        let first = findings.first().map_or_else(String::new, ToString::to_string);
        Failure::failed(first).next("repair it first: `marque check` shows every finding")
    })?;
    Ok(document.environment())
}
