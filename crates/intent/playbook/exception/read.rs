//! From the file to an exception: `exceptions/*.toml` of a trust domain's folder.

use std::num::{NonZeroU32, NonZeroU64};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Exception, MAX_EXCEPTION, MAX_EXCEPTION_RUNS, Relaxed};
use crate::digest::Digest;
use crate::lifecycle::plus;
use crate::playbook::report::{Report, check_claim_text, check_text};
use crate::playbook::{DOCUMENT_TAG, MAX_PLAYBOOK_BYTES, PlaybookError, checks};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    id: String,
    playbook: String,
    version: u64,
    agent: String,
    owner: String,
    reason: String,
    review_by: String,
    from: String,
    expires_at: String,
    runs: u32,
    #[expect(dead_code, reason = "read from the untyped document; here so that it must be there")]
    parameters: toml::Table,
    relaxes: RelaxesSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RelaxesSection {
    approvals: Option<u32>,
}

pub(super) fn parse(text: &str) -> Result<Exception, Vec<PlaybookError>> {
    if text.len() > MAX_PLAYBOOK_BYTES {
        let message = format!("has more than {MAX_PLAYBOOK_BYTES} bytes");
        return Err(vec![PlaybookError::new(None, message)]);
    }
    checks::read(text, |_lines| Vec::new(), build)
}

fn build(document: Document, json: &Value, report: &mut Report<'_>) -> Option<Exception> {
    report.require(
        document.api_version == "marque/v1",
        "apiVersion",
        "this version reads `marque/v1`",
    );
    report.require(document.kind == "PlaybookException", "kind", "must be `PlaybookException`");
    check_text(report, "owner", &document.owner);
    let message = "is written `kind:name`, such as `group:platform`";
    report.require(document.owner.contains(':'), "owner", message);
    check_claim_text(report, "reason", &document.reason);
    let id = report.parse("id", &document.id);
    let playbook = report.parse("playbook", &document.playbook);
    let version = NonZeroU64::new(document.version).ok_or("a version is a positive integer");
    let version = report.keep("version", version);
    let agent = report.parse("agent", &document.agent);
    let review_by = report.parse("review_by", &document.review_by);
    let from: Option<Timestamp> = report.parse("from", &document.from);
    let expires_at: Option<Timestamp> = report.parse("expires_at", &document.expires_at);
    if let (Some(from), Some(end)) = (from, expires_at) {
        let message = format!(
            "is after `from`, and at most {} days after it",
            MAX_EXCEPTION.as_secs() / (24 * 60 * 60)
        );
        report.require(from < end && end <= plus(from, MAX_EXCEPTION), "expires_at", message);
    }
    let most = format!("is 1 to {MAX_EXCEPTION_RUNS}");
    report.require(document.runs <= MAX_EXCEPTION_RUNS, "runs", &most);
    let runs = report.keep("runs", NonZeroU32::new(document.runs).ok_or(most));
    let parameters = json.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default();
    let message = "fixes at least one: an exception is for one thing";
    report.require(!parameters.is_empty(), "parameters", message);
    let RelaxesSection { approvals } = document.relaxes;
    report.require(approvals.is_some(), "relaxes", "lists at least one thing");
    let message = "is at least 1: an exception never does away with people";
    let approvals = approvals
        .and_then(|few| report.keep("relaxes.approvals", NonZeroU32::new(few).ok_or(message)));
    let digest = report.keep("id", Digest::of_document(DOCUMENT_TAG, json));
    Some(Exception {
        id: id?,
        digest: digest?,
        playbook: playbook?,
        version: version?.get(),
        agent: agent?,
        parameters,
        owner: document.owner,
        reason: document.reason,
        review_by: review_by?,
        from: from?,
        expires_at: expires_at?,
        runs: runs?,
        relaxes: Relaxed { approvals },
    })
}
