//! Everything that can be said against one playbook file: what keeps it from being loaded, and what somebody should look
//! at again.
//!
//! Absent: what several files say together, which [`super::PlaybookSet::load`] checks.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use marque_spiffe::Environment;
use serde::Serialize;
use serde_json::Value;

use super::exception::today;
use super::lines::Lines;
use super::{Playbook, PlaybookStatus};
use crate::grant::Delivery;

/// A review that is due within so many days is told.
const SOON_DAYS: i64 = 30;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The playbook is not loaded.
    Error,
    /// Somebody should look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that can be said against a playbook, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LintFinding {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What it is.
    pub message: String,
}

/// Reads one playbook and says everything against it.
#[must_use]
pub fn lint(text: &str, environment: Environment, now: Timestamp) -> Vec<LintFinding> {
    let playbook = match Playbook::parse(text) {
        Ok(playbook) => playbook,
        Err(errors) => {
            let of = |error: &super::PlaybookError| LintFinding {
                severity: Severity::Error,
                line: error.line(),
                message: error.message().to_owned(),
            };
            return errors.iter().map(of).collect();
        }
    };
    let lines = Lines::parse(text).ok();
    let finding = |severity, (path, message): (&str, String)| LintFinding {
        severity,
        line: lines.as_ref().and_then(|lines| lines.of(path)),
        message: format!("`{path}`: {message}"),
    };
    let errors = match environment {
        Environment::Production => playbook.not_for_production(),
        Environment::NonProduction => Vec::new(),
    };
    let errors =
        errors.into_iter().map(|message| finding(Severity::Error, ("approval.mode", message)));
    let warnings = playbook.remarks(environment, now);
    errors.chain(warnings.into_iter().map(|remark| finding(Severity::Warning, remark))).collect()
}

impl Playbook {
    /// What somebody should look at, each at its path.
    fn remarks(&self, environment: Environment, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut remarks = Vec::new();
        let mut remark = |said: bool, path: &'static str, message: &str| {
            if said {
                remarks.push((path, message.to_owned()));
            }
        };
        remark(
            self.status == PlaybookStatus::Deprecated,
            "status",
            "is `deprecated`: agents are told so; name its successor in the title",
        );
        remark(self.purpose.is_none(), "purpose", "is missing: say in a word what it is for");
        remark(
            self.data_classes.is_empty(),
            "data_classes",
            "is missing: list the classes of data that it touches",
        );
        remark(
            self.delivery != Delivery::Token,
            "delivery",
            "is not `token`: the token endpoint gives nothing for its grants",
        );
        remark(
            self.limits.max_destructive.is_some_and(|most| most > 1),
            "limits.max_destructive",
            "is more than 1: one run does one thing that cannot be undone",
        );
        remark(
            self.time.uses > 1 && !self.tools.values().all(|tool| !tool.destructive),
            "time.uses",
            "is more than 1 for a destructive tool: a second token is a second chance",
        );
        if environment == Environment::Production {
            remark(
                self.ticket.as_ref().is_none_or(|ticket| !ticket.required),
                "change.ticket",
                "is not required: production changes usually are under a ticket",
            );
            remark(
                self.approval
                    .as_ref()
                    .is_some_and(|plan| plan.rules().any(|rule| rule.groups.is_empty())),
                "approval.levels",
                "names no groups: any operator approves",
            );
        }
        remarks.extend(self.without_description());
        remarks.extend(review(self.review_by, today(now)));
        remarks
    }

    fn without_description(&self) -> Option<(&'static str, String)> {
        let properties = self.parameters.schema().get("properties")?.as_object()?;
        let silent = |schema: &&Value| schema.get("description").is_none();
        let (name, _) = properties.iter().find(|(_, schema)| silent(schema))?;
        let message = format!("`{name}` has no `description`: agents and approvers read it");
        Some(("parameters.properties", message))
    }
}

/// What there is to say of a day of review.
fn review(due: Date, today: Date) -> Option<(&'static str, String)> {
    let days = i64::from(due.since(today).map_or(0, |span| span.get_days()));
    if today > due {
        Some(("review_by", format!("was due on {due}: review it, and set the next day")))
    } else if days <= SOON_DAYS {
        Some(("review_by", format!("is due in {days} days")))
    } else {
        None
    }
}
