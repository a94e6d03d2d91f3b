//! `marque playbook diff`: what a new version permits that the old one did not.

use std::path::PathBuf;

use clap::Args;
use marque_intent::{Difference, changes_what_is_enforced, playbook_diff};
use serde::Serialize;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::visible;
use super::lint::read;

/// Say what became wider and what narrower between two versions of a playbook
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque playbook diff before.toml after.toml
  git show main:playbooks/a.toml > /tmp/a.toml && marque playbook diff /tmp/a.toml playbooks/a.toml")]
pub(super) struct DiffArgs {
    /// The version that is in use
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The version that would be published
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Fail when something became wider, or nobody can say without looking
    #[arg(long)]
    refuse_wider: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether what waits for an approver has to be approved again.
    enforced_part_changed: bool,
    differences: Vec<Difference>,
}

impl DiffArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let differences = playbook_diff(&read(&self.old)?, &read(&self.new)?)
            .map_err(|error| Failure::usage(format!("one of the files is no playbook: {error}")))?;
        let report =
            Report { enforced_part_changed: changes_what_is_enforced(&differences), differences };
        session.output.show(&report, render)?;
        use marque_intent::Effect::{Unclear, Wider};
        let wider = report.differences.iter().any(|one| matches!(one.effect, Wider | Unclear));
        if self.refuse_wider && wider {
            return Err(Failure::failed("the new version may permit more than the old one"));
        }
        Ok(())
    }
}

fn render(report: &Report) -> String {
    if report.differences.is_empty() {
        return "Nothing differs.".to_owned();
    }
    let lines = report
        .differences
        .iter()
        .map(|one| visible(&format!("{:9}  {}", one.effect.to_string(), one.sentence)) + "\n");
    let last = if report.enforced_part_changed {
        "The enforced part changed: what waits for an approver has to be approved again.\n"
    } else {
        "Nothing that is enforced changed.\n"
    };
    lines.chain([last.to_owned()]).collect()
}
