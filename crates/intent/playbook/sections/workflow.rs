//! `[workflow]`: what an agent has to say of where in a workflow it acts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::playbook::report::Report;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowSection {
    pub(crate) required: Vec<WorkflowLabel>,
}

/// Where in a workflow an agent acts, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowLabel {
    /// The session.
    Session,
    /// The task.
    Task,
}

impl WorkflowLabel {
    /// The name in documents and requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Task => "task",
        }
    }
}

pub(crate) fn read(
    section: Option<&WorkflowSection>,
    report: &mut Report<'_>,
) -> BTreeSet<WorkflowLabel> {
    let mut labels = BTreeSet::new();
    let Some(WorkflowSection { required }) = section else { return labels };
    let message = "names `session` or `task`; a playbook that wants neither leaves `workflow` out";
    report.require(!required.is_empty(), "workflow.required", message);
    for (index, label) in required.iter().enumerate() {
        let message = format!("`{}` is listed twice", label.as_str());
        report.require(labels.insert(*label), &format!("workflow.required.{index}"), message);
    }
    labels
}
