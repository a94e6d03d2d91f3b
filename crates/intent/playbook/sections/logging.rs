//! `[logging]`: what the log must be able to say of a grant, and what it keeps of the agent's own words.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::playbook::document::Document;
use crate::playbook::report::Report;
use crate::playbook::{ApprovalMode, WorkflowLabel};
use crate::provisions::{LogDemands, LogField, PromptKept};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoggingSection {
    require: Vec<LogField>,
    prompt: String,
}

/// Reads the section, and holds it against the rest of the document: what a request could never fill would refuse
/// everybody, and what nothing asks for would be missing in the end.
pub(crate) fn read(document: &Document, report: &mut Report<'_>) -> LogDemands {
    let Some(LoggingSection { require: listed, prompt }) = &document.logging else {
        return LogDemands::default();
    };
    let mut require = BTreeSet::new();
    for (index, field) in listed.iter().enumerate() {
        let path = format!("logging.require.{index}");
        report.require(require.insert(*field), &path, format!("`{field}` is listed twice"));
        if let Err(why) = can_be_filled(*field, document) {
            report.refuse(&path, format!("`{field}` {why}"));
        }
    }
    let prompt = match prompt.as_str() {
        "none" => PromptKept::None,
        "hash" => PromptKept::Hash,
        "sealed" => PromptKept::Sealed,
        _ => {
            report.refuse("logging.prompt", "is `none`, `hash` or `sealed`");
            PromptKept::None
        }
    };
    LogDemands { require, prompt }
}

fn can_be_filled(field: LogField, document: &Document) -> Result<(), &'static str> {
    let holds = match field {
        // A request either has them or is refused; every agent has an owner and every playbook a resource.
        LogField::Justification
        | LogField::Session
        | LogField::Task
        | LogField::Sponsor
        | LogField::Target => return Ok(()),
        LogField::Approver => document.approval.mode == ApprovalMode::Always,
        LogField::Delegator => document.who.delegators.as_ref().is_some_and(|who| who.required),
        LogField::Purpose => document.purpose.is_some(),
        LogField::Ticket => document.change.as_ref().is_some_and(|change| change.ticket.required),
    };
    if holds {
        return Ok(());
    }
    Err(match field {
        LogField::Approver => "is only sure where `approval.mode` is `always`",
        LogField::Delegator => "is only sure where `who.delegators.required` is true",
        LogField::Purpose => "is missing: the playbook names none",
        _ => "is only sure where `change.ticket.required` is true",
    })
}

/// The labels of a workflow that the log wants.
pub(crate) fn labels(logging: &LogDemands) -> impl Iterator<Item = WorkflowLabel> {
    logging.require.iter().filter_map(|field| match field {
        LogField::Session => Some(WorkflowLabel::Session),
        LogField::Task => Some(WorkflowLabel::Task),
        _ => None,
    })
}
