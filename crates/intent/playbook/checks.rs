//! From the file to a playbook: every lint rule of specs/intents.md 1 that this version enforces.

mod bounds;
mod delegators;
mod limits;
mod permits;

use std::fmt::Display;
use std::num::NonZeroU64;
use std::str::FromStr;

use marque_spiffe::{SpiffeIdPattern, TrustDomain};
use serde_json::{Map, Value};

use super::document::Document;
use super::lines::{Lines, line_at};
use super::parameters::{MAX_SAFE_INTEGER, Parameters, check_numbers};
use super::template::Shape;
use super::{
    DOCUMENT_TAG, LinearPattern, MAX_PLAYBOOK_BYTES, Playbook, PlaybookError, TicketDemand,
    unsupported,
};
use crate::digest::Digest;
use crate::secrets::looks_like_secret;

const MAX_TEXT: usize = 200;
const MAX_ITEMS: usize = 64;
const LIKE_A_SECRET: &str = "looks like a secret, and tokens, approvers and the log would show it";

pub(super) fn parse(text: &str) -> Result<Playbook, Vec<PlaybookError>> {
    if text.len() > MAX_PLAYBOOK_BYTES {
        let message = format!("has more than {MAX_PLAYBOOK_BYTES} bytes");
        return Err(vec![PlaybookError::new(None, message)]);
    }
    let syntax = |error: toml::de::Error| {
        let line = error.span().map(|span| line_at(text, span.start));
        vec![PlaybookError::new(line, error.message().to_owned())]
    };
    let lines = Lines::parse(text).map_err(syntax)?;
    let not_yet = unsupported::check(&lines);
    if !not_yet.is_empty() {
        return Err(not_yet);
    }
    let document: Document = toml::from_str(text).map_err(syntax)?;
    let table: toml::Table = toml::from_str(text).map_err(syntax)?;
    let mut report = Report { lines, errors: Vec::new() };
    let built =
        json_document(table, &mut report).and_then(|json| build(document, &json, &mut report));
    match built {
        Some(playbook) if report.errors.is_empty() => Ok(playbook),
        _ => Err(report.errors),
    }
}

/// What is wrong so far.
struct Report<'a> {
    lines: Lines<'a>,
    errors: Vec<PlaybookError>,
}

impl Report<'_> {
    fn refuse(&mut self, path: &str, message: impl Display) {
        self.errors.push(PlaybookError::new(self.lines.of(path), format!("`{path}`: {message}")));
    }

    fn require(&mut self, holds: bool, path: &str, message: impl Display) {
        if !holds {
            self.refuse(path, message);
        }
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        self.keep(path, text.parse())
    }

    fn keep<T, E: Display>(&mut self, path: &str, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(path, error);
                None
            }
        }
    }
}

/// The document as JSON: what the digest is over.
fn json_document(table: toml::Table, report: &mut Report<'_>) -> Option<Value> {
    let mut members = Map::new();
    for (name, value) in table {
        match to_json(value) {
            Ok(value) => {
                members.insert(name, value);
            }
            Err(why) => report.refuse(&name, why),
        }
    }
    let document = Value::Object(members);
    if let Err(path) = check_numbers(&document) {
        let path = path.trim_start_matches('/').replace('/', ".");
        report.refuse(&path, "numbers are integers of at most 2^53 - 1");
    }
    report.errors.is_empty().then_some(document)
}

fn to_json(value: toml::Value) -> Result<Value, &'static str> {
    match value {
        toml::Value::String(text) => Ok(Value::String(text)),
        toml::Value::Integer(number) => Ok(number.into()),
        toml::Value::Boolean(value) => Ok(value.into()),
        toml::Value::Float(_) => Err("numbers are integers"),
        toml::Value::Datetime(_) => Err("dates are written as strings"),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(name, value)| Ok((name, to_json(value)?))).collect()
        }
    }
}

fn build(document: Document, json: &Value, report: &mut Report<'_>) -> Option<Playbook> {
    describe(&document, report);
    let id = report.parse("id", &document.id);
    let version = report.keep(
        "version",
        NonZeroU64::new(document.version)
            .filter(|version| version.get() <= MAX_SAFE_INTEGER)
            .ok_or("a version is a positive integer"),
    );
    let review_by = report.parse("review_by", &document.review_by);
    let trust_domain: Option<TrustDomain> = report.parse("trust_domain", &document.trust_domain);
    let agents = agents("who.agents", &document.who.agents, trust_domain.as_ref(), report);
    let parameters = parameters(json, report);
    let resources = permits::templates(
        "resources",
        &document.resources,
        Shape::Uri,
        parameters.as_ref(),
        report,
    );
    report.require(!resources.is_empty(), "resources", "names at least one resource");
    let permit = permits::permit(document.permits, parameters.as_ref(), report);
    let delivery = permits::delivery(&document.delivery, report);
    let time = limits::times(&document.time, report);
    let ticket = document.change.and_then(|change| {
        let pattern =
            report.keep("change.ticket.pattern", LinearPattern::parse(&change.ticket.pattern))?;
        Some(TicketDemand { required: change.ticket.required, pattern })
    });
    let approval_mode = document.approval.mode;
    let approval = limits::approval(&document.approval, report);
    let bounds = bounds::Parts {
        tools: bounds::tools(document.tools.as_deref(), json, parameters.as_ref(), report),
        constraints: bounds::constraints(json, parameters.as_ref(), report),
        limits: bounds::limits(document.limits.as_ref(), report),
        on_behalf: bounds::on_behalf(document.on_behalf.as_ref(), trust_domain.as_ref(), report),
    };
    bounds.check(report);
    let delegators = delegators::delegators(document.who.delegators.as_ref(), report);
    let workflow = delegators::workflow(document.workflow.as_ref(), report);
    let bounds::Parts { tools, constraints, limits, on_behalf } = bounds;
    let digest = report.keep("id", Digest::of_document(DOCUMENT_TAG, json));
    let (audience, scopes, details) = permit?;
    Some(Playbook {
        id: id?,
        version: version?,
        digest: digest?,
        title: document.title,
        owner: document.owner,
        review_by: review_by?,
        tenant: document.tenant,
        trust_domain: trust_domain?,
        status: document.status,
        purpose: document.purpose,
        data_classes: document.data_classes.unwrap_or_default(),
        risk: document.risk.base,
        agents,
        parameters: parameters?,
        resources,
        audience,
        scopes,
        details,
        delivery: delivery?,
        time: time?,
        ticket,
        approval_mode,
        approval,
        tools,
        constraints,
        limits,
        on_behalf,
        delegators,
        workflow,
    })
}

/// What describes the playbook and is kept in its document, digest and log.
fn describe(document: &Document, report: &mut Report<'_>) {
    report.require(
        document.api_version == "marque/v1",
        "apiVersion",
        "this version reads `marque/v1`",
    );
    report.require(document.kind == "Playbook", "kind", "must be `Playbook`");
    for (path, text) in [("title", &document.title), ("owner", &document.owner)] {
        check_text(report, path, text);
    }
    if let Some(purpose) = &document.purpose {
        check_claim_text(report, "purpose", purpose);
    }
    for class in document.data_classes.iter().flatten() {
        check_claim_text(report, "data_classes", class);
    }
    check_claim_text(report, "tenant", &document.tenant);
    report.require(
        document.owner.contains(':'),
        "owner",
        "is written `kind:name`, such as `group:platform`",
    );
    report.require(document.risk.base <= 100, "risk.base", "is 0 to 100");
}

fn check_text(report: &mut Report<'_>, path: &str, text: &str) {
    let fits = !text.trim().is_empty()
        && text.chars().count() <= MAX_TEXT
        && !text.chars().any(char::is_control);
    report.require(fits, path, format!("has 1 to {MAX_TEXT} characters on one line"));
}

/// Text that tokens show.
fn check_claim_text(report: &mut Report<'_>, path: &str, text: &str) {
    check_text(report, path, text);
    report.require(!looks_like_secret(text), path, LIKE_A_SECRET);
}

fn agents(
    place: &str,
    patterns: &[String],
    trust_domain: Option<&TrustDomain>,
    report: &mut Report<'_>,
) -> Vec<SpiffeIdPattern> {
    report.require(!patterns.is_empty(), place, "names at least one agent");
    report.require(patterns.len() <= MAX_ITEMS, place, format!("has at most {MAX_ITEMS} patterns"));
    let mut agents = Vec::new();
    for (index, text) in patterns.iter().enumerate() {
        let path = format!("{place}.{index}");
        let Some(pattern) = report.parse::<SpiffeIdPattern>(&path, text) else { continue };
        if let Some(own) = trust_domain {
            let message = format!("`{text}` is of another trust domain than `{own}`");
            report.require(pattern.trust_domain() == own, &path, message);
        }
        let first = text.strip_prefix("spiffe://").and_then(|rest| rest.split('/').nth(1));
        report.require(
            first != Some("*"),
            &path,
            format!("`{text}` begins with `*` and so names everybody"),
        );
        agents.push(pattern);
    }
    agents
}

fn parameters(json: &Value, report: &mut Report<'_>) -> Option<Parameters> {
    match Parameters::parse(json.get("parameters").cloned().unwrap_or_default()) {
        Ok(parameters) => Some(parameters),
        Err(faults) => {
            for fault in faults {
                let path = if fault.path.is_empty() {
                    "parameters".to_owned()
                } else {
                    format!("parameters.{}", fault.path)
                };
                report.refuse(&path, fault.message);
            }
            None
        }
    }
}
